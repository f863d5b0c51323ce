//! The real binary as a process: its configuration in a temporary directory, its ports, its outputs.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::client::{Request, Response, Wire};
use super::metrics::Metrics;
use super::origin::Origin;
use super::process::{Finished, Process, run};
use super::tls::{Authority, TlsClient};
use super::wait::{PATIENCE, eventually, eventually_within};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_countersign");

/// What an edge is started with. The text holds the sections that a test is about; the rest (listeners, admin, places
/// for files) is put in front of it. `{origin}` and other placeholders are filled in.
#[derive(Clone, Default)]
pub struct Config {
    text: String,
    values: BTreeMap<String, String>,
    server: String,
    listener: String,
    logging: String,
    access: String,
    admin: String,
    tokens_dir: Option<String>,
    environment: Vec<(String, String)>,
    files: Vec<(String, String)>,
    secured: Option<Secured>,
}

/// A second listener, with TLS.
#[derive(Clone)]
struct Secured {
    keys: String,
    client: TlsClient,
}

/// A running edge.
pub struct Edge {
    pub process: Process,
    pub config: Config,
    pub data: SocketAddr,
    /// Of the second listener, if there is one.
    pub secured: Option<SocketAddr>,
    pub admin: SocketAddr,
    directory: tempfile::TempDir,
    text: Mutex<String>,
}

impl Config {
    /// Those sections.
    pub fn new(text: &str) -> Self {
        Self { text: unindent(text), access: "format: json, query: full".into(), ..Self::default() }
    }

    /// One project `demo` with an open upstream policy, whose production environment has these routes.
    pub fn routes(routes: &str) -> Self {
        Self::new(&project("demo", routes))
    }

    /// Where `{origin}` leads.
    pub fn origin(self, origin: &Origin) -> Self {
        self.value("origin", &origin.authority())
    }

    /// Fills in a placeholder.
    pub fn value(mut self, name: &str, value: &str) -> Self {
        self.values.insert(name.into(), value.into());
        self
    }

    /// Further keys of `server`, as a flow mapping's inside.
    pub fn server(mut self, keys: &str) -> Self {
        self.server = format!(", {keys}");
        self
    }

    /// Further keys of the listener.
    pub fn listener(mut self, keys: &str) -> Self {
        self.listener = format!(", {keys}");
        self
    }

    /// Further keys of `logging`.
    pub fn logging(mut self, keys: &str) -> Self {
        self.logging = format!(", {keys}");
        self
    }

    /// The keys of `logging.access`, beside its file.
    pub fn access(mut self, keys: &str) -> Self {
        self.access = keys.into();
        self
    }

    /// Further keys of `admin`.
    pub fn admin(mut self, keys: &str) -> Self {
        self.admin = format!(", {keys}");
        self
    }

    /// Where its token files are, if not beside its configuration.
    pub fn tokens_dir(mut self, directory: &Path) -> Self {
        self.tokens_dir = Some(directory.display().to_string());
        self
    }

    /// The same, if it was said.
    pub fn tokens_at(&self) -> Option<PathBuf> {
        self.tokens_dir.as_deref().map(PathBuf::from)
    }

    /// A variable of the process's environment.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// A second listener `secured` with TLS: a certificate for `a.test` and `demo.test`, and a client that believes it.
    pub fn secured(self) -> Self {
        let authority = Authority::default();
        let pem = authority.server(&["a.test", "demo.test"]);
        let keys = "http2: false, tls: { certificates: [{ cert: secured.crt, key: secured.key }] }";
        let config = self.file("secured.crt", &pem.cert).file("secured.key", &pem.key);
        config.secured_by(keys, TlsClient::trusting(&authority))
    }

    /// A second listener `secured` with these keys, for this client.
    pub fn secured_by(mut self, keys: &str, client: TlsClient) -> Self {
        self.secured = Some(Secured { keys: keys.into(), client });
        self
    }

