//! Limits, CORS and pages: from what was written to what decides.

use std::path::Path;
use std::sync::Arc;

use http::{HeaderValue, Method};

use crate::config::model::{self, Origins, Per};
use crate::diagnostic::{Diagnostic, Spanned};
use crate::policy::cors::{self, Cors, Origin};
use crate::policy::limit::{Ledger, Limits, Quota, Rules, Scope};
use crate::policy::page::{Page, Pages};

use super::super::decide::allowed_methods;

/// The environment in which not just anybody's pages may call.
const PRODUCTION: &str = "production";
/// A page is read into memory, and sent with every error.
const LARGEST_PAGE: usize = 256 << 10;

/// The limits of the route that project, environment and prefix name.
pub(super) fn limits(ledger: &Arc<Ledger>, name: (&str, &str, &str), written: &model::Limits) -> Box<Limits> {
    let scope = match written.per {
        Per::Client => Scope::Client,
        Per::Address => Scope::Address,
        Per::Route => Scope::Route,
    };
    let quota = written.requests.map(|rate| Quota::new(rate.count, rate.period, written.burst));
    let rules = Rules { quota, concurrent: written.concurrent, body: written.body };
    Box::new(Limits::new(ledger, name, scope, rules))
}

/// What a route tells browsers.
pub(super) fn cors(
    written: &model::Cors,
    methods: Option<&[Method]>,
    environment: &str,
    problems: &mut Vec<Diagnostic>,
) -> Arc<Cors> {
    if written.origins == Origins::Any && environment == PRODUCTION {
        let message = "`origins: any` lets every page of the web read what this route answers";
        let hint = "list the origins; `any` is for `local` and for environments of your own";
        problems.push(Diagnostic::error("any_origin_in_production", written.at, message).hint(hint));
    }
    let origins = match &written.origins {
        Origins::Any => cors::Origins::Any,
        Origins::These(these) => cors::Origins::These(these.iter().map(|one| origin(one)).collect()),
    };
    let expose: Vec<&str> = written.expose.iter().map(http::HeaderName::as_str).collect();
    Arc::new(Cors {
        origins,
        max_age: HeaderValue::from(written.max_age.as_secs()),
        credentials: written.credentials,
        expose: if expose.is_empty() { None } else { HeaderValue::try_from(expose.join(", ")).ok() },
        methods: methods.map(allowed_methods),
    })
}

fn origin(text: &str) -> Origin {
    match text.split_once("://*") {
        Some((scheme, suffix)) => Origin::Below { scheme: format!("{scheme}://").into(), suffix: suffix.into() },
        None => Origin::Exact(text.into()),
    }
}

/// A project's pages, read from their files; `None`: it has none.
pub(super) fn pages(written: &model::Pages, problems: &mut Vec<Diagnostic>) -> Option<Arc<Pages>> {
    let mut pages = Vec::with_capacity(written.by_status.len());
    for ((first, last), file) in &written.by_status {
        match read(&file.value) {
            Ok(html) => pages.push((*first..=*last, Page::new(&html))),
            Err(why) => problems.push(unusable(file, &why)),
        }
    }
    if pages.is_empty() { None } else { Some(Arc::new(Pages::new(pages))) }
}

fn unusable(file: &Spanned<std::path::PathBuf>, why: &PageError) -> Diagnostic {
    let message = format!("the page `{}` cannot be used: {why}", file.value.display());
    Diagnostic::error("unusable_page", file.at, message)
}

/// Why a file cannot be a page.
#[derive(Debug, thiserror::Error)]
enum PageError {
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    #[error("it is larger than {} KiB", LARGEST_PAGE >> 10)]
    TooLarge,
    #[error("it is not UTF-8")]
    NotText,
}

fn read(path: &Path) -> Result<String, PageError> {
    let bytes = crate::config::read_limited(path, LARGEST_PAGE)?;
    if bytes.len() > LARGEST_PAGE {
        return Err(PageError::TooLarge);
    }
    String::from_utf8(bytes).map_err(|_| PageError::NotText)
}
