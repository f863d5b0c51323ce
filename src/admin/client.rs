//! The other side: how the commands that ask a running process find it and talk to it.
//!
//! The configuration says where. It is often the very file that is broken when somebody asks, or needs variables that
//! only the service has; then the `admin` section alone is read, and failing that, the defaults hold.
//! The client speaks just enough HTTP/1.1 for this one server, in clear text, as that never leaves the machine.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_yaml::{Mapping, Value};

use crate::config::{self, Env, Loading, Sources};
use crate::diagnostic::Diagnostic;
use crate::table::Admin;

use super::token::AdminToken;

/// Of an answer.
const LONGEST: u64 = 64 * 1024 * 1024;

/// What the rest of a configuration may be like while only its `admin` section is of interest.
const LEAST: &str = "listeners: { http: { address: \"127.0.0.1:1\" } }\n\
    projects: { p: { environments: { production: { routes: [{ prefix: /, respond: { status: 200 } }] } } } }\n";

/// A running process, as a configuration describes it.
#[derive(Debug)]
pub struct Target {
    /// Its admin listener.
    pub address: SocketAddr,
    /// Where its token lies.
    pub state_dir: std::path::PathBuf,
    /// What is wrong with the configuration, as far as this process can tell.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts that they point into.
    pub sources: Sources,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens, or nobody answers.
    #[error("no answer from {address}: {source}")]
    Io {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Somebody else's answer.
    #[error("{0} does not answer like countersign's admin listener")]
    Malformed(SocketAddr),
}

impl CallError {
    /// Whether nobody listens there (yet).
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused)
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

impl Target {
    /// Reads where the process is that runs on the configuration at `path`.
    pub fn find(path: &Path, env: Env<'_>) -> Self {
        let Loading { sources, diagnostics, model, .. } = config::load(path, env);
        let admin = model.map(|model| model.admin).or_else(|| section_alone(path, &sources, env)).or_else(defaults);
        let (address, state_dir) = admin.map_or_else(
            || (SocketAddr::from(([127, 0, 0, 1], 9090)), "state".into()),
            |admin| (admin.address.value, admin.state_dir),
        );
        Self { address, state_dir, diagnostics, sources }
    }

    /// One call. `token`: for those that need it.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call(
        &self,
        method: &str,
        path: &str,
        token: Option<&AdminToken>,
        patience: Duration,
    ) -> Result<Answer, CallError> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        if let Some(token) = token {
            head.push_str(&format!("authorization: Bearer {}\r\n", token.expose()));
        }
        head.push_str("content-length: 0\r\n\r\n");
        let bytes = exchange(self.address, head.as_bytes(), patience)
            .map_err(|source| CallError::Io { address: self.address, source })?;
        parse(&bytes).ok_or(CallError::Malformed(self.address))
    }
}

/// Decodes the `admin` section of whichever file has one, as if the rest were in order.
fn section_alone(path: &Path, sources: &Sources, env: Env<'_>) -> Option<Admin> {
    let root = path.parent().unwrap_or(Path::new(""));
    sources.files.iter().enumerate().find_map(|(index, file)| {
        // The first file is the root, named from here; the others are named from its directory.
        let dir = if index == 0 { root.to_owned() } else { root.join(file.path.parent().unwrap_or(Path::new(""))) };
        let section = serde_yaml::from_str::<Mapping>(&file.text).ok()?.remove("admin")?;
        admin_of(&section, &dir, env)
    })
}

fn admin_of(section: &Value, dir: &Path, env: Env<'_>) -> Option<Admin> {
    let only = Mapping::from_iter([(Value::from("admin"), section.clone())]);
    let text = format!("{LEAST}{}", serde_yaml::to_string(&only).ok()?);
    config::load_text("admin", &text, dir, env).model.map(|model| model.admin)
}

fn defaults() -> Option<Admin> {
    config::load_text("defaults", LEAST, Path::new(""), &|_| None).model.map(|model| model.admin)
}

/// Sends, and reads until the other side closes.
fn exchange(address: SocketAddr, request: &[u8], patience: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + patience;
    let left = || match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(left),
    };
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(request)?;
    let (mut answer, mut part) = (Vec::new(), [0; 16 * 1024]);
    loop {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut part) {
            Ok(0) => return Ok(answer),
            Ok(count) => answer.extend_from_slice(part.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        }
        if answer.len() as u64 > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too long"));
        }
    }
}

/// Status and body. The length must be as announced: an answer that was cut short is none.
fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(bytes.get(..end)?).ok()?;
    let body = bytes.get(end + 4..)?;
    let (line, fields) = head.split_once("\r\n").unwrap_or((head, ""));
    let status = line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let length = fields.lines().find_map(|field| {
        let (name, value) = field.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    })?;
    (body.len() == length).then(|| Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str) -> Target {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edge.yaml");
        std::fs::write(&path, text).unwrap();
        let mut target = Target::find(&path, &|name| (name == "ADMIN").then(|| "127.0.0.1:7777".to_owned()));
        target.state_dir = target.state_dir.strip_prefix(dir.path()).map_or(target.state_dir.clone(), Into::into);
        target
    }

    #[test]
    fn a_good_configuration_says_where() {
        let target = find(&format!("{LEAST}admin: {{ address: \"127.0.0.1:7001\", state_dir: var }}\n"));
        assert!(target.diagnostics.is_empty(), "{:?}", target.diagnostics);
        assert_eq!((target.address.port(), target.state_dir.to_str()), (7001, Some("var")));
    }

    #[test]
    fn a_broken_one_still_does() {
        let text = "listeners: { http: { adress: \"x\" } }\nadmin: { address: \"${ADMIN}\", state_dir: var }\n";
        let target = find(text);
        assert!(!target.diagnostics.is_empty());
        assert_eq!((target.address.port(), target.state_dir.to_str()), (7777, Some("var")));
    }

    #[test]
    fn without_a_word_the_defaults_hold() {
        assert_eq!(find(LEAST).address, find("a: [").address);
    }

    #[test]
    fn an_answer_is_taken_whole_or_not_at_all() {
        let whole = parse(b"HTTP/1.1 422 X\r\nContent-Length: 2\r\n\r\n{}").unwrap();
        assert_eq!((whole.status, whole.body.as_slice()), (422, b"{}".as_slice()));
        for text in ["", "SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}", "HTTP/1.1 200 OK\r\n\r\n"] {
            assert!(parse(text.as_bytes()).is_none(), "{text:?}");
        }
    }
}
