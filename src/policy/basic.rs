//! HTTP Basic (RFC 7617): what `authorization` says of a user and a password.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Clients differ in whether they pad.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a request presents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presented {
    /// No such header, or one of another scheme.
    Nothing,
    /// Of this scheme, and not to be read: no base64, no colon, no UTF-8, or two of them.
    Unreadable,
    /// A credential.
    Credential {
        /// As it came.
        user: Box<str>,
        /// As it came.
        password: Secret,
    },
}

/// Reads `authorization`.
pub fn present(headers: &HeaderMap) -> Presented {
    let mut values = headers.get_all(AUTHORIZATION).iter().map(|value| value.as_bytes());
    let (first, more) = (values.next(), values.next());
    match (first, more) {
        (None, _) => Presented::Nothing,
        (Some(value), None) => {
            encoded(value).map_or(Presented::Nothing, |it| credential(it).unwrap_or(Presented::Unreadable))
        }
        // Which of them is meant is not ours to choose.
        (Some(_), Some(_)) if headers.get_all(AUTHORIZATION).iter().any(|it| encoded(it.as_bytes()).is_some()) => {
            Presented::Unreadable
        }
        (Some(_), Some(_)) => Presented::Nothing,
    }
}

/// Whether a value is of this scheme.
pub fn is_basic(value: &[u8]) -> bool {
    encoded(value).is_some()
}

/// What follows the scheme, whose case does not matter (RFC 9110 §11.1).
fn encoded(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    let (scheme, rest) = value.split_at_checked(5)?;
    let of_this = scheme.eq_ignore_ascii_case(b"basic") && matches!(rest.first(), None | Some(b' ' | b'\t'));
    of_this.then(|| rest.trim_ascii())
}

fn credential(encoded: &[u8]) -> Option<Presented> {
    let decoded = Zeroizing::new(BASE64.decode(encoded).ok()?);
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(Presented::Credential { user: user.into(), password: Secret::new(password) })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[&str]) -> Presented {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        present(&headers)
    }

    fn credential(user: &str, password: &str) -> Presented {
        Presented::Credential { user: user.into(), password: Secret::new(password) }
    }

    #[test]
    fn credentials_are_read() {
        // RFC 7617 §2 and §2.1.
        assert_eq!(of(&["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]), credential("Aladdin", "open sesame"));
        assert_eq!(of(&["Basic dGVzdDoxMjPCow=="]), credential("test", "123£"));
        assert_eq!(of(&["basic  QWxhZGRpbjpvcGVuIHNlc2FtZQ "]), credential("Aladdin", "open sesame"));
        assert_eq!(of(&["BASIC YTpiOmM="]), credential("a", "b:c"), "the first colon ends the name");
        assert_eq!(of(&["Basic Og=="]), credential("", ""));
    }

    #[test]
    fn other_schemes_are_somebody_elses() {
        for values in [&[][..], &["Bearer x"], &["Basics QTpi"], &["Bearer x", "Digest y"], &[""]] {
            assert_eq!(of(values), Presented::Nothing, "{values:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_wrong() {
        for values in [
            &["Basic"][..],
            &["Basic !!!!"],
            &["Basic QWxhZGRpbg=="],
            &["Basic /zpi"],
            &["Basic YTpi", "Basic YTpi"],
            &["Bearer x", "Basic YTpi"],
        ] {
            assert_eq!(of(values), Presented::Unreadable, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn what_a_client_encodes_is_what_is_read(user in "[^:\\PC]*", password in "\\PC*") {
            let value = format!("Basic {}", BASE64.encode(format!("{user}:{password}")));
            prop_assert_eq!(of(&[&value]), credential(&user, &password));
        }
    }
}
