//! The composition root: the only place that sees every module. It loads, binds, starts, waits for signals, and stops.
//!
//! Order matters: the configuration is judged before anything is bound (exit 78), every socket is bound before anything is
//! served (exit 1), and readiness comes last. On the way out it is the other way round.

pub mod banner;
pub mod process;
mod stop;

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::acme;
use crate::admin::token::{AdminToken, TokenError};
use crate::admin::{self, ListenerAddress, Parts};
use crate::clock;
use crate::config::render;
use crate::credential::login::Logins;
use crate::credential::store;
use crate::credential::vault::{self, Vault};
use crate::exit;
use crate::follow::Follower;
use crate::observe::metrics::CertificateEnd;
use crate::observe::{Observer, log as process_log, systemd};
use crate::private::line::LineError;
use crate::private::{self, DirectoryError};
use crate::proxy::{self, Engine, Listening, Resolver, Workers};
use crate::reload::watch::Watch;
use crate::reload::{self, Environment, Failure, Reloader, Trigger};
use crate::table::Table;
use crate::tls::{Challenges, Expiry};
use crate::users::Verifier;

use process::PidFile;
use stop::{Asked, Signals};

/// How long log lines may take to reach their file when the process ends.
const LAST_LINES: Duration = Duration::from_secs(2);

/// What to serve.
pub enum Source {
    /// A file, watched.
    File(PathBuf),
    /// A text that has no file; writes nothing.
    QuickStart {
        /// YAML.
        text: String,
        /// Whether there is an admin listener.
        admin: bool,
    },
}

impl Source {
    fn has_admin(&self) -> bool {
        match self {
            Self::File(_) => true,
            Self::QuickStart { admin, .. } => *admin,
        }
    }
}

