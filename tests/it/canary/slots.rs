//! One unmistakable secret for every slot, and the forms in which it could be seen.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};

/// The secrets of one edge. They hold what encodings change, as far as their slot takes that.
pub struct Slots {
    pub client: String,
    pub wrong: String,
    pub basic: String,
    pub admin_password: String,
    pub sign: String,
    pub payload: String,
    pub payload_filed: String,
    pub fixed: String,
    pub filed: String,
    pub oauth: String,
    pub cookie: String,
    pub query: String,
    pub broken: String,
    access: [String; 3],
    refresh: [String; 3],
}

impl Slots {
    pub fn new() -> Self {
        let plain = |slot: &str| format!("c4n4ry-{slot}-0123456789-abcdefghij");
        let rich = |slot: &str| format!("c4n4ry/{slot}+0123456789~abcdefghij==");
        let three = |slot: &str| ["one", "two", "three"].map(|number| rich(&format!("{slot}-{number}")));
        Self {
            client: plain("client"),
            wrong: plain("wrong"),
            basic: rich("basic"),
            admin_password: rich("administrator"),
            sign: rich("sign"),
            payload: rich("payload"),
            payload_filed: rich("payload-of-a-file"),
            fixed: rich("fixed"),
            filed: rich("fixed-of-a-file"),
            oauth: rich("client-secret"),
            cookie: plain("cookie"),
            query: plain("query"),
            broken: plain("broken-file"),
            access: three("access"),
            refresh: three("refresh"),
        }
    }

    /// What a token file says.
    pub fn token(&self, index: usize, provider: &str) -> Value {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
        json!({
            "provider": provider,
            "access_token": self.access[index],
            "refresh_token": self.refresh[index],
            "obtained_at": now - 60,
            "expires_at": now + 3600,
        })
    }

    /// What an upstream must have seen, or nothing was tested.
    pub fn sent_upstream(&self) -> Vec<(&'static str, &str)> {
        let mut sent = vec![("payload", &self.payload), ("payload of a file", &self.payload_filed)];
        sent.extend([("fixed secret", &self.fixed), ("fixed secret of a file", &self.filed)]);
        sent.extend(self.access.iter().map(|token| ("access token", token)));
        sent.into_iter().map(|(slot, secret)| (slot, secret.as_str())).collect()
    }

    /// All of them, by slot.
    pub fn all(&self) -> Vec<(&'static str, &str)> {
        let mut all = self.sent_upstream();
        all.extend(self.refresh.iter().map(|token| ("refresh token", token.as_str())));
        all.extend([
            ("client token", self.client.as_str()),
            ("wrong token", &self.wrong),
            ("password", &self.basic),
            ("administrator's password", &self.admin_password),
            ("sign token", &self.sign),
            ("client secret", &self.oauth),
            ("cookie", &self.cookie),
            ("query", &self.query),
            ("broken token file", &self.broken),
        ]);
        all
    }
}

/// A text in which a secret is recognized.
pub struct Form {
    pub text: String,
    /// Base64 means something else in another case.
    pub exact: bool,
}

/// As it is, in hex, percent-encoded as addresses and as forms do, in base64 wherever in a longer text it stands.
pub fn forms(secret: &str) -> Vec<Form> {
    let any_case = |text: String| Form { text: text.to_ascii_lowercase(), exact: false };
    let percent = |kept: &[u8]| -> String {
        let encode = |byte: u8| {
            if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02x}")
            }
        };
        secret.bytes().map(encode).collect()
    };
    let mut forms: Vec<Form> = [
        secret.to_owned(),
        hex::encode(secret),
        percent(b"-._~"),
        percent(b"-._"),
        percent(b"*-. ").replace(' ', "+"),
        percent(b"-._ ").replace(' ', "+"),
        percent(b"/-._~"),
        secret.replace('/', "\\/"),
    ]
    .into_iter()
    .map(any_case)
    .collect();
    // RFC 6749 §2.3.1 percent-encodes before it encodes in base64.
    let escaped =
        percent(b"*-._").replace("%2f", "%2F").replace("%2b", "%2B").replace("%3d", "%3D").replace("%7e", "%7E");
    for engine in [&STANDARD, &URL_SAFE] {
        for text in [secret, &escaped] {
            forms.extend((0..3).map(|before| Form { text: inside(engine, text, before), exact: true }));
        }
    }
    forms
}

/// What base64 makes of it behind so many other bytes: without the digits that it shares with its neighbours.
fn inside(engine: &impl base64::Engine, secret: &str, before: usize) -> String {
    let padded = [vec![0; before], secret.as_bytes().to_vec()].concat();
    let digits = engine.encode(&padded);
    digits[(before * 8).div_ceil(6)..padded.len() * 8 / 6].to_owned()
}

/// `Basic …`
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// A line of a users file.
pub fn htpasswd(user: &str, password: &str) -> String {
    let made = std::process::Command::new("htpasswd").args(["-nbB", "-C", "5", user, password]).output();
    String::from_utf8(made.expect("htpasswd").stdout).expect("a line")
}
