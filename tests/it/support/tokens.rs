//! An edge with accounts: its configuration, and the token part of its API.

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::client::Request;
use super::edge::{Config, Edge};
use super::leak;
use super::origin::Origin;
use super::wait::{eventually, eventually_within};

/// Sections: a provider `sso` of that kind (`oauth2: { … }`), whose tokens are the credential `account` (with further keys), which every
/// request of the route `/v1` carries to `{origin}`.
pub fn sections(kind: &str, further: &str) -> String {
    format!(
        r#"
providers:
  sso: {{ {kind} }}
credentials:
  account: {{ provider: sso, inject: {{ header: authorization, value: "Bearer {{token}}" }}{further} }}
projects:
  demo:
    upstream_policy: open
    environments:
      production:
        routes:
          - {{ prefix: /v1, upstream: "http://{{origin}}", auth: none, credential: account }}
"#
    )
}

/// An edge to be, with those sections.
pub fn config(kind: &str, further: &str, origin: &Origin) -> Config {
    Config::new(&sections(kind, further)).origin(origin)
}

/// Seconds since 1970.
pub fn now() -> u64 {
    UNIX_EPOCH.elapsed().expect("a clock").as_secs()
}

/// A document for `import`: a pair of the provider `sso` that ends then.
pub fn document(access: &str, refresh: &str, lives: Duration) -> Value {
    json!({ "provider": "sso", "access_token": access, "refresh_token": refresh, "expires_at": rfc3339(now() + lives.as_secs()) })
}

/// Seconds since 1970 as the API writes times.
pub fn rfc3339(seconds: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(seconds);
    time::OffsetDateTime::from(time).format(&time::format_description::well_known::Rfc3339).expect("a time")
}

impl Edge {
    /// `POST` to the API with that body: the status and what it says.
    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request =
            self.admin_request("POST", path).header("content-type", "application/json").body(body.to_string());
        let response = self.admin_call(&request);
        let json = if response.body.is_empty() { Value::Null } else { response.json() };
        (response.status, json)
    }

    /// `GET /api/v1/tokens`.
    pub fn tokens(&self) -> Vec<Value> {
        let response = self.admin("GET", "/api/v1/tokens");
        assert_eq!(response.status, 200, "{}", response.text());
        response.json().as_array().cloned().unwrap_or_else(|| panic!("no list: {}", response.text()))
    }

    /// The one token.
    pub fn the_token(&self) -> Value {
        let tokens = self.tokens();
        assert_eq!(tokens.len(), 1, "{tokens:?}");
        tokens.into_iter().next().expect("one")
    }

    /// The one token's id.
    pub fn token_id(&self) -> String {
        self.the_token()["id"].as_str().expect("an id").to_owned()
    }

    /// Waits until the one token has that status.
    pub fn wait_status(&self, status: &str, patience: Duration) -> Value {
        eventually_within(patience, &format!("a token that is {status}"), || {
            self.tokens().into_iter().find(|token| token["status"] == status)
        })
    }

    /// Begins a login in a browser; what the API says.
    pub fn begin_login(&self, provider: &str) -> Value {
        let (status, begun) = self.post("/api/v1/tokens/login", &json!({ "provider": provider }));
        assert_eq!(status, 200, "{begun}");
        begun
    }

    /// Where the operator has to go.
    pub fn authorization_url(&self, provider: &str) -> String {
        self.begin_login(provider)["authorization_url"].as_str().expect("an address").to_owned()
    }

    /// Submits what an operator pastes.
    pub fn paste(&self, text: &str) -> (u16, Value) {
        self.post("/api/v1/tokens/callback", &json!({ "callback_url": text }))
    }

    /// Asks for a refresh: the status and what it says.
    pub fn refresh(&self, id: &str) -> (u16, Value) {
        self.post(&format!("/api/v1/tokens/{id}/refresh"), &Value::Null)
    }

    /// Imports a document, which must be taken; the first id.
    pub fn import(&self, document: &Value) -> String {
        let (status, answer) = self.post("/api/v1/tokens/import", document);
        assert!(matches!(status, 200 | 201), "{status} {answer}");
        let tokens = eventually("the imported token", || Some(self.tokens()).filter(|tokens| !tokens.is_empty()));
        tokens.last().expect("one")["id"].as_str().expect("an id").to_owned()
    }

    /// Where its token files are.
    pub fn tokens_dir(&self) -> PathBuf {
        self.config.tokens_at().unwrap_or_else(|| self.directory().join("tokens"))
    }

    /// What the file of a token says.
    pub fn token_file(&self, id: &str) -> Value {
        let path = self.tokens_dir().join(format!("{id}.json"));
        let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{} is torn: {error}", path.display()))
    }

    /// `GET /v1/x`: its status.
    pub fn asks(&self) -> u16 {
        self.call(&Request::get("/v1/x")).status
    }

    /// Fails when a planted secret, or one of these, stands in anything that the edge has said so far.
    pub fn expect_no_leak(&self, secrets: &[&str]) {
        let outputs = [
            ("the log", self.output()),
            ("the access log", self.access_lines().join("\n")),
            ("the metrics", self.metrics().text),
            ("the status", self.admin("GET", "/api/v1/status").text()),
            ("the tokens", self.admin("GET", "/api/v1/tokens").text()),
        ];
        for (place, text) in outputs {
            leak::check_bytes(place, text.as_bytes());
            for secret in secrets {
                assert!(!text.contains(secret), "leak: a secret in {place}: {text}");
            }
        }
    }
}
