//! The configuration exactly as written: typed, positioned, with defaults filled in; nothing resolved yet.
//! Names are still names here. `table::compile` turns it into what runs.

mod balance;
mod credentials;
mod identity;
mod listener;
mod policies;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::diagnostic::{Pos, Spanned};
use crate::secret::Secret;

pub use balance::{Balance, Eject, HashOn, Health, Http2};
pub use credentials::{
    AwsSsoOidc, ClientCredentials, Credential, CredentialSource, OAuth2, Provider, ProviderKind, Tokens, UseTokens,
};
pub use identity::{ClaimNames, HeaderIdentity, Identity, IdentitySource, Jwt, Oidc};
pub use listener::{Acme, CertificateFiles, ListenerTls, TlsVersion};
pub use policies::{Coding, Cors, Files, Limits, Origins, Pages, Per, Rate, Retry, RetryOn};

/// Everything that one configuration (with its includes) says.
#[derive(Clone, Debug)]
pub struct Model {
    /// The process as a whole.
    pub server: Server,
    /// The log and the access log.
    pub logging: Logging,
    /// In the order written; never empty.
    pub listeners: Vec<Listener>,
    /// Certificates that are obtained; none.
    pub acme: Option<Acme>,
    /// The second listener.
    pub admin: Admin,
    /// Named groups; routes name them by [`Target::Group`], which the compiler resolves.
    pub upstreams: Vec<Group>,
    /// Where stored logins will be kept; `../tokens` beside the first file unless written.
    pub tokens_dir: PathBuf,
    /// How they are kept there.
    pub tokens: Tokens,
    /// OAuth servers.
    pub providers: Vec<Provider>,
    /// What routes put on their upstream requests.
    pub credentials: Vec<Credential>,
    /// Who may call; empty: nobody, where a route asks for a client.
    pub clients: Vec<Client>,
    /// How the person behind a call is found.
    pub identity: Identity,
    /// In the order written.
    pub projects: Vec<Project>,
}

/// `server`: read at start; a change needs a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Data-plane worker threads; `None`: the number of cores.
    pub threads: Option<usize>,
    /// The longest that requests in flight may take at a stop; 5 minutes.
    pub drain_timeout: Duration,
    /// Open client connections, over all listeners; 20,000.
    pub max_connections: usize,
    /// Whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed; nobody's.
    pub trusted_proxies: Vec<IpNet>,
    /// Private networks that guarded upstreams may resolve to, and identities reach over plain http; none.
    pub internal_networks: Vec<IpNet>,
    /// How names of endpoints become addresses.
    pub dns: Dns,
    /// `None`: not written; the default place is tried and its absence forgiven.
    pub runtime_dir: Option<PathBuf>,
}

/// `server.dns`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Empty: the system's.
    pub servers: Vec<SocketAddr>,
    /// `None` (`auto`): the record's TTL.
    pub refresh: Option<Duration>,
    /// Of one query; 2 seconds.
    pub timeout: Duration,
}

/// `logging`: live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// The least severe level that is written; info.
    pub level: log::LevelFilter,
    /// How a line looks; [`LogFormat::Auto`].
    pub format: LogFormat,
    /// `None`: standard error.
    pub file: Option<PathBuf>,
    /// The line of each request.
    pub access: Access,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
    /// Text on a terminal, JSON elsewhere.
    Auto,
}

/// `logging.access`.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    /// How a line looks; JSON.
    pub format: AccessFormat,
    /// `None`: standard output.
    pub file: Option<PathBuf>,
    /// 0.0 to 1.0 (the default): the part of requests that are logged; failed ones (status 500 and up, or `end` not `ok`) always are.
    pub sample: f64,
    /// What becomes of the query; [`QueryLogging::Redacted`].
    pub query: QueryLogging,
}

impl Eq for Access {}

/// How a line of the access log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFormat {
    /// One object a line.
    Json,
    /// As nginx's `combined`.
    Combined,
    /// There is none.
    Off,
}

/// What the access log shows of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryLogging {
    /// Names kept, values `***`.
    Redacted,
    /// As received.
    Full,
    /// Nothing.
    Off,
}

