//! What a route does to header fields: edits, payload, the six signature names; each name has one owner.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::config::model::{Auth, HeaderEdits, Route, SignDefaults, SignScheme};
use crate::diagnostic::{Diagnostic, Pos, Spanned};
use crate::policy::sign;
use crate::policy::template::{self, Template, TemplateError, Variable, Written};
use crate::secret::Secret;

use super::super::rewrite::{SIGNATURE, SIGNATURE_INPUT, is_of_the_connection, reads_as};
use super::super::route::{Edits, Filled, Mode, SignNames};

/// Field names that no signature prefix may cover: the edge or HTTP itself needs them.
const COMMON: [&str; 12] = [
    "host",
    "content-type",
    "content-length",
    "transfer-encoding",
    "connection",
    "authorization",
    "cookie",
    "accept-encoding",
    "x-forwarded-for",
    "x-real-ip",
    "x-request-id",
    "x-api-key",
];

/// The prefix in family form, and the six names under it.
pub(super) fn sign_names(
    defaults: &SignDefaults,
    project: &Spanned<String>,
    app_id: &str,
    problems: &mut Vec<Diagnostic>,
) -> Option<(Arc<str>, Arc<SignNames>)> {
    let prefix = defaults.header_prefix.to_ascii_lowercase();
    let family = prefix.replace(['_', '.'], "-");
    let covered = COMMON.iter().find(|name| name.starts_with(&family));
    let name = |rest: &str| HeaderName::try_from(format!("{prefix}{rest}")).ok();
    let names = covered.is_none().then_some(()).filter(|()| is_beginning(&family)).and_then(|()| {
        Some((name("user")?, name("username")?, name("stamp")?, name("appid")?, name("project")?, name("sign")?))
    });
    let Some((user, username, stamp, appid, project_name, sign)) = names else {
        problems.push(bad_prefix(&defaults.header_prefix, covered.copied()));
        return None;
    };
    let project_value = value(project, "the project's name", project.at, problems)?;
    let appid_value = value(app_id, "`app_id`", project.at, problems)?;
    let names = SignNames {
        prefix: prefix.into(),
        user,
        username,
        stamp,
        appid,
        project: project_name,
        sign,
        project_value,
        appid_value,
    };
    Some((family.into(), Arc::new(names)))
}

fn is_beginning(family: &str) -> bool {
    family.ends_with('-') && family.starts_with(|first: char| first.is_ascii_alphanumeric())
}

fn bad_prefix(prefix: &Spanned<String>, covered: Option<&str>) -> Diagnostic {
    let message = match covered {
        Some(name) => format!("the prefix `{}` covers `{name}`", **prefix),
        None => format!("`{}` cannot begin a header name", **prefix),
    };
    Diagnostic::error("invalid_header", prefix.at, message)
        .hint("use letters, digits and hyphens, with a hyphen at the end, such as `x-kms-`")
}

fn value(text: &str, what: &str, at: Pos, problems: &mut Vec<Diagnostic>) -> Option<HeaderValue> {
    if text.bytes().all(|byte| (0x21..0x7f).contains(&byte)) {
        return HeaderValue::from_str(text).ok();
    }
    let message = format!("{what} travels in a header and may hold visible ASCII only");
    problems.push(Diagnostic::error("invalid_header", at, message));
    None
}

/// The payload as headers; values that are empty are left out.
pub(super) fn payload(
    written: &[(Spanned<HeaderName>, Secret)],
    problems: &mut Vec<Diagnostic>,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut payload = Vec::with_capacity(written.len());
    for (name, secret) in written.iter().filter(|(_, secret)| !secret.is_empty()) {
        match HeaderValue::from_bytes(secret.expose().as_bytes()) {
            Ok(mut value) => {
                value.set_sensitive(true);
                payload.push((name.value.clone(), value));
            }
            Err(_) => {
                let message = format!("the value of `{}` holds a character that no header may carry", **name);
                let hint = "look for a line end inside the value";
                problems.push(Diagnostic::error("invalid_header", name.at, message).hint(hint));
            }
        }
    }
    payload
}

/// Which direction edits are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Towards the upstream.
    Request,
    /// Towards the client.
    Response,
}

