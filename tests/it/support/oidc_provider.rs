//! npm's certified `oidc-provider`, run by node on loopback: code with PKCE, refresh tokens that rotate (a spent one revokes its
//! whole family), device flow. What it is and how it is set up: `tests/it/oidc/provider.mjs`.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use super::client::{Request, Wire};
use super::node::modules;
use super::process::Process;
use super::python::scripts;
use super::visitor::Visitor;
use super::wait::eventually_within;

/// Of the client `confidential`.
pub const CLIENT_SECRET: &str = "c4n4ry-oidc-client-secret-0123456789";
/// Of the clients `edge` and `other`, for people who log in at an edge.
pub const EDGE_SECRET: &str = "c4n4ry-oidc-edge-secret-0123456789";
pub const OTHER_SECRET: &str = "c4n4ry-oidc-other-secret-0123456789";
/// Of the client `machine`.
pub const MACHINE_SECRET: &str = "c4n4ry-oidc-machine-secret-0123456789";

/// Node reads a hundred packages first, on a machine with other things to do.
const STARTS: Duration = Duration::from_secs(60);

/// A running provider.
pub struct OidcProvider {
    pub address: SocketAddr,
    process: Process,
}

/// What it has been asked.
#[derive(Debug)]
pub struct Seen {
    /// Calls of its token endpoint, of any kind.
    pub token_calls: u64,
    /// `authorization_code` that were granted.
    pub codes: u64,
    /// `refresh_token`s that were granted.
    pub refreshes: u64,
    /// Device codes that were granted.
    pub devices: u64,
    /// `client_credentials` that were granted.
    pub machines: u64,
    /// What it refused, in its words.
    pub errors: Vec<String>,
    /// Families of tokens that it has revoked: somebody has used a refresh token twice.
    pub revoked: u64,
    /// Who called the token endpoint, as he said.
    pub agents: Vec<String>,
}

impl OidcProvider {
    /// With access tokens that live that long.
    pub fn start(access: Duration) -> Self {
        Self::start_with(&json!({ "access_seconds": access.as_secs() }))
    }

    /// With these settings of `provider.mjs`.
    pub fn start_with(settings: &Value) -> Self {
        let library = modules("oidc").join("oidc-provider/lib/index.js");
        let mut node = Command::new("node");
        node.arg(scripts("oidc").join("provider.mjs")).arg(settings.to_string()).env("OIDC_PROVIDER", library);
        let process = Process::spawn(&mut node);
        let port = eventually_within(STARTS, "the provider says its port", || {
            assert!(process.ended().is_none(), "node (apt-get install nodejs npm): {}", process.stderr());
            process.stdout().trim().strip_prefix("listening ").and_then(|port| port.parse::<u16>().ok())
        });
        Self { address: SocketAddr::from(([127, 0, 0, 1], port)), process }
    }

    /// `http://127.0.0.1:port`, which is also its issuer.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The `oauth2` of a provider of the configuration, for that client.
    pub fn oauth2(&self, client: &str) -> String {
        let url = self.url();
        let secret = match client {
            "confidential" => format!("client_secret: {CLIENT_SECRET}, "),
            _ => String::new(),
        };
        format!(
            "{{ authorization_url: \"{url}/auth\", token_url: \"{url}/token\", \
             device_authorization_url: \"{url}/device/auth\", client_id: {client}, {secret}\
             scopes: [openid, offline_access] }}"
        )
    }

    /// What it has been asked so far.
    pub fn seen(&self) -> Seen {
        let mut wire = Wire::connect(self.address);
        wire.send(Request::get("/_seen").host(&self.address.to_string()).bytes());
        let json = wire.response().json();
        let texts = |key: &str| -> Vec<String> {
            let list = json[key].as_array().cloned().unwrap_or_default();
            list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let grants = |name: &str| json["grants"][name].as_u64().unwrap_or(0);
        Seen {
            token_calls: json["token_calls"].as_u64().expect("a count"),
            codes: grants("authorization_code"),
            refreshes: grants("refresh_token"),
            devices: grants("urn:ietf:params:oauth:grant-type:device_code"),
            machines: grants("client_credentials"),
            errors: texts("errors"),
            revoked: json["revoked"].as_u64().expect("a count"),
            agents: texts("agents"),
        }
    }

    /// Logs a person in and agrees to everything; where the browser is sent then (nobody has asked there).
    pub fn log_in(&self, person: &str, authorization_url: &str) -> Url {
        let mut visitor = Visitor::default();
        let sign_in = visitor.page(authorization_url).form_with("name=\"login\"");
        let consent = visitor.submit(&sign_in, &[("login", person), ("password", "x")]).page().form_with("Continue");
        visitor.submit(&consent, &[]).away()
    }

    /// A person who goes away at the consent; where the browser is sent then.
    pub fn abort(&self, authorization_url: &str) -> Url {
        let mut visitor = Visitor::default();
        let page = visitor.page(authorization_url);
        visitor.open(&format!("{}/abort", page.url)).away()
    }

    /// Types a device's code and agrees to everything.
    pub fn approve(&self, person: &str, verification_uri: &str, user_code: &str) {
        let mut visitor = Visitor::default();
        let enter = visitor.page(verification_uri).form_with("name=\"user_code\"");
        let confirm = visitor.submit(&enter, &[("user_code", user_code)]).page().form_with("name=\"confirm\"");
        let sign_in = visitor.submit(&confirm, &[]).page().form_with("name=\"login\"");
        let consent = visitor.submit(&sign_in, &[("login", person), ("password", "x")]).page().form_with("Continue");
        let done = visitor.submit(&consent, &[]).page();
        assert!(done.html().contains("Sign-in Success"), "{}", done.html());
    }
}

impl Drop for OidcProvider {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- oidc-provider\n{}{}", self.process.stdout(), self.process.stderr());
        }
    }
}
