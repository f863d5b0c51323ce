//! People with passwords: htpasswd files, verification that is slow by design, and bounds on guessing.
//!
//! Flow: `table::compile` opens a [`UsersFile`], so that a bad file is a diagnostic; `decide` asks it what is known of a
//! credential already, which is quick; what is not known is a [`Login`] that the [`Verifier`] answers on threads of its own,
//! never on an event loop. [`Guesses`] counts failures by address. The file is followed by itself: a changed one counts at
//! once, and a broken one leaves the old users in force, loudly.
//!
//! Invariants: a name that nobody has costs as much as a wrong password (`a_stranger_costs_as_much_as_a_wrong_password`);
//! what was verified is forgotten when the file changes (`a_changed_file_forgets`); memory is bounded whoever asks.

mod apr1;
mod digest;
mod file;
mod guesses;
mod hash;
mod known;
mod make;
mod store;
mod verifier;

pub use file::{Users, UsersError};
pub use guesses::{Attempt, Guesses, Network};
pub use hash::{Hash, Refused};
pub use make::{Making, make};
pub use store::{OpenError, UsersFile};
pub use verifier::{Login, Outcome, Verifier};

/// Where this module's lines in the process log come from.
const LOG: &str = "countersign::users";

/// The longest password that is looked at, in bytes: a longer one costs nothing and is wrong.
pub const LONGEST_PASSWORD: usize = 512;
