//! What the pages are made with beside HTML: one style sheet, one module, one icon, all part of the binary.
//!
//! Each is fetched under an address that has a digest of its content in it, so that browsers may keep it for a year and
//! still never mix two versions.

use axum::body::Body;
use axum::extract::{Path, RawQuery};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::super::answer::{Problem, typed};

/// One file.
#[derive(Debug)]
pub struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    digest: u64,
}

/// How everything looks.
pub const STYLE: Asset =
    Asset::new("dashboard.css", "text/css; charset=utf-8", include_bytes!("../assets/dashboard.css"));

/// What is nicer with JavaScript.
pub const MODULE: Asset =
    Asset::new("dashboard.js", "text/javascript; charset=utf-8", include_bytes!("../assets/dashboard.js"));

/// Two ticks.
pub const ICON: Asset = Asset::new("icon.svg", "image/svg+xml", include_bytes!("../assets/icon.svg"));

const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

impl Asset {
    const fn new(name: &'static str, kind: &'static str, bytes: &'static [u8]) -> Self {
        Self { name, kind, bytes, digest: fnv(bytes) }
    }

    /// Where it is fetched.
    pub fn address(&self) -> String {
        format!("/dashboard/assets/{}?v={:016x}", self.name, self.digest)
    }
}

/// FNV-1a: tells versions of one file apart; nobody gains by a collision.
const fn fnv(bytes: &[u8]) -> u64 {
    let (mut digest, mut rest) = (0xcbf2_9ce4_8422_2325u64, bytes);
    while let [first, after @ ..] = rest {
        digest = (digest ^ *first as u64).wrapping_mul(0x0000_0100_0000_01b3);
        rest = after;
    }
    digest
}

/// `GET /dashboard/assets/{name}`: to be kept under its own address alone.
pub async fn serve(Path(name): Path<String>, RawQuery(query): RawQuery) -> Response {
    let Some(asset) = [STYLE, MODULE, ICON].into_iter().find(|asset| asset.name == name) else {
        return Problem::new(StatusCode::NOT_FOUND, "not_found", "there is no such asset").into_response();
    };
    let mut response = typed(StatusCode::OK, asset.kind, Body::from(asset.bytes));
    if query.is_some_and(|query| asset.address().ends_with(&format!("?{query}"))) {
        response.headers_mut().insert(header::CACHE_CONTROL, FOREVER);
    }
    response
}
