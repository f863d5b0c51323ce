//! Questions to the running process, and its refusals in words.

use std::time::Duration;

use serde_json::Value;

use crate::admin::client::{CallError, Question, Target};
use crate::admin::token::AdminToken;

use super::show;

/// Longer than an exchange with a provider may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The running process.
pub(super) struct Process<'t> {
    target: &'t Target,
}

/// Why nothing came of it.
#[derive(Debug)]
pub(super) struct Refused {
    /// For people.
    pub(super) message: String,
    /// The API's word for it: a code, or the exact error of a callback.
    word: String,
}

impl Refused {
    pub(super) fn saying(message: impl Into<String>) -> Self {
        Self { message: message.into(), word: String::new() }
    }

    /// What to do about it. `command`: how one is called.
    pub(super) fn next(&self, command: impl Fn(&str) -> String) -> Option<String> {
        let again = || format!("begin again: {}", command("login PROVIDER"));
        Some(match self.word.as_str() {
            "invalid state" => {
                format!("a login is good for ten minutes and for one answer, at its own address; {}", again())
            }
            "Callback URL missing code or state parameter" => {
                "copy the whole address from the browser's address bar, between quotes, from `http` to its end"
                    .to_owned()
            }
            "Failed to exchange code for token" | "Authorization was refused" => again(),
            "Failed to save token" => {
                "the token is in use, and saved as soon as that is possible: see to `tokens_dir`".to_owned()
            }
            "unknown_token" => format!("see {}", command("list")),
            "unknown_provider" => "see `providers` in the configuration".to_owned(),
            "no_such_flow" => format!("this provider has no device login: {}", command("login PROVIDER")),
            "not_refreshable" | "refresh_failed" => {
                format!("see {}; if it needs a login, {}", command("list"), again())
            }
            _ => return None,
        })
    }
}

impl<'t> Process<'t> {
    pub(super) fn new(target: &'t Target) -> Self {
        Self { target }
    }

    /// Asks. An answer without a body is null.
    pub(super) fn ask(&self, method: &str, path: &str, body: &[u8]) -> Result<Value, Refused> {
        let token = AdminToken::find(&self.target.state_dir);
        let token = token.map_err(|error| Refused::saying(format!("{error} (is the process running?)")))?;
        let answer = self.target.ask(Question { method, path, body }, Some(&token), PATIENCE).map_err(unanswered)?;
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if (200..300).contains(&answer.status) { Ok(value) } else { Err(refusal(answer.status, &value)) }
    }
}

fn unanswered(error: CallError) -> Refused {
    let question = if error.is_refused() { " (is the process running, with this configuration?)" } else { "" };
    Refused::saying(format!("{error}{question}"))
}

/// `{"error":{"code","message"}}`, or, of a callback, `{"error","detail"}`.
fn refusal(status: u16, value: &Value) -> Refused {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
    if let Some(word) = text("/error") {
        let detail = text("/detail").map(|detail| format!(": {}", show::line(detail))).unwrap_or_default();
        return Refused { message: format!("{}{detail}", show::line(word)), word: word.to_owned() };
    }
    let message = text("/error/message").unwrap_or("an answer without a reason");
    let word = text("/error/code").unwrap_or_default().to_owned();
    Refused { message: format!("{} ({status})", show::line(message)), word }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refusals_of_both_shapes_say_what_and_what_next() {
        let next = |refused: &Refused| refused.next(|rest| format!("countersign token {rest}")).unwrap_or_default();
        let flat =
            refusal(502, &json!({ "error": "Failed to exchange code for token", "detail": "invalid_grant\u{1b}" }));
        assert_eq!(flat.message, "Failed to exchange code for token: invalid_grant\u{fffd}");
        assert_eq!(next(&flat), "begin again: countersign token login PROVIDER");
        let coded = refusal(404, &json!({ "error": { "code": "unknown_token", "message": "there is no such token" } }));
        assert_eq!(coded.message, "there is no such token (404)");
        assert_eq!(next(&coded), "see countersign token list");
        let odd = refusal(500, &Value::Null);
        assert_eq!((odd.message.as_str(), next(&odd)), ("an answer without a reason (500)", String::new()));
        for word in ["invalid state", "Callback URL missing code or state parameter", "Failed to save token"] {
            assert!(!next(&refusal(400, &json!({ "error": word }))).is_empty(), "{word}");
        }
    }
}
