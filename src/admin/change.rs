//! What the calls have in common that change files of the configuration: who was faster, and how it went.
//!
//! Who looked at a file first may say so (`if-match` with the file's SHA-256, RFC 9110 §13.1.1), and is told when it says something else by now.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::edit::{Digest, Refused};

use super::answer::{Problem, document};

/// What somebody has seen of a file who is about to change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// `*`: that there is one.
    Anything,
    /// One of these.
    OneOf(Vec<Digest>),
}

impl Expected {
    /// Whether the file still says what was seen; `None`: there is none.
    ///
    /// # Errors
    /// 412: it says something else.
    pub fn admit(&self, digest: Option<&Digest>) -> Result<(), Problem> {
        let holds = match (self, digest) {
            (_, None) => false,
            (Self::Anything, Some(_)) => true,
            (Self::OneOf(seen), Some(digest)) => seen.contains(digest),
        };
        if holds { Ok(()) } else { Err(lost_race()) }
    }
}

/// What `if-match` says; `None`: nothing.
///
/// # Errors
/// 400: it says nothing that could be understood, and so must not be passed over.
pub fn if_match(headers: &HeaderMap) -> Result<Option<Expected>, Problem> {
    let mut tags = Vec::new();
    let mut anything = false;
    for value in headers.get_all(header::IF_MATCH) {
        for tag in value.to_str().map_err(|_| unreadable())?.split(',').map(str::trim) {
            match tag {
                "*" => anything = true,
                // A weak one never matches (RFC 9110 §8.8.3.2).
                weak if weak.starts_with("W/") => {}
                strong => tags.extend(digest_of(strong)?),
            }
        }
    }
    let given = headers.contains_key(header::IF_MATCH);
    Ok(given.then_some(if anything { Expected::Anything } else { Expected::OneOf(tags) }))
}

/// Of a tag that could be one of ours; another server's is none that anything matches.
fn digest_of(tag: &str) -> Result<Option<Digest>, Problem> {
    let inner = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(unreadable)?;
    Ok(hex::decode(inner).ok().and_then(|bytes| bytes.try_into().ok()))
}

/// A file's digest as its `etag`.
pub fn etag(digest: &Digest) -> HeaderValue {
    HeaderValue::try_from(format!("\"{}\"", hex::encode(digest))).unwrap_or(HeaderValue::from_static("\"\""))
}

fn unreadable() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "bad_precondition",
        "`if-match` is not `*` or a list of entity tags in quotes",
    )
}

/// Somebody else was faster.
pub fn lost_race() -> Problem {
    let message = "the file says something else than what you have seen; look at it again";
    Problem::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", message)
}

/// Why a change was not made: 422 with the reload's verdict for what would not hold.
pub fn refused(why: Refused) -> Response {
    match why {
        Refused::Invalid(report) => document(StatusCode::UNPROCESSABLE_ENTITY, &*report),
        other => problem(&other).into_response(),
    }
}

/// The same in one line.
pub fn problem(why: &Refused) -> Problem {
    let words = why.to_string();
    match why {
        Refused::Changed(_) => Problem::new(StatusCode::CONFLICT, "changed_meanwhile", words),
        Refused::Invalid(_) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "configuration_invalid", words),
        Refused::Write { .. } => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "write_failed", words),
        Refused::NoFile => Problem::new(StatusCode::CONFLICT, "no_file", words),
    }
}

/// Runs what takes long, or blocks, on another thread: health must be answered meanwhile. Work whose caller has hung up before
/// its turn came is not done.
///
/// # Errors
/// The work's own; 500 if it panics.
pub async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let caller = Arc::new(());
    let waits = Arc::downgrade(&caller);
    let outcome = tokio::task::spawn_blocking(move || waits.upgrade().map(|_| work())).await;
    drop(caller);
    match outcome {
        Ok(Some(outcome)) => outcome,
        Ok(None) | Err(_) => {
            let message = "a fault in countersign itself; the log says more";
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(lines: &[&'static str]) -> Result<Option<Expected>, Problem> {
        if_match(&lines.iter().map(|line| (header::IF_MATCH, HeaderValue::from_static(line))).collect())
    }

    const ONES: &str = "\"1111111111111111111111111111111111111111111111111111111111111111\"";

    #[test]
    fn a_file_that_was_seen_is_known_by_its_digest() {
        let (ones, twos) = ([0x11; 32], [0x22; 32]);
        assert_eq!(asked(&[]).unwrap(), None);
        let seen = asked(&[ONES]).unwrap().unwrap();
        assert!(seen.admit(Some(&ones)).is_ok());
        assert!(seen.admit(Some(&twos)).is_err() && seen.admit(None).is_err());
        assert_eq!(etag(&ones), ONES);
        assert!(asked(&["\"x\", ", ONES]).is_err(), "an empty tag is none");
        assert!(asked(&["\"x\"", ONES]).unwrap().unwrap().admit(Some(&ones)).is_ok());
    }

    #[test]
    fn what_cannot_match_refuses_and_is_not_passed_over() {
        for line in ["\"other\"", "W/\"1111\"", "\"\""] {
            let seen = asked(&[line]).unwrap().unwrap();
            assert!(seen.admit(Some(&[0x11; 32])).is_err(), "{line}");
        }
        for line in ["", "abc", "\"abc"] {
            assert_eq!(asked(&[line]).unwrap_err().code, "bad_precondition", "{line}");
        }
        let any = asked(&["*"]).unwrap().unwrap();
        assert!(any.admit(Some(&[0; 32])).is_ok() && any.admit(None).is_err());
    }
}
