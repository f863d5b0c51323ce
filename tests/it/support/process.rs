//! A child process with its output collected, ended and reaped when dropped. Only ever signalled by its own id.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::wait::{PATIENCE, eventually_within};

/// A running child.
pub struct Process {
    child: Mutex<Child>,
    id: u32,
    stdout: Collected,
    stderr: Collected,
}

/// A finished command.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

type Collected = Arc<Mutex<Vec<u8>>>;

impl Process {
    /// Starts it; standard input is empty.
    pub fn spawn(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = collect(child.stdout.take().expect("piped"));
        let stderr = collect(child.stderr.take().expect("piped"));
        Self { id: child.id(), child: Mutex::new(child), stdout, stderr }
    }

    pub fn id(&self) -> u32 {
        self.id
    }

    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// Sends a signal by name: `TERM`, `HUP` …
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.id)]).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot signal {} with {name}", self.id);
    }

    /// Its exit status, if it has ended.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().expect("wait for the child")
    }

    /// Waits for its end; the status and how long it took.
    pub fn wait(&self, patience: Duration) -> (ExitStatus, Duration) {
        let start = Instant::now();
        let status = eventually_within(patience, "the process ends", || self.ended());
        (status, start.elapsed())
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> u64 {
        let path = format!("/proc/{}/status", self.id);
        let status = std::fs::read_to_string(&path).expect("read the process's status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("kB") * 1024
    }

    /// How many file descriptors it has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id)).map_or(0, Iterator::count)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Runs a command to its end, within the patience.
pub fn run(command: &mut Command) -> Finished {
    run_within(PATIENCE, command)
}

/// The same with a patience of one's own.
pub fn run_within(patience: Duration, command: &mut Command) -> Finished {
    let process = Process::spawn(command);
    let (status, _) = process.wait(patience);
    let (stdout, stderr) = (settled(&process.stdout), settled(&process.stderr));
    Finished { code: status.code(), stdout, stderr }
}

/// Waits until the collecting thread has seen the end of the pipe.
fn settled(collected: &Collected) -> String {
    eventually_within(PATIENCE, "the output ends", || (Arc::strong_count(collected) == 1).then_some(()));
    text(collected)
}

fn text(collected: &Collected) -> String {
    String::from_utf8_lossy(&collected.lock().unwrap()).into_owned()
}

fn collect(mut pipe: impl Read + Send + 'static) -> Collected {
    let collected = Collected::default();
    let ours = Arc::clone(&collected);
    std::thread::spawn(move || {
        let mut chunk = [0u8; 8192];
        while let Ok(count @ 1..) = pipe.read(&mut chunk) {
            ours.lock().unwrap().extend_from_slice(&chunk[..count]);
        }
    });
    collected
}
