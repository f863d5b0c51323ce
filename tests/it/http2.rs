//! HTTP/2 towards clients: the cases of an edge as rows, conformance with RFC 9113 frame by frame, streams and their clocks,
//! floods, and real clients. In the clear by prior knowledge; what differs over TLS is tested with TLS.

use std::sync::Arc;

use crate::support::shared::Shared;
use crate::support::{Config, Edge, Origin};

mod cases;
mod conformance;
mod connections;
mod floods;
mod peers;
mod streams;

pub struct Rig {
    pub origin: Origin,
    pub edge: Edge,
}

const ROUTES: &str = r#"
    - { prefix: /, upstream: "http://{origin}", auth: none }
    - { prefix: /a0, upstream: "http://{origin}/api", auth: none, sign: { scheme: user-stamp, token: "${SIGN_TOKEN}" } }
    - { prefix: /local, respond: { status: 200, body: "hello" }, auth: none }
    - { prefix: /short, upstream: "http://{origin}/short", auth: none, timeouts: { first_byte: 1s, idle: 1s, send: 1s } }
"#;

/// An edge with those routes, whose listener speaks HTTP/2 in the clear.
pub fn config(origin: &Origin) -> Config {
    let config = Config::routes(ROUTES).origin(origin).listener("h2c: true");
    config.environment("SIGN_TOKEN", "0123456789-0123456789-0123456789-abc")
}

/// One rig for everything that leaves it as it was.
pub fn rig() -> Arc<Rig> {
    static SHARED: Shared<Rig> = Shared::new();
    SHARED.get(fresh)
}

/// A rig of one's own.
pub fn fresh() -> Rig {
    let origin = Origin::start();
    let edge = config(&origin).start();
    Rig { origin, edge }
}
