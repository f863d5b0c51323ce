//! Answers to http-01 challenges (RFC 8555 §8.3): token -> key authorization, while an order is under way.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

/// What `GET /.well-known/acme-challenge/TOKEN` is answered with, on every plain listener and for every host.
#[derive(Debug, Default)]
pub struct Challenges(RwLock<HashMap<String, Arc<str>>>);

impl Challenges {
    /// Where tokens are asked for.
    pub const PATH: &'static str = "/.well-known/acme-challenge/";

    /// From now on the token is answered.
    pub fn offer(&self, token: &str, key_authorization: &str) {
        self.0.write().insert(token.to_owned(), Arc::from(key_authorization));
    }

    /// And no more.
    pub fn withdraw(&self, token: &str) {
        self.0.write().remove(token);
    }

    /// The answer to a path, if it asks for a token that is offered.
    pub fn answer(&self, path: &str) -> Option<Arc<str>> {
        let token = path.strip_prefix(Self::PATH)?;
        self.0.read().get(token).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::Challenges;

    #[test]
    fn a_token_is_answered_while_it_is_offered() {
        let challenges = Challenges::default();
        challenges.offer("abc", "abc.thumb");
        assert_eq!(challenges.answer("/.well-known/acme-challenge/abc").as_deref(), Some("abc.thumb"));
        for other in ["/.well-known/acme-challenge/", "/.well-known/acme-challenge/abcd", "/abc", "abc"] {
            assert_eq!(challenges.answer(other), None, "{other}");
        }
        challenges.withdraw("abc");
        assert_eq!(challenges.answer("/.well-known/acme-challenge/abc"), None);
    }
}