    /// A file beside the configuration.
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.into(), text.into()));
        self
    }

    /// A file of [`Self::file`] that the configuration includes.
    pub fn including(mut self, name: &str) -> Self {
        self.text = format!("include: [{name}]\n{}", self.text);
        self
    }

    /// A token file that somebody has put into `tokens_dir` by hand.
    pub fn token(self, id: &str, token: &Value) -> Self {
        self.file(&format!("{TOKENS}{id}.json"), &token.to_string())
    }

    /// Starts the binary and waits until it is ready.
    pub fn start(self) -> Edge {
        loop {
            let edge = self.clone().launch();
            if edge.settles() {
                return edge;
            }
        }
    }

    /// Starts the binary and does not wait.
    pub fn launch(self) -> Edge {
        let (data, admin) = (free_address(), free_address());
        self.launch_at(data, admin)
    }

    /// Starts the binary on these addresses and does not wait.
    pub fn launch_at(mut self, data: SocketAddr, admin: SocketAddr) -> Edge {
        let secured = self.secured.is_some().then(free_address);
        if let Some(secured) = secured {
            self = self.value("secured", &secured.to_string());
        }
        let directory = tempfile::Builder::new().prefix("countersign-it-").tempdir().expect("a temporary directory");
        let text = self.render(directory.path(), data, admin);
        let file = directory.path().join("countersign.yaml");
        std::fs::write(&file, &text).expect("write the configuration");
        for (name, text) in &self.files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a directory")).expect("make its directory");
            std::fs::write(&path, text).expect("write a file beside it");
            if name.starts_with(TOKENS) {
                close_to_others(&path, 0o600);
                close_to_others(path.parent().expect("a directory"), 0o700);
            }
        }
        let process = Process::spawn(&mut self.command(&file));
        Edge { process, config: self, data, secured, admin, directory, text: Mutex::new(text) }
    }

    fn command(&self, file: &Path) -> Command {
        let mut command = Command::new(BINARY);
        command.arg("run").arg("-c").arg(file).env_remove("LOG_LEVEL").env_remove("RUST_LOG");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The whole file.
    pub fn render(&self, directory: &Path, data: SocketAddr, admin: SocketAddr) -> String {
        let Self { server, listener, logging, access, admin: further, .. } = self;
        let secured =
            self.secured.as_ref().map(|it| format!("  secured: {{ address: \"{{secured}}\", {} }}\n", it.keys));
        let secured = secured.unwrap_or_default();
        let tokens = self.tokens_dir.as_deref().unwrap_or("{dir}/tokens");
        let preamble = format!(
            "server: {{ threads: 2, runtime_dir: \"{{dir}}/run\"{server} }}\n\
             logging: {{ access: {{ {access}, file: \"{{dir}}/access.log\" }}{logging} }}\n\
             listeners:\n  main: {{ address: \"{data}\"{listener} }}\n{secured}\
             admin: {{ address: \"{admin}\", state_dir: \"{{dir}}/state\"{further} }}\n\
             tokens_dir: \"{tokens}\"\n"
        );
        let mut text = preamble + &self.text;
        text = text.replace("{dir}", &directory.display().to_string()).replace("{data}", &data.to_string());
        for (name, value) in &self.values {
            text = text.replace(&format!("{{{name}}}"), value);
        }
        text
    }
}

/// Where token files are, beside the configuration.
const TOKENS: &str = "tokens/";

fn close_to_others(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("change the mode");
}

/// One project's YAML, with an open upstream policy and these routes in production.
pub fn project(name: &str, routes: &str) -> String {
    let mut text = format!(
        "projects:\n  {name}:\n    upstream_policy: open\n    app_id: \"1001\"\n    environments:\n      \
         production:\n        routes:\n"
    );
    for line in unindent(routes).lines() {
        text.push_str(&format!("          {line}\n"));
    }
    text
}

impl Edge {
    /// An edge of the project `demo` with these routes to that origin.
    pub fn routes(routes: &str, origin: &Origin) -> Self {
        Config::routes(routes).origin(origin).start()
    }

    /// Starts the binary again, after it has ended, on what it left behind, and waits until it is ready.
    pub fn relaunch(&mut self) {
        self.process = Process::spawn(&mut self.config.command(&self.file()));
        self.wait_ready();
    }