/// Why the process could not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("{0}")]
    Bind(#[from] proxy::BindError),
    #[error("admin: {0}")]
    Admin(#[from] admin::BindError),
    #[error("admin: {0}")]
    Token(#[from] TokenError),
    #[error("admin.state_dir: {0}")]
    Cookies(LineError),
    #[error("{key}: {source}")]
    Directory { key: &'static str, source: DirectoryError },
    #[error("logging: {0}")]
    Logs(std::io::Error),
    #[error("the system has no thread, timer or signal handler left: {0}")]
    System(std::io::Error),
    #[error("tokens_dir: {0}")]
    Tokens(String),
    #[error("no trusted CA certificates can be read: {0} (install `ca-certificates`, or set SSL_CERT_FILE)")]
    Trust(String),
}

/// Serves until told to stop; returns the exit code.
pub fn run(source: Source, variables: Environment) -> u8 {
    let reloader = match load(&source, variables) {
        Ok(reloader) => reloader,
        Err(failure) => return refuse(&failure),
    };
    match serve(&source, reloader) {
        Ok(()) => exit::OK,
        Err(error) => {
            banner::say(&format!("countersign: can't start: {error}"));
            exit::FAILED
        }
    }
}

fn load(source: &Source, variables: Environment) -> Result<Arc<Reloader>, Box<Failure>> {
    match source {
        Source::File(path) => Reloader::start(path, variables),
        Source::QuickStart { text, .. } => Reloader::start_text("command line", text, &PathBuf::from("."), variables),
    }
}

/// Says everything that is wrong with the configuration.
fn refuse(failure: &Failure) -> u8 {
    let color = std::io::IsTerminal::is_terminal(&std::io::stderr());
    banner::say(&render::human(&failure.sources, &failure.diagnostics, color));
    let errors = failure.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
    banner::say(&format!("countersign: not started: {errors} error(s) in the configuration"));
    exit::CONFIG
}

/// Everything that runs, in the order in which it is stopped.
struct Running {
    listening: Listening,
    admin: Option<admin::Running>,
    _watch: Option<Watch>,
    _acme: Option<acme::Running>,
    _follower: Follower,
    workers: Arc<Workers>,
    vault: Arc<Vault>,
    observer: Arc<Observer>,
    _pid: Option<PidFile>,
}

fn serve(source: &Source, reloader: Arc<Reloader>) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::System)?;
    let mut signals = {
        let _entered = runtime.enter();
        Signals::listen().map_err(StartError::System)?
    };
    let table = reloader.current();
    let running = start(source, &reloader, &table)?;
    systemd::ready(&format!("generation {}, {} routes", table.generation, table.routes.len()));
    let patience = runtime.block_on(follow(&mut signals, &reloader, &running.observer));
    finish(runtime, running, signals, patience.then_some(table.server.drain_timeout));
    Ok(())
}

fn start(source: &Source, reloader: &Arc<Reloader>, table: &Table) -> Result<Running, StartError> {
    let log = process_log::install().map_err(StartError::Logs)?;
    let observer = Observer::new(&reload::logging::settings(&table.logging), Some(log)).map_err(StartError::Logs)?;
    let observer = Arc::new(observer);
    for note in process::prepare(table.server.max_connections) {
        log::warn!("{note}");
    }
    let bound = proxy::bind(&table.listeners)?;
    let wire = if table.admin.tls.is_some() { admin::Wire::Tls } else { admin::Wire::Clear };
    let admin = if source.has_admin() { Some(admin::bind(table.admin.address.value, wire)?) } else { None };
    let token = admin.as_ref().map(|_| token(source, table)).transpose()?;
    cookies(source, table)?;
    let pid = writable(source, table)?;
    reloader.observe(Arc::clone(&observer));
    let vault = vault(source, reloader, &observer)?;
    let challenges = Arc::<Challenges>::default();
    let acme = acme(source, reloader, &observer, &challenges);
    let workers = Arc::new(Workers::start(threads(table)).map_err(StartError::System)?);
    let verifier = Verifier::start(threads(table).div_ceil(2)).map_err(StartError::System)?;
    let engine = engine(reloader, &observer, &verifier, table, &challenges, &vault)?;
    certificates(reloader, &observer);
    let addresses: Vec<ListenerAddress> = bound.iter().map(address_of).collect();
    let admin_address = admin.as_ref().and_then(|admin| admin.local_addr().ok());
    banner::announce(&addresses, admin_address, table);
    let started_at = clock::unix_millis();
    let listening = Listening::start(bound, &engine, &workers, table.server.max_connections);
    proxy::check_upstreams(&engine, workers.first());
    observer.live.ready.store(true, Ordering::Release);
    let admin = match admin.zip(token) {
        Some((listener, token)) => {
            let (reloader, observer) = (Arc::clone(reloader), Arc::clone(&observer));
            let acme = acme.as_ref().map(acme::Prepared::status);
            let logins = logins(source, table, &vault, admin_address).map_err(StartError::System)?;
            let vault = Arc::clone(&vault);
            let parts =
                Parts { reloader, observer, token, verifier, listeners: addresses, started_at, acme, vault, logins };
            Some(admin::start(listener, wire, parts).map_err(StartError::System)?)
        }
        None => None,
    };
    let watch = match source {
        Source::File(_) => Some(Watch::start(Arc::clone(reloader)).map_err(StartError::System)?),
        Source::QuickStart { .. } => None,
    };
    let acme = acme.map(acme::Prepared::start).transpose().map_err(StartError::System)?;
    let follower = follower(reloader).map_err(StartError::System)?;
    Ok(Running {
        listening,
        admin,
        _watch: watch,
        _acme: acme,
        _follower: follower,
        workers,
        vault,
        observer,
        _pid: pid,
    })
}

/// Certificates that were obtained are served before anything listens. A quick start, which writes nowhere, obtains none.
fn acme(
    source: &Source,
    reloader: &Arc<Reloader>,
    observer: &Arc<Observer>,
    challenges: &Arc<Challenges>,
) -> Option<acme::Prepared> {
    if matches!(source, Source::QuickStart { .. }) {
        return None;
    }
    let prepared = acme::prepare(acme::Parts {
        tables: reloader.tables(),
        certificates: Arc::clone(&reloader.current().tls.certificates),
        challenges: Arc::clone(challenges),
        observer: Arc::clone(observer),
    });
    let changed = prepared.changed();
    reloader.on_publish(move || changed.notify_one());
    Some(prepared)
}

/// Logins under way: kept beside the admin token, or, by a quick start, nowhere.
fn logins(
    source: &Source,
    table: &Table,
    vault: &Arc<Vault>,
    admin: Option<SocketAddr>,
) -> std::io::Result<Arc<Logins>> {
    let state_dir = match source {
        Source::File(_) => Some(table.admin.state_dir.clone()),
        Source::QuickStart { .. } => None,
    };
    Logins::open(Arc::clone(vault), state_dir, admin.map_or(0, |admin| admin.port())).map(Arc::new)
}

fn address_of(bound: &proxy::Bound) -> ListenerAddress {
    ListenerAddress { name: bound.name().to_owned(), address: bound.address, tls: bound.is_tls() }
}

/// The metrics ask the table in force when its certificates end.
fn certificates(reloader: &Arc<Reloader>, observer: &Observer) {
    let tables = reloader.tables();
    observer.metrics.certificates(move || {
        let ends = tables.load().tls.expiries().into_iter();
        ends.map(|Expiry { name, not_after, broken }| CertificateEnd { name, not_after, broken }).collect()
    });
}

/// Follows the files that the table in force is made from and that are live without a reload.
fn follower(reloader: &Arc<Reloader>) -> std::io::Result<Follower> {
    let tables = reloader.tables();
    let follower = Follower::start(Arc::new(move || tables.load().followed()))?;
    let handle = follower.handle();
    reloader.on_publish(move || handle.poke());
    Ok(follower)
}

/// The tokens in use, told of each table what it says about them. A quick start writes none down.
fn vault(source: &Source, reloader: &Arc<Reloader>, observer: &Arc<Observer>) -> Result<Arc<Vault>, StartError> {
    let table = reloader.current();
    let store = match source {
        Source::QuickStart { .. } => None,
        Source::File(_) => Some(store::Options {
            directory: table.tokens_dir.clone(),
            encryption_key: table.tokens.encryption_key.as_ref().map(|key| key.value.clone()),
            allow_network_filesystem: table.tokens.allow_network_filesystem,
        }),
    };
    let vault = Vault::start(vault::Parts { store, observer: Arc::clone(observer) }).map_err(StartError::Tokens)?;
    vault.configure(table.token_settings());
    let (told, tables) = (Arc::clone(&vault), reloader.tables());
    reloader.on_publish(move || told.configure(tables.load().token_settings()));
    Ok(vault)
}

/// The admin listener's token: from the state directory, or, where nothing may be written, one for this run.
fn token(source: &Source, table: &Table) -> Result<AdminToken, TokenError> {
    match source {
        Source::File(_) => AdminToken::open(&table.admin.state_dir),
        Source::QuickStart { .. } => {
            let token = AdminToken::fresh()?;
            banner::say(&format!("  admin token for this run: {}", token.expose()));
            Ok(token)
        }
    }
}

/// What cookies are sealed under: kept beside the admin token, or, by a quick start, nowhere.
fn cookies(source: &Source, table: &Table) -> Result<(), StartError> {
    let opened = match source {
        Source::File(_) => table.cookies.open(&table.admin.state_dir),
        Source::QuickStart { .. } => table.cookies.make(),
    };
    opened.map_err(StartError::Cookies)
}

/// The places that a file's configuration writes to; a quick start writes nowhere.
fn writable(source: &Source, table: &Table) -> Result<Option<PidFile>, StartError> {
    if matches!(source, Source::QuickStart { .. }) {
        return Ok(None);
    }
    private::directory(&table.tokens_dir).map_err(|source| StartError::Directory { key: "tokens_dir", source })?;
    PidFile::write(table.server.runtime_dir.as_deref())
        .map_err(|source| StartError::Directory { key: "server.runtime_dir", source })
}

/// Pingora reads the system's trust store when its connector is made, and panics without one.
fn engine(
    reloader: &Arc<Reloader>,
    observer: &Arc<Observer>,
    verifier: &Arc<Verifier>,
    table: &Table,
    challenges: &Arc<Challenges>,
    vault: &Arc<Vault>,
) -> Result<Arc<Engine>, StartError> {
    let made = catch_unwind(AssertUnwindSafe(|| {
        Engine::new(proxy::Parts {
            tables: reloader.tables(),
            observer: Arc::clone(observer),
            resolver: Resolver::new(&table.server),
            verifier: Arc::clone(verifier),
            challenges: Arc::clone(challenges),
            vault: Arc::clone(vault),
            workers: threads(table),
        })
    }));
    made.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        StartError::Trust(text.unwrap_or("unknown").to_owned())
    })
}

