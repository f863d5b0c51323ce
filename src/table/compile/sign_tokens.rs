//! A sign token that was kept for a route and is gone all at once, index and all, is missed by the running process: it does not
//! go on without it.

use std::collections::HashSet;

use ahash::RandomState;

use crate::config::Model;
use crate::config::model::{Sign, SignScheme};
use crate::diagnostic::Diagnostic;
use crate::sign_token::{Home, RouteName};

use super::super::{Route, Table};

/// Reports routes that had a kept token and have none now, although nobody removed it.
pub(super) fn report_lost(model: &Model, previous: Option<&Table>, problems: &mut Vec<Diagnostic>) {
    let had: HashSet<Key<'_>, RandomState> = previous
        .iter()
        .flat_map(|table| &table.routes)
        .filter(|route| is_kept(route))
        .map(|it| key(it.written_name()))
        .collect();
    if had.is_empty() {
        return;
    }
    for project in &model.projects {
        for environment in &project.environments {
            for route in &environment.routes {
                let name = RouteName { project: &project.name, environment: &environment.name, prefix: &route.prefix };
                if let Some(sign) = route.sign.as_ref().filter(|sign| is_bare(sign) && had.contains(&key(name))) {
                    let message = "the sign token that is kept for this route is gone from the state directory";
                    let hint =
                        "bring `sign-tokens` back, or remove the token through the admin API if it is meant to go";
                    problems.push(Diagnostic::error("sign_token_missing", sign.at, message).hint(hint));
                }
            }
        }
    }
}

/// Whether it signs without a token, and nobody has said that it should.
fn is_bare(sign: &Sign) -> bool {
    sign.scheme != SignScheme::None && sign.token.is_none() && sign.tokens.home == Home::Nowhere
}

type Key<'k> = (&'k str, &'k str, &'k str);

fn key(name: RouteName<'_>) -> Key<'_> {
    (name.project, name.environment, name.prefix)
}

fn is_kept(route: &Route) -> bool {
    route.sign.as_ref().is_some_and(|sign| *sign.home() == Home::Kept)
}
