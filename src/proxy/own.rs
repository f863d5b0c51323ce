//! What the edge answers by itself below `/.countersign/`: one place that knows which page is whose.

use std::sync::Arc;

use pingora_core::Result;

use super::engine::Shared;
use super::gateway::internal;
use super::respond::Answer;
use crate::policy::request_gate::{Canonical, RequestView};
use crate::table::Table;
use crate::table::decide::OwnRequest;
use crate::table::own::Page;

/// Answers. The decision has made sure that the project has the page.
///
/// # Errors
/// There is no such page after all, or its answer cannot be built.
#[allow(clippy::unused_async, reason = "a log-in asks its issuer")]
pub async fn answer(
    _shared: &Arc<Shared>,
    _table: &Arc<Table>,
    _request: &RequestView<'_>,
    _canonical: &Canonical<'_>,
    asked: &OwnRequest,
) -> Result<Answer> {
    match asked.page {
        Page::Client | Page::ClientTypes | Page::Routes | Page::Local | Page::LocalScript | Page::LocalStyle => {
            Err(internal())
        }
        Page::Environment => Err(internal()),
        Page::OidcLogin | Page::OidcCallback | Page::OidcLogout => Err(internal()),
    }
}