/// Compiles the edits of one direction.
pub(super) fn edits(written: &HeaderEdits, way: Way, problems: &mut Vec<Diagnostic>) -> Edits {
    let set = written.set.iter().map(|(name, value)| (Mode::Set, name, value));
    let add = written.add.iter().map(|(name, value)| (Mode::Add, name, value));
    let mut read = Vec::with_capacity(written.set.len() + written.add.len());
    for (mode, name, value) in set.chain(add) {
        match template::read(value) {
            Ok(Written::Template(template)) if way == Way::Request && template.names(Variable::UpstreamStatus) => {
                problems.push(too_early(name));
            }
            Ok(value) => read.push((mode, &name.value, value)),
            Err(error) => problems.push(not_a_value(name, &error)),
        }
    }
    let mut edits =
        Edits { remove: written.remove.iter().map(|name| name.value.clone()).collect(), ..Edits::default() };
    let is_filled = |wanted: &HeaderName| {
        read.iter().any(|(_, name, value)| *name == wanted && matches!(value, Written::Template(_)))
    };
    for (mode, name, value) in &read {
        let name = (*name).clone();
        match (mode, value) {
            (_, Written::Template(value)) => edits.filled.push(Filled { name, mode: *mode, value: value.clone() }),
            // What is said of one name stays in the order in which it was said.
            (_, Written::Fixed(value)) if is_filled(&name) => {
                edits.filled.push(Filled { name, mode: *mode, value: Template::fixed(value) });
            }
            (Mode::Set, Written::Fixed(value)) => edits.set.push((name, value.clone())),
            (Mode::Add, Written::Fixed(value)) => edits.add.push((name, value.clone())),
        }
    }
    edits
}

fn too_early(name: &Spanned<HeaderName>) -> Diagnostic {
    let message = format!("`{{upstream_status}}` in the request's `{}`: nobody has answered yet", **name);
    Diagnostic::error("unknown_variable", name.at, message).hint("it can be used in headers of the response")
}

/// The value itself is not shown: it may be a secret.
fn not_a_value(name: &Spanned<HeaderName>, error: &TemplateError) -> Diagnostic {
    let message = format!("the value of `{}`: {error}", **name);
    let hint = match error {
        TemplateError::Unknown(_) => {
            format!(
                "the variables are {}; for a brace itself write it twice",
                template::names().collect::<Vec<_>>().join(", ")
            )
        }
        TemplateError::Brace => "for a brace itself write it twice: `{{` and `}}`".to_owned(),
    };
    Diagnostic::error("unknown_variable", name.at, message).hint(hint)
}

/// Whether there is nothing to do.
pub(super) fn is_empty(written: &HeaderEdits) -> bool {
    written.set.is_empty() && written.add.is_empty() && written.remove.is_empty()
}

/// The names that must not survive from the client, in family form; those of the family itself go anyway.
pub(super) fn injected(route: &Route, carried: Option<Carried<'_>>, family: &str) -> Vec<Box<str>> {
    let set = route.request_headers.set.iter().map(|(name, _)| name);
    let payload = route.payload.iter().filter(|(_, secret)| !secret.is_empty()).map(|(name, _)| name);
    let carried = carried.map(|carried| carried.header);
    let message = route.sign.as_ref().filter(|sign| sign.scheme == SignScheme::Rfc9421);
    let message = message.into_iter().flat_map(|_| [in_family_form(&SIGNATURE_INPUT), in_family_form(&SIGNATURE)]);
    let names = set.chain(payload).chain(carried).map(|name| in_family_form(name)).chain(message);
    names.filter(|name| !sign::in_family(name, family)).map(String::into_boxed_str).collect()
}

/// As it is compared: whoever reads `_` or `.` as `-` reads the same name.
pub(super) fn in_family_form(name: &HeaderName) -> String {
    name.as_str().replace(['_', '.'], "-")
}

/// Whether a route sets a header that is a credential by its name.
pub(super) fn sets_a_credential(edits: &HeaderEdits) -> bool {
    let mut named = edits.set.iter().chain(&edits.add).map(|(name, _)| name.as_str());
    named.any(|name| matches!(name, "authorization" | "proxy-authorization" | "x-api-key" | "cookie"))
}

