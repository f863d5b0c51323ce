//! Configurations, tables and requests for the tests of this floor and of those above it, built by hand.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

use crate::config::model::*;
use crate::config::{Model, SourceFile, Sources};
use crate::diagnostic::{Diagnostic, FileId, Pos, Spanned};
use crate::policy::request_gate::RequestView;
use crate::secret::Secret;

use super::Table;
use super::compile::{Compiled, Stamp, compile};
use super::upstream::Wish;

/// The moment of every test.
pub(super) const NOW: u64 = 1_700_000_000_000;
/// A sign token that is long enough.
pub(super) const SIGN_TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A choice that wants nothing in particular.
pub(super) const ANY: Wish<'static> = Wish { key: None, avoid: &[], random: 0, now: NOW };

/// A place in line `line` of the one file.
pub(super) fn at(line: u32) -> Pos {
    Pos { file: FileId(0), line, column: 1, len: 1 }
}

pub(super) fn text(value: &str) -> Spanned<String> {
    Spanned::new(value.to_owned(), at(1))
}

/// A model with a listener and nothing else.
pub(crate) fn model(projects: Vec<Project>) -> Model {
    let address = |text: &str| Spanned::new(text.parse::<SocketAddr>().unwrap(), at(1));
    Model {
        server: Server {
            threads: None,
            drain_timeout: Duration::from_secs(300),
            max_connections: 1000,
            trusted_proxies: vec!["10.9.0.0/16".parse().unwrap()],
            internal_networks: vec!["10.1.0.0/16".parse().unwrap()],
            dns: Dns { servers: Vec::new(), refresh: None, timeout: Duration::from_secs(2) },
            runtime_dir: None,
        },
        logging: Logging {
            level: log::LevelFilter::Info,
            format: LogFormat::Auto,
            file: None,
            access: Access { format: AccessFormat::Json, file: None, sample: 1.0, query: QueryLogging::Redacted },
        },
        listeners: vec![Listener {
            name: text("http"),
            address: address("192.0.2.1:8080"),
            headers_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            max_header_size: 32 << 10,
            tls: None,
            http2: true,
            h2c: false,
            redirect_to_https: false,
            proxy_protocol: false,
        }],
        acme: None,
        admin: Admin {
            address: address("127.0.0.1:9090"),
            allow: Vec::new(),
            hosts: Vec::new(),
            metrics_allow: Vec::new(),
            metrics_auth: MetricsAuth::None,
            state_dir: PathBuf::from("state"),
            users_file: None,
            public_url: None,
            tls: None,
        },
        upstreams: Vec::new(),
        tokens_dir: PathBuf::from("tokens"),
        tokens: Tokens::default(),
        providers: Vec::new(),
        credentials: Vec::new(),
        clients: Vec::new(),
        identity: Identity::default(),
        projects,
    }
}

/// An open project with a `production` environment; `hosts` may begin with `*.`.
pub(crate) fn project(name: &str, hosts: &[&str], routes: Vec<Route>) -> Project {
    Project {
        name: text(name),
        hosts: hosts.iter().map(|host| pattern(host)).collect(),
        app_id: "1001".to_owned(),
        upstream_policy: UpstreamPolicy::Open,
        environment: text("production"),
        choose_environment: Vec::new(),
        sign_defaults: SignDefaults { header_prefix: text("x-kms-"), username_encoding: UsernameEncoding::Percent },
        allow_direct: false,
        browser_client: false,
        pages: Pages::default(),
        identity: None,
        environments: vec![environment("production", routes)],
    }
}

pub(super) fn pattern(host: &str) -> Spanned<HostPattern> {
    let pattern = match host.strip_prefix("*.") {
        Some(parent) => HostPattern::Wildcard(parent.to_owned()),
        None => HostPattern::Exact(host.to_owned()),
    };
    Spanned::new(pattern, at(1))
}

pub(super) fn environment(name: &str, routes: Vec<Route>) -> Environment {
    Environment { name: text(name), routes }
}

/// A rule of `choose_environment`.
pub(super) fn rule(by: EnvironmentSource, of: Option<&[&str]>, from: Option<&[&str]>) -> ChooseEnvironment {
    ChooseEnvironment {
        by,
        of: of.map(|names| names.iter().map(|name| text(name)).collect()),
        from: from.map(|nets| nets.iter().map(|net| net.parse().unwrap()).collect()),
        at: at(1),
    }
}

pub(super) fn by_header(name: &'static str) -> EnvironmentSource {
    EnvironmentSource::Header(HeaderName::from_static(name))
}

pub(super) fn by_host(host: &str, is: &str) -> EnvironmentSource {
    EnvironmentSource::Host { host: pattern(host), is: text(is) }
}

/// An `auth: none` route to a URL, or to a group when there is no scheme in it.
pub(super) fn route(prefix: &str, upstream: &str) -> Route {
    let target = match upstream.contains("://") {
        true => Target::Url(Spanned::new(url(upstream), at(2))),
        false => Target::Group(text(upstream)),
    };
    with_action(prefix, Action::Proxy(Proxy { target, rewrite: None, host: HostHeader::Upstream }))
}

pub(super) fn respond(prefix: &str) -> Route {
    with_action(prefix, Action::Respond { status: StatusCode::OK, body: "pong\n".to_owned() })
}

