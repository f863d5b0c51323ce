//! `countersign reload`: asks the running process to read its configuration again, and prints its verdict.
//!
//! Exit codes: 0 applied or unchanged, 1 rejected, or nobody to ask.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::admin::client::{Answer, CallError, Target};
use crate::admin::token::AdminToken;
use crate::config::render;

/// How long one reload may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// With `--wait`: how long a process that is starting is waited for …
const WAIT: Duration = Duration::from_secs(60);

/// … and how often it is asked meanwhile.
const PAUSE: Duration = Duration::from_millis(100);

/// The arguments of `reload`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration [default: conf/countersign.yaml, then /etc/countersign/countersign.yaml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Wait up to a minute for a process that is still starting
    #[arg(long)]
    wait: bool,
}

/// Asks, prints, and answers the exit code.
pub fn run(args: Args) -> u8 {
    let path = super::config_path(args.config.as_deref());
    let target = Target::find(&path, &|name| super::environment(name));
    match ask(&target, args.wait) {
        Ok(answer) => tell(&answer),
        Err(message) => {
            // Its own view of the files is all that is left to say.
            let problems = render::human(&target.sources, &target.diagnostics, std::io::stdout().is_terminal());
            if !problems.is_empty() {
                say(&problems);
            }
            // Nobody is left to hear of a failure.
            let _ = writeln!(std::io::stderr(), "countersign: {message}");
            1
        }
    }
}

fn ask(target: &Target, wait: bool) -> Result<Answer, String> {
    let deadline = Instant::now() + if wait { WAIT } else { Duration::ZERO };
    loop {
        match attempt(target) {
            Err(Attempt::NotYet(_)) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err(Attempt::NotYet(message) | Attempt::Failed(message)) => return Err(message),
            Ok(answer) => return Ok(answer),
        }
    }
}

/// Why one attempt did not work.
enum Attempt {
    /// Perhaps it will a little later.
    NotYet(String),
    Failed(String),
}

fn attempt(target: &Target) -> Result<Answer, Attempt> {
    let token = AdminToken::find(&target.state_dir);
    let token = token.map_err(|error| Attempt::NotYet(format!("{error} (is the process running?)")))?;
    match target.call("POST", "/api/v1/reload", Some(&token), PATIENCE) {
        Ok(answer) => Ok(answer),
        Err(error @ CallError::Io { .. }) if error.is_refused() => {
            Err(Attempt::NotYet(format!("{error} (is the process running, with this configuration?)")))
        }
        Err(error) => Err(Attempt::Failed(error.to_string())),
    }
}

/// Prints the verdict; the exit code.
fn tell(answer: &Answer) -> u8 {
    let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if !matches!(answer.status, 200 | 422) {
        let message = value.pointer("/error/message").and_then(Value::as_str).unwrap_or("an answer without a reason");
        // Nobody is left to hear of a failure.
        let _ = writeln!(std::io::stderr(), "countersign: the admin listener refuses ({}): {message}", answer.status);
        return 1;
    }
    say(&verdict(&value));
    u8::from(answer.status != 200)
}

fn say(text: &str) {
    // A closed standard output changes nothing about the verdict, which is the exit code too.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// The diagnostics, what waits for a restart, and the outcome last, where the eye ends up.
fn verdict(value: &Value) -> String {
    let mut lines: Vec<String> = list(value, "diagnostics").iter().map(diagnostic).collect();
    let waiting: Vec<&str> = list(value, "needs_restart").iter().filter_map(Value::as_str).collect();
    if !waiting.is_empty() {
        lines.push(format!("waiting for a restart: {}", waiting.join(", ")));
    }
    let generation = value.get("generation").and_then(Value::as_u64).unwrap_or_default();
    lines.push(match text(value, "outcome") {
        "applied" => format!("applied: generation {generation} is in force"),
        "unchanged" => format!("unchanged: generation {generation} is in force"),
        _ => format!("rejected: generation {generation} stays in force"),
    });
    lines.join("\n")
}

fn diagnostic(value: &Value) -> String {
    let number = |key: &str| value.get(key).and_then(Value::as_u64).unwrap_or_default();
    let place = match text(value, "file") {
        "" => String::new(),
        file => format!("{file}:{}:{}: ", number("line"), number("column")),
    };
    let hint = match text(value, "hint") {
        "" => String::new(),
        hint => format!("\n  hint: {hint}"),
    };
    format!("{place}{}: {}{hint}", text(value, "severity"), text(value, "message"))
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rejection_names_places_and_hints() {
        let value = json!({
            "outcome": "rejected", "generation": 4, "needs_restart": [],
            "diagnostics": [
                {"file": "edge.yaml", "line": 3, "column": 7, "severity": "error", "code": "unknown_key",
                 "message": "unknown key `prefx`", "hint": "did you mean `prefix`?"},
                {"file": "", "line": 0, "column": 0, "severity": "error", "code": "x", "message": "broken", "hint": ""},
            ],
        });
        assert_eq!(
            verdict(&value),
            "edge.yaml:3:7: error: unknown key `prefx`\n  hint: did you mean `prefix`?\nerror: broken\n\
             rejected: generation 4 stays in force"
        );
    }

    #[test]
    fn what_waits_for_a_restart_is_named() {
        let value = json!({
            "outcome": "applied", "generation": 5, "diagnostics": [],
            "needs_restart": ["server.threads", "admin.address"],
        });
        let expected = "waiting for a restart: server.threads, admin.address\napplied: generation 5 is in force";
        assert_eq!(verdict(&value), expected);
    }
}
