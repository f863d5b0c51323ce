//! One compiled route.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode};

use crate::observe::metrics::RouteSeries;
use crate::policy::access::Access;
use crate::policy::coding::Coding;
use crate::policy::cors::Cors;
use crate::policy::limit::Limits;
use crate::policy::page::Pages;
use crate::policy::retry::Retry;
use crate::policy::sign::Scheme;
use crate::policy::template::Template;
use crate::secret::Secret;
use crate::sign_token::{Home, RouteName, Tokens};

use super::credential::Credential;
use super::identity::Identification;
use super::upstream::Upstream;

pub use crate::config::model::{Auth, Timeouts, UsernameEncoding};

/// What is needed to serve requests below one prefix of one environment of one project.
#[derive(Debug)]
pub struct Route {
    /// The project's name.
    pub project: Arc<str>,
    /// The project's `app_id`.
    pub app_id: Arc<str>,
    /// The environment's name.
    pub environment: Arc<str>,
    /// `/` or whole segments without a trailing slash.
    pub prefix: Arc<str>,
    /// Where it was written: file as shown to people, line.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// What it does.
    pub action: Action,
    /// Whether the caller must authenticate.
    pub auth: Auth,
    /// How he is found: as everywhere in the project.
    pub identification: Arc<Identification>,
    /// `None`: any. GET includes HEAD.
    pub methods: Option<Vec<Method>>,
    /// Who may, by address.
    pub access: Access,
    /// The signature, if the upstream wants one.
    pub sign: Option<Sign>,
    /// `x-kms-` in the form that [`crate::policy::sign::in_family`] wants; stripped from clients on every route.
    pub family: Arc<str>,
    /// Injected after the signature; empty values are already gone.
    pub payload: Vec<(HeaderName, HeaderValue)>,
    /// Every name that the route injects, in family form: stripped from the client's head.
    pub injected: Arc<[Box<str>]>,
    /// Towards the upstream.
    pub request_edits: Arc<Edits>,
    /// Towards the client.
    pub response_edits: Arc<Edits>,
    /// Of one request.
    pub timeouts: Timeouts,
    /// How much passes; `None`: everything.
    pub limits: Option<Box<Limits>>,
    /// What browsers are told; `None`: whatever the upstream says.
    pub cors: Option<Arc<Cors>>,
    /// The project's own error pages.
    pub pages: Option<Arc<Pages>>,
    /// What answers may be compressed by, in the order of preference; `None`: they are left as they are.
    pub compress: Option<Arc<[Coding]>>,
    /// When a request is sent again, beyond what is always safe; `None`: never.
    pub retry: Option<Retry>,
    /// Its metrics, made at its first request.
    pub series: OnceLock<Arc<RouteSeries>>,
}

/// What a route does.
#[derive(Debug)]
pub enum Action {
    /// To an upstream.
    Forward(Forward),
    /// Files of this machine.
    Files(Files),
    /// A fixed answer.
    Respond {
        /// Status.
        status: StatusCode,
        /// `text/plain; charset=utf-8`.
        body: Arc<str>,
    },
    /// Somewhere else.
    Redirect {
        /// May hold `{rest}` and `{query}`.
        to: Arc<str>,
        /// 301, 302, 303, 307 or 308.
        status: StatusCode,
    },
}

/// Files of this machine, read by GET and HEAD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Nothing outside of it is ever served. It is looked up anew for each request, so that it may be replaced.
    pub root: Arc<Path>,
    /// The name of what a directory is served as; empty: nothing.
    pub index: Arc<str>,
    /// Below the root, relative: served where nothing else is.
    pub fallback: Option<Arc<str>>,
}

/// To an upstream.
#[derive(Debug)]
pub struct Forward {
    /// Where.
    pub upstream: Arc<Upstream>,
    /// What replaces the prefix; `None`: the path stays whole.
    pub base_path: Option<Arc<str>>,
    /// The Host sent.
    pub host: HostChoice,
    /// Resolved addresses are checked before connecting.
    pub guarded: bool,
    /// Carries an identity or a credential: over plain http only to loopback or internal networks.
    pub sensitive: bool,
    /// What its requests carry; none.
    pub credential: Option<Arc<Credential>>,
}

