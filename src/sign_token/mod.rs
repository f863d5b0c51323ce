//! Sign tokens that are set through the control plane: written, used to sign, and never read back.
//!
//! | in `state_dir/sign-tokens` | what it is |
//! | --- | --- |
//! | 32 hex digits and `.json` | what is kept for one route ([`record`]): its token, the next one, the one before |
//! | `index.json` | which routes have a token there ([`index`]), so that one that got lost is missed |
//!
//! Who does what: `config` lends what is kept to the routes that it reads; `edit::sign_token` changes it; `table` signs with it;
//! `admin` shows when each was set, and a fingerprint.
//!
//! Invariants: no prefix reaches the name of a file (`names_are_digits_whatever_the_prefix_is`); what is kept for one route opens
//! for no other (`a_record_is_of_one_route`); neither `Debug` nor an error holds a token.

pub mod index;
pub mod record;

use std::path::Path;
use std::sync::Arc;

use crate::clock::UnixMillis;
use crate::sealed::Sealer;
use crate::secret::{self, Secret};

/// The directory below `state_dir`.
pub const DIRECTORY: &str = "sign-tokens";

/// The least number of characters of a sign token.
pub const SHORTEST: usize = 31;

/// More is no token but a mistake.
pub const LONGEST: usize = 512;

/// Which route a token is of, as its configuration names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteName<'a> {
    /// Of the project.
    pub project: &'a str,
    /// Of the environment.
    pub environment: &'a str,
    /// As written, without a slash at its end.
    pub prefix: &'a str,
}

/// A token, and since when it is what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The token.
    pub token: Secret,
    /// When it was set; `None`: nobody knows.
    pub set_at: Option<UnixMillis>,
}

/// What is kept for a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// What signs. Of a route whose configuration names a file: nothing, as it is in that file.
    pub current: Option<Held>,
    /// What will sign once it is activated: upstreams learn it first.
    pub next: Option<Held>,
    /// What signed before: upstreams may still know it, and signing may go back to it.
    pub previous: Option<Held>,
}

/// Where the token that signs is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Home {
    /// There is none.
    #[default]
    Nowhere,
    /// There was one in the state directory, and it was removed on purpose.
    LetGo,
    /// In the configuration itself, in a variable or a credential of the service manager.
    ByHand,
    /// In a file that the configuration names.
    File(Arc<Path>),
    /// In the state directory.
    Kept,
}

/// What a route knows of its tokens, beside the one that signs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Where the one that signs is.
    pub home: Home,
    /// When that was set.
    pub set_at: Option<UnixMillis>,
    /// See [`Kept::next`].
    pub next: Option<Held>,
    /// See [`Kept::previous`].
    pub previous: Option<Held>,
}

impl RouteName<'_> {
    /// One text for one route.
    pub(crate) fn text(&self) -> String {
        serde_json::json!([self.project, self.environment, self.prefix]).to_string()
    }

    /// Tells the tokens of this route apart, and nothing of them: whoever lacks the process's key cannot try guesses.
    pub fn fingerprint(&self, sealer: &Sealer, token: &Secret) -> String {
        sealer.fingerprint(&format!("sign-token {}", self.text()), token)
    }
}

/// A new token: 43 characters of base64url, 256 random bits.
///
/// # Errors
/// The system has no randomness.
pub fn generate() -> Result<Secret, getrandom::Error> {
    use base64::Engine as _;
    Ok(Secret::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(*secret::random()?)))
}

/// What is wrong with a text as a sign token: the rest of a sentence. It says nothing of the text but its length.
pub fn unfit(text: &str) -> Option<String> {
    let length = text.chars().count();
    if length < SHORTEST {
        return Some(format!("has {length} characters; it needs at least {SHORTEST}"));
    }
    if length > LONGEST {
        return Some(format!("has {length} characters; it may have at most {LONGEST}"));
    }
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    (!visible).then(|| "has a character that is not visible ASCII, such as a space or a line end".to_owned())
}

impl Kept {
    /// Without what says nothing beside the token that signs: a change that was cut short may have left the same one twice.
    #[must_use]
    pub fn beside(mut self, current: Option<&Secret>) -> Self {
        let other = |held: &Held| current.is_none_or(|current| held.token != *current);
        self.next = self.next.filter(other);
        self.previous = self.previous.filter(other);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_token_is_fit_and_unlike_any_other() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        assert_eq!((one.len(), unfit(one.expose())), (43, None));
        assert_ne!(one, other);
    }

    #[test]
    fn what_no_header_safe_token_is_gets_a_clause_without_it() {
        for text in ["", "short", &"x".repeat(30), &"x".repeat(513)] {
            let clause = unfit(text).unwrap();
            assert!(clause.contains(&text.len().to_string()), "{clause}");
        }
        for wrong in [" ", "\n", "\u{7f}", "é", "\0"] {
            let clause = unfit(&format!("{}{wrong}", "s3cret".repeat(6))).unwrap();
            assert!(!clause.contains("s3cret") && clause.contains("visible ASCII"), "{clause}");
        }
        assert_eq!(unfit(&"x".repeat(31)), None);
    }

    #[test]
    fn fingerprints_are_of_one_route_and_one_key() {
        let sealer = |text| Sealer::of(&Secret::new(text));
        let name = RouteName { project: "demo", environment: "production", prefix: "/a0" };
        let (one, other) = (Secret::new("x".repeat(31)), Secret::new("y".repeat(31)));
        let print = name.fingerprint(&sealer("key"), &one);
        assert_eq!(print, name.fingerprint(&sealer("key"), &one));
        assert_eq!(print.len(), 8);
        assert_ne!(print, name.fingerprint(&sealer("key"), &other));
        assert_ne!(print, name.fingerprint(&sealer("another"), &one));
        assert_ne!(print, RouteName { prefix: "/a1", ..name }.fingerprint(&sealer("key"), &one));
    }

    #[test]
    fn the_token_that_signs_is_not_also_the_next_or_the_one_before() {
        let held = |text: &str| Some(Held { token: Secret::new(text), set_at: Some(1) });
        let kept = Kept { current: None, next: held("a"), previous: held("b") };
        assert_eq!(kept.clone().beside(Some(&Secret::new("a"))), Kept { next: None, ..kept.clone() });
        assert_eq!(kept.clone().beside(Some(&Secret::new("b"))), Kept { previous: None, ..kept.clone() });
        assert_eq!(kept.clone().beside(None), kept);
        assert!(!format!("{kept:?}").contains("\"a\""));
    }
}