    /// Waits until it is ready; false when somebody else was faster to bind its port.
    fn settles(&self) -> bool {
        eventually("the edge is ready", || match self.process.ended() {
            Some(_) if self.output().contains("in use") => Some(false),
            Some(status) => panic!("the edge ended with {status}:\n{}", self.output()),
            None => self.ready().then_some(true),
        })
    }

    /// Waits until `/readyz` says so.
    pub fn wait_ready(&self) {
        assert!(self.settles(), "{}", self.output());
    }

    /// Whether `/readyz` says so.
    pub fn ready(&self) -> bool {
        self.try_admin("GET", "/readyz").is_some_and(|response| response.status == 200)
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("http://{}", self.data)
    }

    /// The directory of its configuration and files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its configuration file.
    pub fn file(&self) -> PathBuf {
        self.directory().join("countersign.yaml")
    }

    /// A new connection to the data listener.
    pub fn connect(&self) -> Wire {
        Wire::connect(self.data)
    }

    /// A new connection to the second listener, for `a.test`.
    pub fn connect_secured(&self) -> Wire {
        self.try_secured("a.test").expect("a TLS connection to the edge")
    }

    /// A new connection to the second listener, for that name, or why there is none.
    pub fn try_secured(&self, name: &str) -> std::io::Result<Wire> {
        let client = &self.config.secured.as_ref().expect("a second listener").client;
        client.connect(self.secured.expect("a second listener"), name)
    }

    /// One polite request on a connection of its own; the response must be whole.
    pub fn call(&self, request: &Request) -> Response {
        let mut wire = self.connect();
        wire.send(request.bytes());
        let response = wire.response_to(&request.method);
        response.expect_clean();
        response
    }

    /// `GET target` of the host `demo.test`.
    pub fn get(&self, target: &str) -> Response {
        self.call(&Request::get(target))
    }

    /// The file's text as it is now.
    pub fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// The whole file for other sections, with this edge's ports and places.
    pub fn render(&self, text: &str) -> String {
        let config = Config { text: unindent(text), ..self.config.clone() };
        config.render(self.directory(), self.data, self.admin)
    }

    /// Overwrites the file in place with other sections.
    pub fn rewrite(&self, text: &str) {
        self.write(&self.render(text));
    }

    /// Overwrites the file in place with exactly this.
    pub fn write(&self, whole: &str) {
        std::fs::write(self.file(), whole).expect("write the configuration");
        *self.text.lock().unwrap() = whole.to_owned();
    }

    /// The running table's number.
    pub fn generation(&self) -> u64 {
        self.status()["generation"].as_u64().expect("a generation in the status")
    }

    /// Waits until that table (or a later one) is in force.
    pub fn wait_generation(&self, generation: u64) {
        eventually(&format!("generation {generation}"), || (self.generation() >= generation).then_some(()));
    }

    /// `GET /api/v1/status`.
    pub fn status(&self) -> Value {
        let response = self.admin("GET", "/api/v1/status");
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()
    }

    /// `POST /api/v1/reload`: its status and JSON.
    pub fn reload(&self) -> (u16, Value) {
        let response = self.admin("POST", "/api/v1/reload");
        (response.status, response.json())
    }

    /// Writes these sections, reloads by the API, and fails unless they were applied.
    pub fn apply(&self, text: &str) -> Value {
        self.rewrite(text);
        let (status, verdict) = self.reload();
        assert_eq!(status, 200, "{verdict}");
        verdict
    }

    /// The administrator's token.
    pub fn token(&self) -> String {
        let path = self.directory().join("state/admin.token");
        std::fs::read_to_string(&path).expect("state/admin.token").trim().to_owned()
    }

    /// A request to the admin listener, with the token.
    pub fn admin(&self, method: &str, target: &str) -> Response {
        self.admin_call(&self.admin_request(method, target))
    }

    /// A request for the admin listener, with its host and token.
    pub fn admin_request(&self, method: &str, target: &str) -> Request {
        let request = Request::new(method, target).host(&self.admin.to_string());
        if target.starts_with("/api") { request.bearer(&self.token()) } else { request }
    }