pub(crate) fn with_action(prefix: &str, action: Action) -> Route {
    Route {
        prefix: text(prefix),
        action,
        auth: Auth::None,
        methods: None,
        access_allow: None,
        access_deny: Vec::new(),
        credential: None,
        sign: None,
        payload: Vec::new(),
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        timeouts: Timeouts::default(),
        limits: None,
        retry: Retry::default(),
        cors: None,
        compress: Vec::new(),
        at: at(3),
    }
}

/// A prefix that browsers call at this URL themselves.
pub(super) fn direct(prefix: &str, target: &str) -> Route {
    with_action(prefix, Action::Direct(Spanned::new(url(target), at(2))))
}

pub(super) fn sign(scheme: SignScheme) -> Option<Sign> {
    Some(Sign {
        scheme,
        token: Some(Spanned::new(Secret::new(SIGN_TOKEN), at(4))),
        tokens: Default::default(),
        at: at(4),
    })
}

pub(super) fn field(name: &'static str, value: &'static str) -> (Spanned<HeaderName>, HeaderValue) {
    (Spanned::new(HeaderName::from_static(name), at(5)), HeaderValue::from_static(value))
}

/// CORS for these origins, a minute long.
pub(super) fn cors(origins: &[&str]) -> Cors {
    Cors {
        origins: Origins::These(origins.iter().map(|origin| text(origin)).collect()),
        max_age: Duration::from_secs(60),
        credentials: false,
        expose: Vec::new(),
        at: at(6),
    }
}

/// One request at once and one a minute, one in flight, a thousand bytes; for all of the route's callers.
pub(super) fn limits() -> Limits {
    Limits {
        requests: Some(Rate { count: 1, period: Duration::from_secs(60) }),
        burst: 1,
        concurrent: Some(1),
        body: Some(1000),
        per: Per::Route,
        at: at(7),
    }
}

pub(super) fn url(text: &str) -> UpstreamUrl {
    let (scheme, rest) = text.split_once("://").unwrap();
    let (scheme, default) = if scheme == "https" { (Scheme::Https, 443) } else { (Scheme::Http, 80) };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let (host, port) = authority.split_once(':').map_or((authority, default), |(h, p)| (h, p.parse().unwrap()));
    let (host, authority, path) = (host.to_owned(), authority.to_owned(), path.to_owned());
    UpstreamUrl { scheme, host, port, authority, path }
}

pub(super) fn group(name: &str, scheme: Scheme, endpoints: &[(&str, u16, u32)]) -> Group {
    let endpoint =
        |(host, port, weight): &(&str, u16, u32)| Endpoint { host: text(host), port: *port, weight: *weight };
    Group {
        name: text(name),
        scheme,
        endpoints: endpoints.iter().map(endpoint).collect(),
        tls: UpstreamTls { server_name: None, ca: None, verify: true, client_certificate: None },
        keepalive_idle: Duration::from_secs(55),
        max_idle: None,
        balance: Balance::default(),
        health: None,
        eject: None,
        http2: Http2::default(),
    }
}

/// A client whose token is `NAME-token`.
pub(super) fn client(name: &str, user: Option<&str>) -> Client {
    Client {
        name: text(name),
        token: ClientToken::Clear(Secret::new(format!("{name}-token"))),
        user: user.map(text),
        display_name: None,
        projects: None,
        expires_before: None,
    }
}

/// Compiles.
pub(super) fn compiled(model: Model, previous: Option<&Table>) -> Compiled {
    let file = SourceFile { path: PathBuf::from("edge.yaml"), text: String::new(), masked: Vec::new() };
    let stamp = Stamp { generation: previous.map_or(1, |it| it.generation + 1), sha256: [7; 32], now: NOW };
    compile(model, &Sources { files: vec![file] }, stamp, previous)
}

/// The table of a model that holds.
pub(super) fn table(model: Model) -> Table {
    let Compiled { table, diagnostics, .. } = compiled(model, None);
    table.unwrap_or_else(|| panic!("it should compile: {diagnostics:#?}"))
}

/// What is wrong with a model: code and message of each.
pub(super) fn problems(model: Model) -> Vec<Diagnostic> {
    compiled(model, None).diagnostics
}

/// The codes of all errors.
pub(super) fn error_codes(model: Model) -> Vec<&'static str> {
    problems(model).iter().filter(|problem| problem.is_error()).map(|problem| problem.code).collect()
}

/// The codes of all warnings.
pub(super) fn warning_codes(model: Model) -> Vec<&'static str> {
    problems(model).iter().filter(|problem| !problem.is_error()).map(|problem| problem.code).collect()
}

/// A request head that owns its parts.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) peer: IpAddr,
}

impl Request {
    /// `GET target` for a host, from 192.0.2.9.
    pub(super) fn get(host: &str, target: &str) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::HOST, HeaderValue::from_str(host).unwrap());
        Self { method: Method::GET, target: target.to_owned(), headers, peer: "192.0.2.9".parse().unwrap() }
    }

    pub(super) fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, HeaderValue::from_str(value).unwrap());
        self
    }

    pub(super) fn from(mut self, peer: &str) -> Self {
        self.peer = peer.parse().unwrap();
        self
    }

    pub(super) fn view(&self) -> RequestView<'_> {
        RequestView {
            method: &self.method,
            target: &self.target,
            authority: None,
            headers: &self.headers,
            version: Version::HTTP_11,
            peer: self.peer,
            tls: false,
            certificate: None,
        }
    }
}