/// Whether a route says in a header who was authenticated.
pub(super) fn tells_who_calls(route: &Route) -> bool {
    let tells = |value: &HeaderValue| match template::read(value) {
        Ok(Written::Template(template)) => [Variable::User, Variable::Client].into_iter().any(|it| template.names(it)),
        _ => false,
    };
    let edits = &route.request_headers;
    route.auth != Auth::None && edits.set.iter().chain(&edits.add).any(|(_, value)| tells(value))
}

/// The header of a credential, and where the route names that.
#[derive(Clone, Copy)]
pub(super) struct Carried<'w> {
    pub(super) named: &'w Spanned<String>,
    pub(super) header: &'w Spanned<HeaderName>,
}

/// Reports names that the edge itself sets, and names with two owners in spellings that an upstream may read as one.
pub(super) fn check(route: &Route, carried: Option<Carried<'_>>, names: &SignNames, problems: &mut Vec<Diagnostic>) {
    let payload = route.payload.iter().map(|(name, _)| name);
    for name in edited(&route.request_headers).chain(payload).filter(|name| is_reserved(name)) {
        let message = format!("`{}` is not for routes to change: the edge sets it on every request", **name);
        problems.push(Diagnostic::error("reserved_header", name.at, message).hint("choose another name"));
    }
    report_two_owners(route, names, problems);
    if let Some(carried) = carried {
        report_carried(route, carried, names, problems);
    }
}

/// The header of a credential is nobody else's.
fn report_carried(route: &Route, carried: Carried<'_>, names: &SignNames, problems: &mut Vec<Diagnostic>) {
    let Carried { named, header } = carried;
    if is_reserved(header) {
        let message = format!("`{}` is not for credentials to carry: the edge sets it on every request", **header);
        problems.push(Diagnostic::error("reserved_header", header.at, message).hint("choose another name"));
    }
    if six(names).into_iter().any(|six| reads_as(six.as_str(), header.as_str())) {
        let message = format!("credential `{}` is carried by `{}`, a header of the signature", **named, **header);
        let problem = Diagnostic::error("reserved_header", named.at, message).hint("choose another header for it");
        problems.push(problem.related(header.at, "the credential's header"));
    }
    let others = route.payload.iter().map(|(name, _)| name).chain(edited(&route.request_headers));
    for other in others.filter(|other| reads_as(other.as_str(), header.as_str())) {
        let message =
            format!("`{}` carries credential `{}`, and is in the payload, set or removed here", **other, **named);
        let problem = Diagnostic::error("duplicate_header", other.at, message);
        problems.push(
            problem.hint("let one place own the name; `_` counts as `-`").related(header.at, "the credential's header"),
        );
    }
}

fn six(names: &SignNames) -> [&HeaderName; 6] {
    [&names.user, &names.username, &names.stamp, &names.appid, &names.project, &names.sign]
}

fn is_reserved(name: &HeaderName) -> bool {
    let rebuilt = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "x-request-id"];
    rebuilt.iter().any(|reserved| reads_as(name.as_str(), reserved)) || is_of_the_connection(name.as_str())
}

fn report_two_owners(route: &Route, names: &SignNames, problems: &mut Vec<Diagnostic>) {
    let six = six(names);
    for (index, (name, _)) in route.payload.iter().enumerate() {
        if six.iter().any(|six| reads_as(six.as_str(), name.as_str())) {
            let message = format!("`{}` is one of the signature's headers", **name);
            problems.push(Diagnostic::error("reserved_header", name.at, message).hint("choose another name"));
        }
        let earlier = route.payload.iter().take(index).map(|(name, _)| name);
        let mut others = earlier.chain(edited(&route.request_headers));
        if let Some(other) = others.find(|other| reads_as(other.as_str(), name.as_str())) {
            let message = format!("`{}` is in the payload, and set or removed elsewhere", **name);
            let problem = Diagnostic::error("duplicate_header", name.at, message);
            problems
                .push(problem.hint("let one place own the name; `_` counts as `-`").related(other.at, "here as well"));
        }
    }
}

fn edited(edits: &HeaderEdits) -> impl Iterator<Item = &Spanned<HeaderName>> {
    edits.set.iter().chain(&edits.add).map(|(name, _)| name).chain(&edits.remove)
}