    /// That very request to the admin listener.
    pub fn admin_call(&self, request: &Request) -> Response {
        let mut wire = Wire::connect(self.admin);
        wire.send(request.bytes());
        wire.response_to(&request.method)
    }

    /// The same, if the listener answers at all.
    pub fn try_admin(&self, method: &str, target: &str) -> Option<Response> {
        let mut wire = Wire::try_connect(self.admin).ok()?;
        wire.send(self.admin_request(method, target).bytes());
        wire.try_response_to(method).ok()
    }

    /// `GET /metrics`.
    pub fn metrics(&self) -> Metrics {
        let response = self.admin("GET", "/metrics");
        assert_eq!(response.status, 200, "{}", response.text());
        Metrics::parse(&response.text())
    }

    /// The access log's lines so far.
    pub fn access_lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.directory().join("access.log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The access log's records so far.
    pub fn access_log(&self) -> Vec<Value> {
        let lines = self.access_lines();
        lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for the access-log record of a request for that path.
    pub fn logged(&self, path: &str) -> Value {
        eventually(&format!("an access-log record of {path}"), || {
            self.access_log().into_iter().find(|record| record["path"] == path)
        })
    }

    /// Everything that the process wrote to its outputs.
    pub fn output(&self) -> String {
        format!("{}{}", self.process.stdout(), self.process.stderr())
    }

    /// Waits until the process's log contains that text.
    pub fn wait_log(&self, text: &str) {
        eventually(&format!("{text:?} in the log"), || self.output().contains(text).then_some(()));
    }

    /// Stops it by TERM; fails unless it exits cleanly within the patience.
    pub fn stop(&self) {
        self.process.signal("TERM");
        let (status, _) = self.process.wait(PATIENCE);
        assert_eq!(status.code(), Some(0), "{}", self.output());
    }

    /// Runs another command of the binary against this edge's file.
    pub fn command(&self, before: &[&str], after: &[&str]) -> Finished {
        let mut command = Command::new(BINARY);
        command.args(before).arg("-c").arg(self.file()).args(after);
        command.envs(self.config.environment.iter().map(|(name, value)| (name, value)));
        run(&mut command)
    }

    /// Waits until nothing is in flight.
    pub fn wait_idle(&self) {
        eventually_within(PATIENCE, "nothing in flight", || (self.status()["in_flight"] == 0).then_some(()));
    }

    fn report(&self) {
        println!("--- configuration\n{}", self.text());
        println!("--- access log\n{}", self.access_lines().join("\n"));
        println!("--- output\n{}", self.output());
    }
}

/// Prints what a failing test wants to know; held by a test that shares an edge.
pub struct Reported<'a>(pub &'a Edge);

impl Drop for Reported<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.report();
        }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.report();
        }
    }
}

/// Runs the binary without an edge.
pub fn countersign(arguments: &[&str]) -> Finished {
    run(Command::new(BINARY).args(arguments))
}

/// An address of 127.0.0.1 that nothing listens on, below the range that outgoing connections take theirs from.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Neighbouring processes begin far from each other.
    let base = u16::try_from(std::process::id().wrapping_mul(7_919) % 20_000).unwrap_or(0);
    for _ in 0..20_000 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 12_000 + (base.wrapping_add(step)) % 20_000;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener.local_addr().expect("an address");
        }
    }
    panic!("no free port");
}

/// Removes the common indentation.
pub fn unindent(text: &str) -> String {
    let lines: Vec<&str> = text.lines().skip_while(|line| line.trim().is_empty()).collect();
    let indent = |line: &&str| line.len() - line.trim_start().len();
    let common = lines.iter().filter(|line| !line.trim().is_empty()).map(indent).min().unwrap_or(0);
    lines.iter().map(|line| line.get(common..).unwrap_or_default().to_owned() + "\n").collect()
}

/// How long reloads may take on a busy machine.
pub const RELOAD_PATIENCE: Duration = Duration::from_secs(5);