/// The Host header that the upstream gets.
#[derive(Debug, PartialEq, Eq)]
pub enum HostChoice {
    /// Fixed: the URL's authority, the group's server name, a literal.
    Fixed(HeaderValue),
    /// The chosen endpoint's `host:port`.
    Endpoint,
    /// The client's, canonical.
    Client,
}

/// How a route signs.
#[derive(Debug)]
pub struct Sign {
    /// `None` (`scheme: none`): identity headers without a signature.
    pub scheme: Option<Scheme>,
    /// The shared secret, if any.
    pub token: Option<Secret>,
    /// Where it is, and which others there are beside it; `None`: it stands in the configuration, or there is none.
    pub tokens: Option<Box<Tokens>>,
    /// The prefix as it is written, where that is not how requests' paths are spelt.
    pub written: Option<Box<str>>,
    /// How the name travels.
    pub username_encoding: UsernameEncoding,
    /// `x-kms-user` … in the project's prefix; one for the whole project.
    pub names: Arc<SignNames>,
}

/// The six names under the project's prefix, and the two values that are the same for every request.
#[derive(Debug, PartialEq, Eq)]
pub struct SignNames {
    /// What they begin with, lower case.
    pub prefix: Box<str>,
    /// `…user`
    pub user: HeaderName,
    /// `…username`
    pub username: HeaderName,
    /// `…stamp`
    pub stamp: HeaderName,
    /// `…appid`
    pub appid: HeaderName,
    /// `…project`
    pub project: HeaderName,
    /// `…sign`
    pub sign: HeaderName,
    /// What `…project` says.
    pub project_value: HeaderValue,
    /// What `…appid` says; may be empty.
    pub appid_value: HeaderValue,
}

/// The edits of one direction: `remove`, then `set` (replaces), then `add` (appends), then `filled`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Replaced.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Appended.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Removed.
    pub remove: Vec<HeaderName>,
    /// Values with variables, in order, with everything else that is said of the same names.
    pub filled: Vec<Filled>,
}

/// One value that is made for each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// The header.
    pub name: HeaderName,
    /// Whether it replaces what is there.
    pub mode: Mode,
    /// How it is made.
    pub value: Template,
}

/// What a value does to those that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It replaces them.
    Set,
    /// It goes behind them.
    Add,
}

impl Sign {
    /// Where the token is that signs.
    pub fn home(&self) -> &Home {
        match (&self.tokens, &self.token) {
            (Some(tokens), _) => &tokens.home,
            (None, Some(_)) => &Home::ByHand,
            (None, None) => &Home::Nowhere,
        }
    }
}

impl Route {
    /// What its sign tokens are kept under.
    pub fn written_name(&self) -> RouteName<'_> {
        let written = self.sign.as_ref().and_then(|sign| sign.written.as_deref());
        RouteName { project: &self.project, environment: &self.environment, prefix: written.unwrap_or(&self.prefix) }
    }

    /// Where it forwards to, if that is what it does.
    pub fn forward(&self) -> Option<&Forward> {
        match &self.action {
            Action::Forward(forward) => Some(forward),
            Action::Files(_) | Action::Respond { .. } | Action::Redirect { .. } => None,
        }
    }

    /// Whether an address may use it.
    pub fn admits(&self, address: IpAddr) -> bool {
        self.access.admits(address)
    }

    /// How many bytes of a canonical path the prefix takes: `/` takes none, so that what follows always begins with `/`.
    pub fn prefix_len(&self) -> usize {
        if &*self.prefix == "/" { 0 } else { self.prefix.len() }
    }

    /// Whether the method is served: any without a list; GET includes HEAD.
    pub fn serves(&self, method: &Method) -> bool {
        let Some(methods) = self.served_methods() else { return true };
        methods.contains(method) || (method == Method::HEAD && methods.contains(&Method::GET))
    }

    /// The methods that are served; `None`: any. Files are read by GET, whatever else is asked for.
    pub fn served_methods(&self) -> Option<&[Method]> {
        const READING: &[Method] = &[Method::GET];
        match (&self.methods, &self.action) {
            (Some(methods), _) => Some(methods),
            (None, Action::Files(_)) => Some(READING),
            (None, _) => None,
        }
    }

    /// Where it was written, for people: `file:line`.
    pub fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }

    /// How long the upstream may take to connect.
    pub fn connect_timeout(&self) -> Duration {
        self.timeouts.connect
    }
}