/// One of `listeners`: read at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its key: a label of metrics, a field of the access log.
    pub name: Spanned<String>,
    /// Where it listens; port 0 takes any free one.
    pub address: Spanned<SocketAddr>,
    /// To receive a whole request head; 10 seconds.
    pub headers_timeout: Duration,
    /// For a kept connection without a request; 60 seconds.
    pub idle_timeout: Duration,
    /// Bytes of the whole request head, 1 KiB to 1 MiB; 32 KiB.
    pub max_header_size: usize,
    /// `None`: in the clear.
    pub tls: Option<ListenerTls>,
    /// HTTP/2 over TLS, if ALPN agrees on it; true.
    pub http2: bool,
    /// HTTP/2 in the clear, by prior knowledge; false.
    pub h2c: bool,
    /// Everything but ACME challenges is sent to https with 308; false.
    pub redirect_to_https: bool,
    /// A PROXY header is required, and believed from `server.trusted_proxies` only; false.
    pub proxy_protocol: bool,
}

/// `admin`: the second listener; read at start, but `allow`, `hosts`, `metrics`, `users_file` and `public_url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Loopback, unless there is TLS; 127.0.0.1:9090.
    pub address: Spanned<SocketAddr>,
    /// Who may connect; loopback.
    pub allow: Vec<IpNet>,
    /// Further names in `Host` that it answers to, lower case; none.
    pub hosts: Vec<String>,
    /// Who may read `/metrics`, and unless `metrics_auth` says otherwise without logging in; loopback.
    pub metrics_allow: Vec<IpNet>,
    /// Whether those in `metrics_allow` have to log in; no.
    pub metrics_auth: MetricsAuth,
    /// Where `admin.token` is kept; `../state` beside the first file unless written.
    pub state_dir: PathBuf,
    /// htpasswd: who may log in beside the bearer of the token; nobody.
    pub users_file: Option<Spanned<PathBuf>>,
    /// Where a browser reaches it, when behind a proxy: scheme, host, port. `None`: at its own address.
    pub public_url: Option<Spanned<url::Url>>,
    /// `None`: in the clear, which only loopback allows.
    pub tls: Option<ListenerTls>,
}

/// `admin.metrics.auth`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsAuth {
    /// An address in `metrics.allow` is enough.
    #[default]
    None,
    /// The token or a user's password is needed, as for everything else.
    Required,
}

/// One of `upstreams`: a named group.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its key, which routes name.
    pub name: Spanned<String>,
    /// How its endpoints are spoken to; http.
    pub scheme: Scheme,
    /// Never empty.
    pub endpoints: Vec<Endpoint>,
    /// How certificates are verified; of no effect with http.
    pub tls: UpstreamTls,
    /// How long an idle connection is kept for reuse; 55 seconds.
    pub keepalive_idle: Duration,
    /// How many of them; `None`: as many as were needed.
    pub max_idle: Option<usize>,
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// Active health checks; none.
    pub health: Option<Health>,
    /// Passive ejection; none.
    pub eject: Option<Eject>,
    /// Auto. `scheme: h2c` is [`Scheme::Http`] with [`Http2::Only`]; [`Http2::Auto`] is HTTP/1.1 without TLS.
    pub http2: Http2,
}

/// How an upstream is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In the clear; port 80 in URLs without one.
    Http,
    /// Over TLS; port 443 in URLs without one.
    Https,
}

/// `host:port` of one endpoint, as written.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Host name, IPv4 literal, or IPv6 literal without brackets.
    pub host: Spanned<String>,
    /// Always written.
    pub port: u16,
    /// Its share in the round robin, 1 (the default) to 1000.
    pub weight: u32,
}

/// How the certificates of a group are verified.
#[derive(Clone, Debug)]
pub struct UpstreamTls {
    /// What the certificate must name; `None`: the endpoint's host.
    pub server_name: Option<String>,
    /// A PEM file with the CA certificates to trust, read by the compiler; `None`: the system's.
    pub ca: Option<Spanned<PathBuf>>,
    /// `false`: any certificate will do; true.
    pub verify: bool,
    /// What the upstream is shown when it asks; nothing.
    pub client_certificate: Option<CertificateFiles>,
}

/// One of `clients`.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its key, unlike other clients'.
    pub name: Spanned<String>,
    /// What it shows; unlike other clients'.
    pub token: ClientToken,
    /// Lower-cased by the compiler; empty: an anonymous client.
    pub user: Option<Spanned<String>>,
    /// For people; `None`: the user.
    pub display_name: Option<Spanned<String>>,
    /// `None`: every project.
    pub projects: Option<Vec<Spanned<String>>>,
    /// Valid to the end of that day, UTC, as Unix milliseconds of the first instant that is too late.
    pub expires_before: Option<u64>,
}

