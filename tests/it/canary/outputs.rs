//! Everything that a process says to anybody, collected and searched.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use serde_json::json;

use super::slots::{Form, Slots, basic, forms};
use crate::support::edge::{BINARY, free_address};
use crate::support::process::{Finished, Process};
use crate::support::{Edge, Request, Wire, eventually};

/// What answers a GET of the admin listener with the token.
const ADMIN: [&str; 6] = ["/", "/livez", "/readyz?verbose", "/metrics", "/api/v1/status", "/api/v1/routes"];

/// What else there may be; whatever it answers is searched.
const FURTHER: [&str; 20] = [
    "/dashboard",
    "/dashboard/tokens",
    "/dashboard/tokens/add",
    "/dashboard/tokens/callback",
    "/dashboard/tokens/live.json",
    "/dashboard/tokens/one/remove",
    "/dashboard/routes",
    "/dashboard/routes/explain?method=GET&url=http%3A%2F%2Fdemo.test%2Fsigned%2Fx&client=laptop",
    "/dashboard/configuration",
    "/dashboard/log",
    "/dashboard/log/stream",
    "/dashboard/sessions",
    "/dashboard/live.json",
    "/dashboard/login",
    "/api/v1/sessions",
    "/api/v1/tokens",
    "/api/v1/tokens/one",
    "/api/v1/config",
    "/api/v1/openapi.json",
    "/openapi.json",
];

/// Outputs by name.
#[derive(Default)]
pub struct Outputs(Vec<(String, Vec<u8>)>);

impl Outputs {
    pub fn add(&mut self, place: &str, bytes: impl Into<Vec<u8>>) {
        self.0.push((place.to_owned(), bytes.into()));
    }

    fn add_finished(&mut self, place: &str, finished: Finished) {
        self.add(place, finished.stdout + &finished.stderr);
    }

    /// Every page and every table, asked for as the operator; then by somebody who guesses.
    pub fn of_the_admin_listener(&mut self, edge: &Edge, slots: &Slots) {
        let host = edge.admin.to_string();
        for target in ADMIN {
            let answer = edge.admin_call(&Request::get(target).host(&host).bearer(&edge.token()));
            assert_eq!(answer.status, 200, "{target}: {}", answer.text());
            self.add(target, [answer.head.raw, answer.body].concat());
        }
        for target in FURTHER {
            let answer = raw(edge, &Request::get(target).host(&host).bearer(&edge.token()));
            assert!((200..500).contains(&super::status(&answer)), "{target}: {}", String::from_utf8_lossy(&answer));
            self.add(target, answer);
        }
        let callback = format!("http://127.0.0.1:1/oauth/callback?code={}&state={}", slots.query, slots.query);
        let question = json!({
            "url": format!("http://demo.test/signed/x?token={}", slots.query),
            "headers": { "authorization": format!("Bearer {}", slots.client), "cookie": slots.cookie },
        });
        for (method, target, body) in [
            ("POST", "/api/v1/explain", question),
            ("POST", "/api/v1/explain", json!({ "url": 7, "headers": slots.client })),
            ("POST", "/api/v1/tokens/callback", json!({ "callback_url": callback })),
            ("POST", "/login", json!({ "user": "root", "password": slots.wrong })),
        ] {
            let request = Request::new(method, target).host(&host).bearer(&edge.token());
            let request = request.header("content-type", "application/json").body(body.to_string());
            // What was asked may be repeated to the one who asked, but nothing else.
            let answer = raw(edge, &request);
            self.add_without(&format!("{method} {target}"), answer, &[&slots.query, &slots.client, &slots.cookie]);
        }
        for header in
            [basic("root", &slots.wrong), basic("root", &slots.admin_password), format!("Bearer {}", slots.wrong)]
        {
            let request = Request::get("/api/v1/status").host(&host).header("authorization", &header);
            self.add("/api/v1/status of somebody", raw(edge, &request));
        }
    }

    /// What the same file makes other commands say.
    pub fn of_commands(&mut self, edge: &Edge) {
        for (before, after) in [
            (&["check"][..], &[][..]),
            (&["check", "--format", "json"], &[]),
            (&["explain"], &["GET", "http://demo.test/signed/x", "--client", "laptop"]),
            (&["explain", "--json"], &["GET", "http://demo.test/signed/x", "--client", "laptop"]),
            (&["explain", "--json"], &["GET", "http://demo.test/pool/x", "--client", "laptop"]),
            (&["explain"], &["GET", "http://demo.test/open/x", "-H", "x-api-key: own"]),
            (&["diff"], &[]),
            (&["config", "show"], &[]),
            (&["config", "show", "--sources"], &[]),
            (&["token", "list"], &[]),
            (&["health"], &[]),
        ] {
            self.add_finished(&before.join(" "), edge.command(before, after));
        }
    }

