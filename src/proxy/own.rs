//! What the edge answers by itself below `/.countersign/`: one place that knows which page is whose.

mod browser;
mod environment;

use std::borrow::Cow;
use std::sync::Arc;

use http::header::ALLOW;
use http::{HeaderValue, Method};
use pingora_core::Result;

use super::engine::Shared;
use super::gateway::internal;
use super::respond::Answer;
use crate::policy::request_gate::{Canonical, RequestView};
use crate::table::decide::OwnRequest;
use crate::table::own::Page;
use crate::table::{Refusal, Table};

/// What becomes of a request for one of the edge's own pages.
#[derive(Debug)]
pub enum Reply {
    /// A page.
    Answer(Answer),
    /// An error, in the shape of all of them.
    Refuse(Refusal),
}

/// Answers. The decision has made sure that the project has the page.
///
/// # Errors
/// There is no such page after all, or its answer cannot be built.
#[allow(clippy::unused_async, reason = "a log-in asks its issuer")]
pub async fn answer(
    _shared: &Arc<Shared>,
    table: &Arc<Table>,
    request: &RequestView<'_>,
    canonical: &Canonical<'_>,
    asked: &OwnRequest,
) -> Result<Reply> {
    match asked.page {
        Page::Client | Page::ClientTypes | Page::Routes | Page::Local | Page::LocalScript | Page::LocalStyle => {
            browser::answer(table, request, canonical, asked)
        }
        Page::Environment => environment::answer(table, request, canonical, asked),
        Page::OidcLogin | Page::OidcCallback | Page::OidcLogout => Err(internal()),
    }
}

/// Of a page that is only read: what a request by another method gets.
fn only_read(request: &RequestView<'_>) -> Option<Reply> {
    let reads = matches!(*request.method, Method::GET | Method::HEAD);
    let headers = vec![(ALLOW, HeaderValue::from_static("GET, HEAD"))];
    (!reads).then(|| {
        Reply::Refuse(Refusal { headers, ..refusal(405, "method_not_allowed", "this page is read with GET or HEAD") })
    })
}

fn refusal(status: u16, code: &'static str, message: &'static str) -> Refusal {
    Refusal { status, code, message: Cow::Borrowed(message), headers: Vec::new(), close: false, wrong_token_from: None }
}
