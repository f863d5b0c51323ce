//! How a token stands, in the API's words and in people's.

use super::Status;
use super::moment::Moment;
use super::schedule::Life;
use crate::credential::record::{Record, State};

impl Status {
    /// Every one, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Valid, Self::Expiring, Self::Expired, Self::Resting, Self::NeedsLogin];

    /// The API's, and the metrics', word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
            Self::Resting => "resting",
            Self::NeedsLogin => "needs_login",
        }
    }
}

/// The worst comes first: what a login would help, what time would help.
pub fn status(state: State, is_resting: bool, life: Life, refresh_at: Moment, now: Moment) -> Status {
    match state {
        State::NeedsLogin | State::Disabled => Status::NeedsLogin,
        State::Valid if life.is_over(now) => Status::Expired,
        State::Valid if is_resting => Status::Resting,
        State::Valid if now >= refresh_at => Status::Expiring,
        State::Valid => Status::Valid,
    }
}

/// Why it is not well.
pub fn reason(record: &Record, status: Status, is_ours: bool) -> Option<String> {
    match status {
        Status::NeedsLogin => Some(needs_login(record)),
        Status::Expired if record.refresh_token.is_none() && !is_ours => {
            Some("it has ended, and there is no refresh token: log in again".to_owned())
        }
        Status::Expired => Some("its access token has ended, and there is no new one yet".to_owned()),
        Status::Resting => Some("the upstream has asked for a pause (429)".to_owned()),
        Status::Valid | Status::Expiring => None,
    }
}

fn needs_login(record: &Record) -> String {
    if record.state == State::Disabled {
        return "it was taken out of use".to_owned();
    }
    let reason = record.reason.as_deref().unwrap_or("unknown");
    let told = match reason {
        "invalid_grant" => "the provider no longer takes its refresh token",
        "rotation_outcome_unknown" => {
            "the provider's answer to a refresh was lost, and it no longer takes the refresh token from before"
        }
        "registration_expired" => "the client that was registered for this login has expired",
        "stale_restore" => "its file was restored from a backup, and its refresh token has been spent since",
        _ => "the provider asks for another login",
    };
    format!("{told} ({reason}): log in again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_is_told_first() {
        let life = Life { obtained: Moment(0), ends: Moment(100_000) };
        let at = |state, resting, now| status(state, resting, life, Moment(50_000), Moment(now)).as_str();
        assert_eq!(at(State::Valid, false, 0), "valid");
        assert_eq!(at(State::Valid, false, 50_000), "expiring");
        assert_eq!(at(State::Valid, true, 50_000), "resting");
        assert_eq!(at(State::Valid, true, 100_000), "expired");
        assert_eq!(at(State::NeedsLogin, true, 0), "needs_login");
        assert_eq!(at(State::Disabled, false, 0), "needs_login");
    }
}