    /// What is wrong with a file that has its secrets written out, next to mistakes: to everybody who is told.
    pub fn of_a_broken_reload(&mut self, edge: &Edge, slots: &Slots) {
        let mut text = edge.text();
        for (name, secret) in [
            ("OAUTH_SECRET", &slots.oauth),
            ("FIXED", &slots.fixed),
            ("CLIENT", &slots.client),
            ("SIGN", &slots.sign),
            ("PAYLOAD", &slots.payload),
        ] {
            text = text.replace(&format!("${{{name}}}"), secret);
        }
        for (number, (from, to)) in [
            ("timeouts:", "timeout:"),
            ("client_secret:", "client_secrets:"),
            ("secret:", "secert:"),
            ("token:", "tokn:"),
            ("payload: {", "payload: [{"),
            ("scheme: user-stamp", "scheme: user-stump"),
            ("hosts: [127.0.0.1]", "hosts: [elsewhere.test]"),
        ]
        .into_iter()
        .enumerate()
        {
            edge.write(&text.replace(from, to));
            let (status, verdict) = edge.reload();
            assert!(status >= 400, "{from} -> {to}: {verdict}");
            self.add(&format!("the verdict on broken file {number}"), verdict.to_string());
            self.add("the status after it", edge.status().to_string());
            for format in ["human", "json", "github"] {
                self.add_finished(
                    &format!("check --format {format}, file {number}"),
                    edge.command(&["check", "--format", format], &[]),
                );
            }
            self.add_finished("config show of it", edge.command(&["config", "show"], &[]));
        }
    }

    /// The logs, the terminal, and what the system shows of the process.
    pub fn of_the_process(&mut self, edge: &Edge) {
        edge.stop();
        let read = |name: &str| std::fs::read(edge.directory().join(name)).unwrap_or_default();
        let (log, access) = (read("process.log"), read("access.log"));
        assert!(log.len() > 5_000, "the log level is trace: {}", String::from_utf8_lossy(&log));
        assert!(access.len() > 5_000, "every request is logged: {}", String::from_utf8_lossy(&access));
        self.add("the log", log);
        self.add("the access log", access);
        self.add("standard output", edge.process.stdout());
        self.add("standard error", edge.process.stderr());
    }

    /// The arguments, as everybody on the machine can read them.
    pub fn of_the_arguments(&mut self, edge: &Edge) {
        let arguments = std::fs::read(format!("/proc/{}/cmdline", edge.process.id())).expect("its arguments");
        assert!(!arguments.is_empty());
        self.add("the arguments", arguments);
    }

    /// The same, where these may stand: the asker's own words.
    fn add_without(&mut self, place: &str, bytes: Vec<u8>, own: &[&str]) {
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        for word in own {
            text = text.replace(word, "…");
        }
        self.add(place, text);
    }

    /// Fails with every place and slot, and never with the secret itself.
    pub fn expect_nothing_of(&self, slots: &Slots, further: &[(&'static str, String)]) {
        assert!(self.0.len() > 100, "{} outputs", self.0.len());
        let further = further.iter().map(|(slot, secret)| (*slot, secret.as_str()));
        let mut leaks = Vec::new();
        for (slot, secret) in slots.all().into_iter().chain(further) {
            let forms = forms(secret);
            for (place, bytes) in &self.0 {
                if let Some(at) = find(bytes, &forms) {
                    let from = at.saturating_sub(120);
                    let before = String::from_utf8_lossy(&bytes[from..at]).into_owned();
                    leaks.push(format!("{slot} in {place}, behind {before:?}"));
                }
            }
        }
        assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
    }
}

/// An answer that is searched later, not by the leak guard.
fn raw(edge: &Edge, request: &Request) -> Vec<u8> {
    super::exchange(edge.admin, request.bytes())
}

/// Where one of the forms begins.
pub fn find(bytes: &[u8], forms: &[Form]) -> Option<usize> {
    // Latin-1 has a character for each byte, so that places agree.
    let exact: String = bytes.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '\u{1a}' }).collect();
    let lower = exact.to_ascii_lowercase();
    forms.iter().find_map(|form| if form.exact { exact.find(&form.text) } else { lower.find(&form.text) })
}

/// Whether a process of the binary, run by nobody in particular, is one that leaves core dumps: what is seen of it from outside then
/// belongs to its own user, else to root (proc(5), `/proc/pid`).
pub fn may_be_dumped() -> bool {
    const NOBODY: u32 = 65_534;
    let listen = free_address();
    let mut command = Command::new(BINARY);
    command.args(["run", "--to", "http://127.0.0.1:1", "--listen", &listen.to_string()]);
    if std::fs::metadata("/proc/self").expect("a process").uid() == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
    let process = Process::spawn(&mut command);
    let mut wire = eventually("it listens", || Wire::try_connect(listen).ok());
    wire.send(Request::get("/").bytes());
    assert_eq!(wire.response().status, 502);
    let owner = std::fs::metadata(format!("/proc/{}/environ", process.id())).expect("a running process").uid();
    owner != 0
}
