//! kill -9 of the real process at random points of a refresh. Whatever the moment: no file is torn; with a provider that takes a spent
//! refresh token once more, no login is lost; with one that does not, each loss is reported, and nothing is lost after the answer had
//! come. 60 kills; `COUNTERSIGN_FULL=1`: 1,000.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::scripted_provider::{ScriptedProvider, Settings};
use crate::support::tokens::{config, document};
use crate::support::{Edge, Origin, Request, Wire, eventually_within};

const HOUR: Duration = Duration::from_secs(3600);
const SLOW: Duration = Duration::from_secs(30);

fn kills(usually: usize) -> usize {
    if std::env::var_os("COUNTERSIGN_FULL").is_some() { 500 } else { usually }
}

/// The same numbers every time (xorshift): a failure can be had again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

struct Scene {
    provider: ScriptedProvider,
    _origin: Origin,
    edge: Edge,
    dice: Dice,
    /// What was found after each kill.
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    /// Killed while the provider had granted something that was not in the file yet.
    in_the_window: usize,
    /// Finished after the restart from what had been written down.
    recovered: usize,
    /// Reported as lost.
    reported: usize,
    torn: usize,
    /// Not said, and not usable.
    silent: usize,
}

fn scene(grace: Option<Duration>, seed: u64) -> Scene {
    let provider = ScriptedProvider::start(Settings { grace, ..Settings::default() });
    let origin = provider.upstream();
    let edge = config(&format!("oauth2: {}", provider.oauth2()), "", &origin).start();
    Scene { provider, _origin: origin, edge, dice: Dice(seed), tally: Tally::default() }
}

impl Scene {
    fn log_in(&self) -> String {
        let (access, refresh) = self.provider.login();
        self.edge.import(&document(&access, &refresh, HOUR))
    }

    /// Has the token refreshed again and again, and kills the process at some moment of it.
    fn kill_while_refreshing(&mut self, id: &str) {
        let calls = self.provider.refreshes();
        // Half of the kills come within a millisecond or two of the provider's answer, where it matters.
        let close = self.dice.below(2) == 0;
        let moment = Duration::from_micros(self.dice.below(if close { 3_000 } else { 40_000 }));
        let (edge, provider, over) = (&self.edge, &self.provider, AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut answered = true;
                while answered && !over.load(Ordering::SeqCst) {
                    answered = refresh_blindly(edge, id);
                }
            });
            if close {
                eventually_within(SLOW, "a refresh to interrupt", || (provider.refreshes() > calls).then_some(()));
            }
            let start = Instant::now();
            while start.elapsed() < moment {
                std::hint::spin_loop();
            }
            kill(edge.process.id());
            over.store(true, Ordering::SeqCst);
        });
        self.edge.process.wait(SLOW);
        self.tally.kills += 1;
    }

    /// What the file says, if it is one.
    fn file(&self, id: &str) -> Option<Value> {
        let bytes = std::fs::read(self.edge.tokens_dir().join(format!("{id}.json"))).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Looks at what the process has left; what its file holds.
    fn look(&mut self, id: &str) -> u64 {
        let Some(file) = self.file(id) else {
            self.tally.torn += 1;
            return 0;
        };
        let refresh = file["refresh_token"].as_str().unwrap_or_default();
        let granted = self.provider.calls_of("refresh_token").into_iter().rev().find_map(|call| call.outcome.ok());
        if granted.is_some_and(|access| file["access_token"] != access.as_str()) {
            self.tally.in_the_window += 1;
        }
        if refresh.is_empty() {
            self.tally.torn += 1;
        }
        file["generation"].as_u64().unwrap_or(0)
    }

    /// Starts it again, and asks for a refresh: it must be granted, or the loss be said.
    fn come_back(&mut self, id: &str, before: u64) -> bool {
        self.edge.relaunch();
        let status = eventually_within(SLOW, "a refresh, or a report", || match self.edge.refresh(id).0 {
            200 => Some(true),
            _ => (self.token(id)["status"] == "needs_login").then_some(false),
        });
        if status {
            let file = self.edge.token_file(id);
            if file["generation"].as_u64().unwrap_or(0) > before + 1 {
                self.tally.recovered += 1;
            }
            if !self.provider.takes(file["refresh_token"].as_str().unwrap_or_default()) {
                self.tally.silent += 1;
            }
            return true;
        }
        let said = self.token(id).to_string();
        if said.contains("rotation_outcome_unknown") {
            self.tally.reported += 1;
        } else {
            self.tally.silent += 1;
            println!("silent: {said}");
        }
        false
    }

    fn token(&self, id: &str) -> Value {
        self.edge.tokens().into_iter().find(|token| token["id"] == id).unwrap_or_default()
    }

    fn run(&mut self, kills: usize) {
        let mut id = self.log_in();
        for _ in 0..kills {
            self.kill_while_refreshing(&id);
            let before = self.look(&id);
            if !self.come_back(&id, before) {
                assert_eq!(self.edge.admin("DELETE", &format!("/api/v1/tokens/{id}")).status, 204);
                id = self.log_in();
            }
        }
        println!("{:?}", self.tally);
        let faults: Vec<_> = std::fs::read_dir(self.edge.tokens_dir()).expect("a directory").flatten().collect();
        let corrupt = faults.iter().filter(|file| file.file_name().to_string_lossy().contains("corrupt")).count();
        assert_eq!((self.tally.torn, corrupt, self.tally.silent), (0, 0, 0), "{:?}", self.tally);
    }
}

/// Asks for a refresh; false when nobody answers.
fn refresh_blindly(edge: &Edge, id: &str) -> bool {
    let Ok(mut wire) = Wire::try_connect(edge.admin) else { return false };
    let target = format!("/api/v1/tokens/{id}/refresh");
    let request: Request = edge.admin_request("POST", &target).header("content-length", "0");
    wire.send(request.bytes());
    wire.try_response_to("POST").is_ok()
}

fn kill(id: u32) {
    let id = rustix::process::Pid::from_raw(i32::try_from(id).expect("an id")).expect("an id");
    rustix::process::kill_process(id, rustix::process::Signal::KILL).expect("kill it");
}

#[test]
fn kill_9_loses_nothing_with_a_provider_that_has_grace() {
    let mut scene = scene(Some(HOUR), 0x9e37_79b9_7f4a_7c15);
    scene.run(kills(30));
    assert_eq!(scene.tally.reported, 0, "{:?}", scene.tally);
    assert_eq!(scene.provider.reuses(), 0);
}

#[test]
fn kill_9_is_never_silent_about_what_a_strict_provider_took() {
    let mut scene = scene(None, 0xd1b5_4a32_d192_ed03);
    scene.run(kills(30));
    assert_eq!(scene.provider.reuses(), scene.tally.reported, "{:?}", scene.tally);
}
