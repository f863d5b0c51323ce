//! `countersign demo`: the proxy on its demonstration configuration, with the demonstration upstream behind it and lines
//! that say what to try.
//!
//! Flow: find `conf/countersign.yaml` (or unpack the copy inside the binary), make the secrets it names, start the upstream
//! of [`crate::demo`] on a thread of its own, tell the configuration its address as `DEMO_UPSTREAM`, serve as `run` does.
//!
//! Invariants: nothing that exists is overwritten; secrets are 0600 in a 0700 directory and never printed (the lines read
//! them with `cat`); everything is on loopback.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::config::{self, Model};
use crate::server::banner::tidy;

/// The demonstration's configuration, for a binary that stands alone.
const CONFIGURATION: &str = include_str!("../../conf/countersign.yaml");
/// Where the copy is unpacked when the repository's is not here.
const UNPACKED: &str = "countersign-demo/conf/countersign.yaml";
/// The secrets that it names, in `../state/demo` as seen from it.
const SECRETS: [&str; 3] = ["client.token", "sign.token", "api.token"];
/// Where the configuration expects the upstream unless it is told otherwise; any other port will do when it is taken.
const UPSTREAM_PORT: u16 = 9081;

/// The command line of `countersign demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Demonstrate this file [default: conf/countersign.yaml, or a copy unpacked into countersign-demo/]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs until it is told to stop; the exit code is that of `run`.
pub fn run(args: Args) -> u8 {
    match demonstrate(args) {
        Ok(code) => code,
        Err(problem) => {
            say(&format!("countersign demo: {problem}\n"));
            1
        }
    }
}

fn demonstrate(args: Args) -> io::Result<u8> {
    let config = configuration(args.config)?;
    let secrets = secrets_of(&config);
    make_secrets(&secrets)?;
    let upstream = Upstream::start()?;
    let variables = variables(upstream.address);
    if let Some(model) = config::load(&config, &*variables).model {
        say(&lines(&Facts::new(&config, &secrets, &model)));
    }
    let code = super::run::serve(super::run::Options { config, variables });
    upstream.stop();
    Ok(code)
}

fn say(text: &str) {
    // A terminal that has gone away is no reason to stop.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// The file to demonstrate; unpacks the embedded copy when there is none. An installed configuration is not one: a
/// demonstration makes secrets beside its file.
fn configuration(given: Option<PathBuf>) -> io::Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given);
    }
    let found = PathBuf::from(super::NEAR);
    if found.exists() { Ok(found) } else { unpack(PathBuf::from(UNPACKED)) }
}

/// Writes the embedded configuration, unless an earlier run did (it may have been edited since).
fn unpack(to: PathBuf) -> io::Result<PathBuf> {
    if !to.exists() {
        if let Some(directory) = to.parent() {
            fs::create_dir_all(directory).map_err(|error| at(directory, &error))?;
        }
        fs::write(&to, CONFIGURATION).map_err(|error| at(&to, &error))?;
    }
    Ok(to)
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The directory of the demonstration's secrets: `state/demo` beside the configuration's own directory.
fn secrets_of(config: &Path) -> PathBuf {
    let directory = config.parent().unwrap_or(Path::new(""));
    match (directory.file_name(), directory.parent()) {
        // `conf/countersign.yaml` -> `state/demo`, which reads better than `conf/../state/demo`.
        (Some(name), Some(above)) if name != ".." => above.join("state/demo"),
        _ => directory.join("../state/demo"),
    }
}

/// Makes every secret that is missing: 32 random bytes as hex.
///
/// # Errors
/// Names the file or directory that could not be written.
pub fn make_secrets(directory: &Path) -> io::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| at(directory, &error))?;
    for name in SECRETS {
        let path = directory.join(name);
        if !path.exists() {
            make_secret(&path).map_err(|error| at(&path, &error))?;
        }
    }
    Ok(())
}

fn make_secret(path: &Path) -> io::Result<()> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    // Complete before it has its name: a half-written secret would be one forever.
    let unfinished = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    writeln!(file, "{}", hex::encode(bytes))?;
    fs::rename(&unfinished, path)
}

/// The environment of the process, with the upstream's address in it.
fn variables(upstream: SocketAddr) -> super::run::Variables {
    let url = format!("http://{upstream}");
    Arc::new(move |name| if name == "DEMO_UPSTREAM" { Some(url.clone()) } else { std::env::var(name).ok() })
}

/// The demonstration upstream, running.
struct Upstream {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Upstream {
    fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, UPSTREAM_PORT))
            .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let thread =
            std::thread::Builder::new().name("demo-upstream".into()).spawn(move || serve(listener, stopped))?;
        Ok(Self { address, stop, thread })
    }

    /// Ends it; what it says about its end interests nobody any more.
    fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

fn serve(listener: TcpListener, stopped: oneshot::Receiver<()>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { crate::demo::serve(tokio::net::TcpListener::from_std(listener)?, stopped).await })
}