/// Worker threads of the data plane.
fn threads(table: &Table) -> usize {
    table.server.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
}

/// Does what signals ask for, until one asks for the end. Returns whether requests may finish first.
async fn follow(signals: &mut Signals, reloader: &Arc<Reloader>, observer: &Arc<Observer>) -> bool {
    loop {
        match signals.next().await {
            Asked::Exit => return false,
            Asked::Drain => return true,
            Asked::ReopenLogs => observer.reopen(),
            Asked::Reload => {
                let reloader = Arc::clone(reloader);
                drop(tokio::task::spawn_blocking(move || reloader.reload(Trigger::Signal)));
            }
        }
    }
}

fn finish(runtime: tokio::runtime::Runtime, running: Running, mut signals: Signals, patience: Option<Duration>) {
    let Running { listening, admin, workers, vault, observer, .. } = running;
    observer.live.draining.store(true, Ordering::Release);
    systemd::stopping("draining");
    let in_flight = observer.live.in_flight.load(Ordering::Acquire);
    log::info!("stopping: {in_flight} request(s) in flight");
    runtime.block_on(async {
        match patience {
            Some(patience) => {
                let is_patient = stop::drain(&listening, &observer.live, &mut signals, patience).await;
                if is_patient {
                    stop::last_calls(&vault, &mut signals).await;
                }
            }
            None => stop::cut(&listening, &observer.live).await,
        }
    });
    drop(admin);
    workers.stop();
    log::info!("stopped");
    observer.flush(LAST_LINES);
    runtime.shutdown_timeout(Duration::from_millis(100));
}
