//! The control plane: the second listener, with health, metrics, status, reload, explain, tokens, and the dashboard.
//!
//! It runs on a thread and a runtime of its own, so that neither can hold the other up. A connection goes through
//! `serve` (bounded in number, time and silence), a request through `gate` (who may knock, under which name, from which
//! page), through `login` (with which token or password) or `session` (with which cookie), and only then to `api`.
//!
//! Invariants: nothing but `/livez`, `/readyz`, for `metrics.allow` `/metrics`, and what the log-in itself is made from is
//! answered without logging in (`everything_else_wants_the_token`); it never listens beyond loopback without TLS
//! (`it_never_listens_beyond_loopback_in_the_clear`).

mod answer;
mod api;
mod audit;
mod caller;
mod change;
pub mod client;
mod configuration;
mod edits;
mod entry;
mod environments;
mod form;
mod gate;
mod landing;
mod login;
mod origin;
mod pages;
mod preview;
mod samples;
mod serve;
mod session;
mod sign_tokens;
mod status;
pub mod token;
mod tokens;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::watch;

use crate::clock::UnixMillis;
use crate::credential::login::Logins;
use crate::credential::vault::Vault;
use crate::edit::Editor;
use crate::observe::Observer;
use crate::reload::Reloader;
use crate::users::Verifier;

use serve::Patience;
use token::AdminToken;

/// Where this module's lines in the process log come from.
const LOG: &str = "countersign::admin";

/// What the admin listener needs of the rest.
#[derive(Debug)]
pub struct Parts {
    /// The configuration in force.
    pub reloader: Arc<Reloader>,
    /// What is seen.
    pub observer: Arc<Observer>,
    /// Whoever has it may do everything.
    pub token: AdminToken,
    /// Who looks at the passwords of `admin.users_file`.
    pub verifier: Arc<Verifier>,
    /// The data listeners as they are.
    pub listeners: Vec<ListenerAddress>,
    /// When the process started.
    pub started_at: UnixMillis,
    /// How the hosts stand whose certificates are obtained; `None`: nobody obtains any.
    pub acme: Option<Arc<crate::acme::Status>>,
    /// The tokens in use.
    pub vault: Arc<Vault>,
    /// Logins under way.
    pub logins: Arc<Logins>,
}

/// A data listener, bound.
#[derive(Clone, Debug)]
pub struct ListenerAddress {
    /// Its name in the configuration.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether clients speak TLS.
    pub tls: bool,
}

/// Why there is no admin listener.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// It would be reachable by others, in clear text.
    #[error("{0} is not a loopback address: without TLS the admin listener serves this machine only")]
    NotLoopback(SocketAddr),
    /// The system refuses.
    #[error("cannot listen on {address}: {source}")]
    Io {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// What is spoken on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// HTTP in the clear, which never leaves the machine.
    Clear,
    /// TLS, with what the table in force has for the admin listener.
    Tls,
}

/// Takes the address, before anything is served.
///
/// # Errors
/// See [`BindError`].
pub fn bind(address: SocketAddr, wire: Wire) -> Result<TcpListener, BindError> {
    if wire == Wire::Clear && !address.ip().to_canonical().is_loopback() {
        return Err(BindError::NotLoopback(address));
    }
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|source| BindError::Io { address, source })
}

/// What every request sees.
#[derive(Debug)]
struct Shared {
    parts: Parts,
    /// Who changes the files of the configuration.
    editor: Editor,
    /// Its own address, for the Host check.
    address: SocketAddr,
    wire: Wire,
    counts: login::Counts,
    sessions: session::Sessions,
    patience: Patience,
    /// What the overview draws.
    samples: Arc<samples::Samples>,
    /// Logins that have begun in a browser.
    underway: pages::Underway,
    /// Changes of routes that were looked at in a browser.
    pending: pages::Pending,
    /// Places for those who follow the log.
    streams: Arc<tokio::sync::Semaphore>,
}

/// The running admin listener. It serves until this is dropped.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Running {
    /// Requests under way are finished, for a moment.
    fn drop(&mut self) {
        // Fails only when the thread is gone already.
        let _ = self.stop.send(true);
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            log::error!(target: LOG, "the admin listener had panicked");
        }
    }
}

/// Serves on a listener made by [`bind`], on a thread of its own.
///
/// # Errors
/// No thread or runtime can be started.
pub fn start(listener: TcpListener, wire: Wire, parts: Parts) -> io::Result<Running> {
    start_with(listener, wire, parts, Patience::default())
}

fn start_with(listener: TcpListener, wire: Wire, parts: Parts, patience: Patience) -> io::Result<Running> {
    let address = listener.local_addr()?;
    let (stop, stopped) = watch::channel(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().thread_name("admin-blocking").build()?;
    let shared = Arc::new(Shared {
        editor: Editor::new(Arc::clone(&parts.reloader)),
        parts,
        address,
        wire,
        counts: login::Counts::default(),
        sessions: session::Sessions::default(),
        patience,
        samples: Arc::default(),
        underway: pages::Underway::default(),
        pending: pages::Pending::default(),
        streams: pages::places(),
    });
    let serve = move || {
        runtime.spawn(samples::run(Arc::clone(&shared.samples), Arc::clone(&shared.parts.observer)));
        runtime.block_on(serve::run(listener, shared, stopped));
        // A reload that hangs on a file must not hold up the end of the process.
        runtime.shutdown_background();
    };
    let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(serve)?;
    Ok(Running { address, stop, thread: Some(thread) })
}

#[cfg(test)]
mod tests;
