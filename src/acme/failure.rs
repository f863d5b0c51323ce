//! Why an attempt came to nothing: in the CA's own words, with what they mean for the next attempt.

use std::time::Duration;

use instant_acme::{Error, Problem};

use super::schedule::Setback;

/// How much of a CA's text is passed on.
const LONGEST: usize = 600;
/// What every problem type of RFC 8555 §6.7 begins with.
const URN: &str = "urn:ietf:params:acme:error:";
/// How often a request is sent again for its nonce alone. Each is refused by itself (half of them, in tests of clients).
const NONCES: usize = 20;

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct Failure {
    /// One clause for people; never a secret.
    pub words: String,
    /// For the wait that follows.
    pub setback: Setback,
    /// How long the CA asks to be left alone.
    pub asked: Option<Duration>,
}

/// What the other side of the connection, or the way there, did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Transport {
    /// No answer.
    #[error("{0}")]
    Unreachable(String),
    /// An answer that is none of the protocol's.
    #[error("{0}")]
    Strange(String),
}

impl Failure {
    /// One that neither the network nor the CA is to blame for.
    pub fn new(words: impl std::fmt::Display) -> Self {
        Self { words: printable(&words.to_string()), setback: Setback::Refused, asked: None }
    }

    /// The same with what was being done.
    #[must_use]
    pub fn while_doing(mut self, what: &str) -> Self {
        self.words = format!("{what}: {}", self.words);
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let unreachable = matches!(transport(&error), Some(Transport::Unreachable(_)));
        let setback = if unreachable { Setback::Unreachable } else { Setback::Refused };
        let words = match &error {
            Error::Api(problem) => self::words(problem),
            Error::Timeout(_) => "the CA is not done after two minutes".to_owned(),
            Error::Json(error) => format!("the CA's answer is none of the protocol's: {error}"),
            other => other.to_string(),
        };
        Self { words: printable(&words), setback, asked: None }
    }
}

fn transport(error: &Error) -> Option<&Transport> {
    match error {
        Error::Other(source) => source.downcast_ref(),
        _ => None,
    }
}

/// A problem document as one clause: `detail (type)`.
pub fn words(problem: &Problem) -> String {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    let kind = kind.strip_prefix(URN).unwrap_or(kind);
    let detail = problem.detail.as_deref().unwrap_or("the CA refuses");
    let mut words = if kind.is_empty() { detail.to_owned() } else { format!("{detail} ({kind})") };
    for part in &problem.subproblems {
        words.push_str(&format!("; {part}"));
    }
    words
}

/// Whether an error is a problem of that type.
pub fn is(error: &Error, kind: &str) -> bool {
    let Error::Api(Problem { r#type: Some(own), .. }) = error else { return false };
    own.strip_prefix(URN) == Some(kind)
}

/// RFC 8555 §6.5: a refused nonce is no refusal of the request, which is sent again with another.
///
/// # Errors
/// Those of `ask`.
pub async fn whatever_the_nonce<T>(mut ask: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 0..NONCES {
        match ask().await {
            Err(error) if is(&error, "badNonce") => {}
            answer => return answer,
        }
    }
    ask().await
}

/// One line, no control characters, not endless.
fn printable(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            c if c.is_control() => {}
            c => out.push(c),
        }
        if out.len() >= LONGEST {
            out.push('…');
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> Error {
        Error::Api(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn the_cas_own_words_are_kept_on_one_line() {
        let refused = problem(
            r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many\ncertificates\u001b[2J","status":429}"#,
        );
        assert!(is(&refused, "rateLimited") && !is(&refused, "badNonce"));
        assert_eq!(Failure::from(refused).words, "too many certificates[2J (rateLimited)");
        assert_eq!(Failure::from(problem("{}")).words, "the CA refuses");
        assert!(Failure::new("x".repeat(10_000)).words.len() < 700);
    }

    #[test]
    fn only_a_ca_that_was_not_reached_is_asked_again_soon() {
        let unreachable = Error::Other(Box::new(Transport::Unreachable("connection refused".into())));
        assert_eq!(Failure::from(unreachable).setback, Setback::Unreachable);
        let strange = Error::Other(Box::new(Transport::Strange("answered 502".into())));
        assert_eq!(Failure::from(strange).setback, Setback::Refused);
    }

    #[tokio::test]
    async fn a_refused_nonce_is_followed_by_another() {
        let bad = || problem(r#"{"type":"urn:ietf:params:acme:error:badNonce"}"#);
        let mut asked = 0;
        let answer = whatever_the_nonce(async || {
            asked += 1;
            if asked < 7 { Err(bad()) } else { Ok(asked) }
        });
        assert_eq!(answer.await.unwrap(), 7);
        let mut asked = 0;
        let answer: Result<(), Error> = whatever_the_nonce(async || {
            asked += 1;
            Err(bad())
        })
        .await;
        assert!(is(&answer.unwrap_err(), "badNonce") && asked == NONCES + 1, "it ends: {asked}");
    }
}