/// What a client shows. The compiler keeps only digests.
#[derive(Clone, Debug)]
pub enum ClientToken {
    /// The token itself.
    Clear(Secret),
    /// Its SHA-256.
    Sha256([u8; 32]),
}

/// One of `projects`.
#[derive(Clone, Debug)]
pub struct Project {
    /// Its key, which is signed.
    pub name: Spanned<String>,
    /// Empty: any host.
    pub hosts: Vec<Spanned<HostPattern>>,
    /// What is signed as the app id; empty unless written.
    pub app_id: String,
    /// Which addresses its upstreams may have; [`UpstreamPolicy::Guarded`].
    pub upstream_policy: UpstreamPolicy,
    /// The environment that serves a request which names none.
    pub environment: Spanned<String>,
    /// How a request may name another; none.
    pub choose_environment: Vec<ChooseEnvironment>,
    /// How its routes sign.
    pub sign_defaults: SignDefaults,
    /// Whether it may have [`Action::Direct`]; it may not.
    pub allow_direct: bool,
    /// Whether its hosts serve the client for browsers below `/.countersign/`; they don't.
    pub browser_client: bool,
    /// What replaces the edge's own error pages.
    pub pages: Pages,
    /// How its callers are found; `None`: as everywhere.
    pub identity: Option<Identity>,
    /// In the order written.
    pub environments: Vec<Environment>,
}

/// Which hosts a project serves, or a rule means. Lower case, no port, no trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host.
    Exact(String),
    /// `*.a`: the `a`, without the star and dot; matches one label or more in front of it.
    Wildcard(String),
}

/// Which addresses a project's upstreams may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamPolicy {
    /// Public names whose addresses are checked at each connection. (Not applied to the environment `local`.)
    Guarded,
    /// Any.
    Open,
}

/// One rule of `choose_environment`; the first that names one wins.
#[derive(Clone, Debug)]
pub struct ChooseEnvironment {
    /// What it reads.
    pub by: EnvironmentSource,
    /// Which it may name; `None`: all but `local`. (For `Host`: unused.)
    pub of: Option<Vec<Spanned<String>>>,
    /// Which addresses may; `None`: all.
    pub from: Option<Vec<IpNet>>,
    /// Where the rule starts in its file.
    pub at: Pos,
}

/// Where a request may name its environment.
#[derive(Clone, Debug)]
pub enum EnvironmentSource {
    /// The value of this header.
    Header(http::HeaderName),
    /// The value of the cookie with this name.
    Cookie(String),
    /// That host means that environment.
    Host {
        /// The host.
        host: Spanned<HostPattern>,
        /// The environment's name.
        is: Spanned<String>,
    },
}

/// How the routes of a project sign.
#[derive(Clone, Debug)]
pub struct SignDefaults {
    /// What the headers' names begin with, `x-kms-`: lower case, a valid header-name beginning that ends in `-`.
    pub header_prefix: Spanned<String>,
    /// How the display name travels; [`UsernameEncoding::Percent`].
    pub username_encoding: UsernameEncoding,
}

/// How a display name travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsernameEncoding {
    /// All but RFC 3986 unreserved, upper-case %XX of UTF-8.
    Percent,
    /// As it is.
    Raw,
}

/// One of a project's environments.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Its key.
    pub name: Spanned<String>,
    /// In the order written, which does not matter: the longest prefix wins.
    pub routes: Vec<Route>,
}

