//! One order, from the first request to the chain (RFC 8555 §7.4): one host, answered for by http-01.

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::LOG;
use super::failure::{Failure, is, whatever_the_nonce, words};
use crate::tls::Challenges;

/// How a CA is asked whether it is done, unless it says when to ask.
const POLL: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(250)).backoff(1.5).timeout(Duration::from_secs(120));

/// A key and the chain for it, both PEM.
pub struct Issued {
    /// The private key.
    pub key: String,
    /// The host's own certificate first.
    pub chain: String,
}

/// Begins an order. `replaces`: the certificate that it renews, where the CA wants to know (RFC 9773 §5); a CA that does
/// not like the answer is asked without it.
///
/// # Errors
/// The CA's.
pub async fn begin(
    account: &Account,
    host: &str,
    replaces: Option<CertificateIdentifier<'static>>,
) -> Result<Order, Error> {
    let identifiers = [Identifier::Dns(host.to_owned())];
    if let Some(replaces) = replaces {
        let order = NewOrder::new(&identifiers).replaces(replaces);
        match whatever_the_nonce(async || account.new_order(&order).await).await {
            Err(error) if is(&error, "rateLimited") => return Err(error),
            Err(error) => log::debug!(target: LOG, "{host}: not as a replacement: {error}"),
            order => return order,
        }
    }
    let order = NewOrder::new(&identifiers);
    whatever_the_nonce(async || account.new_order(&order).await).await
}

/// Carries an order through.
///
/// # Errors
/// What the CA says about it.
pub async fn fulfil(mut order: Order, host: &str, challenges: &Challenges) -> Result<Issued, Failure> {
    let offers = prove(&mut order, challenges).await?;
    let ready = whatever_the_nonce(async || order.poll_ready(&POLL).await).await;
    drop(offers);
    match ready {
        Ok(OrderStatus::Ready) => {}
        Ok(_) => return Err(refusal(&mut order, None).await),
        Err(error) => return Err(refusal(&mut order, Some(error)).await),
    }
    let (key, csr) = request(host)?;
    whatever_the_nonce(async || order.finalize_csr(&csr).await).await?;
    let chain = whatever_the_nonce(async || order.poll_certificate(&POLL).await).await?;
    Ok(Issued { key: key.serialize_pem(), chain })
}

/// Answers that are withdrawn when the CA has seen them, or when the attempt is given up.
struct Offers<'c> {
    challenges: &'c Challenges,
    tokens: Vec<String>,
}

impl Drop for Offers<'_> {
    fn drop(&mut self) {
        for token in &self.tokens {
            self.challenges.withdraw(token);
        }
    }
}

/// Offers an answer for each authorization that has none yet, and tells the CA (RFC 8555 §7.5.1).
async fn prove<'c>(order: &mut Order, challenges: &'c Challenges) -> Result<Offers<'c>, Failure> {
    let mut offers = Offers { challenges, tokens: Vec::new() };
    // The library remembers what it has fetched, so that after a refused nonce the same challenge comes again.
    whatever_the_nonce(async || answer(order, &mut offers).await).await?;
    Ok(offers)
}

/// There is one authorization, as there is one name.
async fn answer(order: &mut Order, offers: &mut Offers<'_>) -> Result<(), Error> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let Some(mut challenge) = authorization.challenge(ChallengeType::Http01) else {
            return Err(Error::Str("an http-01 challenge, which is all that can be answered here"));
        };
        let token = challenge.token.clone();
        if !is_token(&token) {
            return Err(Error::Str("a token as RFC 8555 has it"));
        }
        offers.challenges.offer(&token, challenge.key_authorization().as_str());
        offers.tokens.push(token);
        challenge.set_ready().await?;
    }
    Ok(())
}

/// RFC 8555 §8.3: base64url. What else a CA might send has no place in a path.
fn is_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// Why an order came to nothing: the challenges know best, then the order.
async fn refusal(order: &mut Order, error: Option<Error>) -> Failure {
    let own = order.state().error.as_ref().map(words);
    let mut reasons = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if whatever_the_nonce(async || authorization.refresh().await.map(drop)).await.is_err() {
            continue;
        }
        reasons.extend(authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref()).map(words));
    }
    match (reasons.is_empty(), own, error) {
        (false, ..) => Failure::new(format!("not authorized: {}", reasons.join("; "))),
        (true, _, Some(error)) => Failure::from(error),
        (true, Some(own), None) => Failure::new(own),
        (true, None, None) => Failure::new("the CA says that the order is invalid, and not why"),
    }
}

/// A new key, and the request for a certificate (RFC 8555 §7.4): for the one name, without a subject.
fn request(host: &str) -> Result<(KeyPair, Vec<u8>), Failure> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(Failure::new)?;
    let mut parameters = CertificateParams::new([host.to_owned()]).map_err(Failure::new)?;
    parameters.distinguished_name = DistinguishedName::new();
    let csr = parameters.serialize_request(&key).map_err(Failure::new)?.der().to_vec();
    Ok((key, csr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_for_the_one_name_and_carries_a_key_of_its_own() {
        let (key, csr) = request("a.test").unwrap();
        let (other, _) = request("a.test").unwrap();
        assert_ne!(key.serialize_pem(), other.serialize_pem());
        let named = csr.windows(6).any(|bytes| bytes == b"a.test");
        assert!(named, "the CSR names the host");
    }

    #[test]
    fn tokens_that_would_lead_elsewhere_are_refused() {
        assert!(is_token("evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr_oA"));
        for token in ["", "a/b", "..", "a%2fb", "a b", "ä"] {
            assert!(!is_token(token), "{token}");
        }
    }

    #[test]
    fn answers_are_withdrawn_however_an_attempt_ends() {
        let challenges = Challenges::default();
        challenges.offer("abc", "abc.thumb");
        drop(Offers { challenges: &challenges, tokens: vec!["abc".to_owned()] });
        assert_eq!(challenges.answer("/.well-known/acme-challenge/abc"), None);
    }
}