/// What the lines are made of.
struct Facts {
    program: String,
    config: String,
    secrets: String,
    admin_token: String,
    edge: SocketAddr,
    admin: SocketAddr,
}

impl Facts {
    fn new(config: &Path, secrets: &Path, model: &Model) -> Self {
        let program = std::env::args().next().unwrap_or_else(|| "countersign".into());
        Self {
            program,
            config: config.display().to_string(),
            secrets: secrets.display().to_string(),
            admin_token: tidy(&model.admin.state_dir.join("admin.token")).display().to_string(),
            edge: model.listeners.first().map_or(SocketAddr::from(([127, 0, 0, 1], 8080)), |l| reachable(*l.address)),
            admin: reachable(*model.admin.address),
        }
    }
}

/// A listener on every address is asked on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    address
}

fn lines(facts: &Facts) -> String {
    let Facts { program, config, secrets, admin_token, edge, admin } = facts;
    format!(
        r#"
This is the demonstration. In another terminal, in this directory:

  TOKEN=$(cat "{secrets}/client.token")

A signed request; the answer shows the headers as the upstream saw them:
  curl -s "http://{edge}/a0/userlist?x=1" -H "authorization: Bearer $TOKEN"
Without the token it is refused with 401:
  curl -si http://{edge}/a0/userlist
A forged identity does not get through:
  curl -s http://{edge}/a0/userlist -H "authorization: Bearer $TOKEN" -H "X_Kms_User: root@example.com"
Another environment, chosen by a header:
  curl -s http://{edge}/a0/userlist -H "authorization: Bearer $TOKEN" -H "x-environment: dev"
Server-sent events, each as it comes (a WebSocket echo is at /stream/ws):
  curl -N "http://{edge}/stream/events?ms=500"
What would happen to a request, and why, sending nothing:
  {program} explain -c "{config}" --client laptop GET http://{edge}/a0/userlist
The configuration is live. Change the text of /hello in {config}, save, ask again:
  curl -s http://{edge}/hello
Status and metrics, on the admin listener:
  curl -s http://{admin}/api/v1/status -H "authorization: Bearer $(cat "{admin_token}")"
  curl -s http://{admin}/metrics

Ctrl-C stops it.

"#
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn secrets_are_private_long_enough_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let secrets = directory.path().join("state/demo");
        make_secrets(&secrets).unwrap();
        let first = fs::read_to_string(secrets.join("sign.token")).unwrap();
        assert_eq!(first.trim_end().len(), 64);
        assert_ne!(first, fs::read_to_string(secrets.join("client.token")).unwrap());
        assert_eq!((mode(&secrets), mode(&secrets.join("sign.token"))), (0o700, 0o600));
        make_secrets(&secrets).unwrap();
        assert_eq!(fs::read_to_string(secrets.join("sign.token")).unwrap(), first);
    }

    #[test]
    fn the_secrets_lie_where_the_configuration_looks_for_them() {
        assert!(CONFIGURATION.contains("file:../state/demo/client.token"));
        assert_eq!(secrets_of(Path::new("conf/countersign.yaml")), Path::new("state/demo"));
        assert_eq!(secrets_of(Path::new("/etc/countersign/c.yaml")), Path::new("/etc/state/demo"));
        assert_eq!(secrets_of(Path::new("c.yaml")), Path::new("../state/demo"));
        assert_eq!(secrets_of(Path::new("../c.yaml")), Path::new("../../state/demo"));
    }

    #[test]
    fn an_unpacked_configuration_keeps_its_edits() {
        let directory = tempfile::tempdir().unwrap();
        let path = unpack(directory.path().join("conf/countersign.yaml")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), CONFIGURATION);
        fs::write(&path, "edited").unwrap();
        unpack(path.clone()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "edited");
    }

    #[test]
    fn the_configuration_learns_where_the_upstream_is() {
        let variables = variables(SocketAddr::from(([127, 0, 0, 1], 1234)));
        assert_eq!(variables("DEMO_UPSTREAM").as_deref(), Some("http://127.0.0.1:1234"));
        assert_eq!(variables("PATH"), std::env::var("PATH").ok());
    }

    #[test]
    fn the_lines_name_the_addresses_and_files_in_use() {
        let lines = lines(&Facts {
            program: "./countersign".into(),
            config: "conf/countersign.yaml".into(),
            secrets: "state/demo".into(),
            admin_token: "state/admin.token".into(),
            edge: reachable(SocketAddr::from(([0, 0, 0, 0], 8000))),
            admin: SocketAddr::from(([127, 0, 0, 1], 9000)),
        });
        assert!(lines.contains(r#"curl -s "http://127.0.0.1:8000/a0/userlist?x=1""#), "{lines}");
        assert!(
            lines.contains(
                r#"http://127.0.0.1:9000/api/v1/status -H "authorization: Bearer $(cat "state/admin.token")""#
            )
        );
    }
}