/// One of an environment's routes.
#[derive(Clone, Debug)]
pub struct Route {
    /// Starts with `/`, no trailing slash (but `/` itself).
    pub prefix: Spanned<String>,
    /// What becomes of a request.
    pub action: Action,
    /// Whether a client must show a token; [`Auth::Required`].
    pub auth: Auth,
    /// `None`: any. GET includes HEAD.
    pub methods: Option<Vec<http::Method>>,
    /// Which addresses may; `None`: all.
    pub access_allow: Option<Vec<IpNet>>,
    /// Which of those may not; none.
    pub access_deny: Vec<IpNet>,
    /// The credential that its upstream requests carry; none.
    pub credential: Option<Spanned<String>>,
    /// `None`: no identity is sent.
    pub sign: Option<Sign>,
    /// Header name, value; an empty value leaves the header out.
    pub payload: Vec<(Spanned<http::HeaderName>, Secret)>,
    /// What is changed on the way to the upstream.
    pub request_headers: HeaderEdits,
    /// What is changed on the way back.
    pub response_headers: HeaderEdits,
    /// Of the forwarding.
    pub timeouts: Timeouts,
    /// How much passes; `None`: everything.
    pub limits: Option<Limits>,
    /// When a request is sent again.
    pub retry: Retry,
    /// Whose pages may call; `None`: CORS is left to the upstream.
    pub cors: Option<Cors>,
    /// How answers may be compressed here; empty: not at all.
    pub compress: Vec<Coding>,
    /// Where the route's mapping starts in its file.
    pub at: Pos,
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Action {
    /// An upstream answers.
    Proxy(Proxy),
    /// Files of this machine.
    Files(Files),
    /// A fixed answer.
    Respond {
        /// 200 unless written.
        status: http::StatusCode,
        /// Empty unless written.
        body: String,
    },
    /// Elsewhere.
    Redirect {
        /// May hold `{rest}` and `{query}`.
        to: Spanned<String>,
        /// 301, 302 (the default), 303, 307 or 308.
        status: http::StatusCode,
    },
    /// `mode: direct`: browsers call this URL themselves, and nothing is forwarded. Everything else of the route is at its
    /// default.
    Direct(Spanned<UpstreamUrl>),
}

/// Where a request is forwarded to, and how.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Where to.
    pub target: Target,
    /// Replaces the prefix for a named group.
    pub rewrite: Option<Spanned<String>>,
    /// The Host that the upstream sees; [`HostHeader::Upstream`].
    pub host: HostHeader,
}

/// Where a request is forwarded to.
#[derive(Clone, Debug)]
pub enum Target {
    /// A URL: its path replaces the prefix.
    Url(Spanned<UpstreamUrl>),
    /// A name in `upstreams`.
    Group(Spanned<String>),
}

/// A parsed `http(s)://host[:port][/path]`; no user info, query or fragment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamUrl {
    /// http or https.
    pub scheme: Scheme,
    /// As written, lower-cased; IPv6 without brackets.
    pub host: String,
    /// Explicit or the scheme's.
    pub port: u16,
    /// `host[:port]` for the Host header: the port only when it was written and is not the scheme's.
    pub authority: String,
    /// Begins with `/`, or is empty.
    pub path: String,
}

/// The Host that an upstream sees.
#[derive(Clone, Debug)]
pub enum HostHeader {
    /// The authority of the URL, the group's server name, or the endpoint.
    Upstream,
    /// What the client sent.
    Client,
    /// This one.
    Literal(String),
}

/// Whether a client must show a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// It must; 401 otherwise.
    Required,
    /// It may; a wrong one is 401.
    Optional,
    /// Nobody is asked; `authorization` passes.
    None,
}

/// How a route signs.
#[derive(Clone, Debug)]
pub struct Sign {
    /// What is signed.
    pub scheme: SignScheme,
    /// The secret shared with the upstream, at least 31 characters; `None`: signed without one.
    pub token: Option<Spanned<Secret>>,
    /// Where the token is, and which others there are beside it.
    pub tokens: crate::sign_token::Tokens,
    /// Where the key stands in its file.
    pub at: Pos,
}

/// What is signed; see [`crate::policy::sign`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignScheme {
    /// User and stamp.
    UserStamp,
    /// User, project, stamp.
    UserProjectStamp,
    /// User, project, app id, stamp.
    UserProjectAppidStamp,
    /// HMAC over request and identity.
    HmacSha256,
    /// RFC 9421, over request and identity.
    Rfc9421,
    /// Identity headers without a signature.
    None,
}

/// Static edits of one direction's headers; `remove`, then `set` (replaces), then `add` (appends).
#[derive(Clone, Debug, Default)]
pub struct HeaderEdits {
    /// Replaces what is there.
    pub set: Vec<(Spanned<http::HeaderName>, http::HeaderValue)>,
    /// Goes behind what is there; a name may occur several times.
    pub add: Vec<(Spanned<http::HeaderName>, http::HeaderValue)>,
    /// Is taken away.
    pub remove: Vec<Spanned<http::HeaderName>>,
}

/// Of one route. Never a total: a stream may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect to an endpoint, TLS included; 5 seconds.
    pub connect: Duration,
    /// From the whole request sent to the first byte of the response head; 120 seconds.
    pub first_byte: Duration,
    /// Between bytes of the response; for a WebSocket, of either direction; 120 seconds.
    pub idle: Duration,
    /// How long the client may send or read nothing while it is its turn; 30 seconds.
    pub send: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(120),
            idle: Duration::from_secs(120),
            send: Duration::from_secs(30),
        }
    }
}
