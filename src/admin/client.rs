//! The other side: how the commands that ask a running process find it and talk to it.
//!
//! The configuration says where. It is often the very file that is broken when somebody asks, or needs variables that
//! only the service has; then the `admin` section alone is read, and failing that, the defaults hold.
//! The client speaks just enough HTTP/1.1 for this one server (`wire`): in clear text, which never leaves the machine, or over TLS
//! with whoever shows the certificate that the configuration names (`trust`).

mod trust;
mod wire;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use serde_yaml::{Mapping, Value};

use crate::config::{self, Env, Loading, Sources};
use crate::diagnostic::Diagnostic;
use crate::table::Admin;

use super::token::AdminToken;

pub use trust::Trust;

/// What the rest of a configuration may be like while only its `admin` section is of interest.
const LEAST: &str = "listeners: { http: { address: \"127.0.0.1:1\" } }\n\
    projects: { p: { environments: { production: { routes: [{ prefix: /, respond: { status: 200 } }] } } } }\n";

/// A running process, as a configuration describes it.
#[derive(Debug)]
pub struct Target {
    /// Its admin listener.
    pub address: SocketAddr,
    /// Whom to believe there; `None`: it speaks in the clear.
    pub trust: Option<Trust>,
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

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'q> {
    /// GET, POST, DELETE.
    pub method: &'q str,
    /// With its query.
    pub path: &'q str,
    /// JSON; may be empty.
    pub body: &'q [u8],
}

impl Target {
    /// Reads where the process is that runs on the configuration at `path`.
    pub fn find(path: &Path, env: Env<'_>) -> Self {
        let Loading { sources, diagnostics, model, .. } = config::load(path, env);
        let admin = model.as_ref().map(|model| model.admin.clone());
        let admin = admin.or_else(|| section_alone(path, &sources, env)).or_else(defaults);
        let trust = admin.as_ref().and_then(|admin| Trust::of(admin, model.as_ref()));
        let (address, state_dir) = admin.map_or_else(
            || (SocketAddr::from(([127, 0, 0, 1], 9090)), "state".into()),
            |admin| (near(admin.address.value), admin.state_dir),
        );
        Self { address, trust, state_dir, diagnostics, sources }
    }

    /// One call without a body. `token`: for those that need it.
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
        self.ask(Question { method, path, body: b"" }, token, patience)
    }

    /// One call.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn ask(
        &self,
        question: Question<'_>,
        token: Option<&AdminToken>,
        patience: Duration,
    ) -> Result<Answer, CallError> {
        let Question { method, path, body } = question;
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        if let Some(token) = token {
            request.push_str(&format!("authorization: Bearer {}\r\n", token.expose()));
        }
        if !body.is_empty() {
            request.push_str("content-type: application/json\r\n");
        }
        request.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        let mut request = zeroize::Zeroizing::new(request.into_bytes());
        request.extend_from_slice(body);
        let bytes = wire::exchange(self.address, self.trust.as_ref(), &request, patience)
            .map_err(|source| CallError::Io { address: self.address, source: self.advised(source) })?;
        wire::parse(&bytes).ok_or(CallError::Malformed(self.address))
    }

    /// A refused handshake says little of its reason.
    fn advised(&self, error: io::Error) -> io::Error {
        match self.trust.as_ref().and_then(Trust::advice) {
            Some(advice) if error.kind() != io::ErrorKind::ConnectionRefused => {
                io::Error::new(error.kind(), format!("{error} ({advice})"))
            }
            _ => error,
        }
    }
}

/// A listener on every address is reached on this machine's own.
fn near(address: SocketAddr) -> SocketAddr {
    let own = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    SocketAddr::new(own, address.port())
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
    fn a_listener_on_every_address_is_reached_on_this_machine() {
        let section = "tls: { certificates: [{ cert: a.crt, key: a.key }] }";
        let target = find(&format!("{LEAST}admin: {{ address: \"0.0.0.0:7002\", {section} }}\n"));
        assert!(target.trust.is_some());
        assert_eq!(target.address, "127.0.0.1:7002".parse().unwrap());
        assert_eq!(near("[::]:1".parse().unwrap()), "[::1]:1".parse().unwrap());
    }

    #[test]
    fn tls_is_not_forgotten_where_the_rest_is_broken() {
        let section = "tls: { certificates: [{ cert: a.crt, key: a.key }] }";
        let target = find(&format!("listeners: 1\nadmin: {{ address: \"127.0.0.1:7003\", {section} }}\n"));
        assert_eq!((target.address.port(), target.trust.is_some()), (7003, true));
    }
}
