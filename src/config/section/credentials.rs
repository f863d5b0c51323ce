//! `credentials`: what routes put on their upstream requests.

use std::time::Duration;

use http::HeaderName;
use http::header::AUTHORIZATION;

use crate::config::address;
use crate::config::decoder::Decoder;
use crate::config::fields::{Fields, Shape};
use crate::config::header;
use crate::config::model::{Credential, CredentialSource, UseTokens};
use crate::config::tree::{Entry, Node};
use crate::config::value::{self, Problem, shown, word};
use crate::diagnostic::{Diagnostic, Pos, Spanned};
use crate::secret::Secret;

const CREDENTIAL: Shape = Shape {
    what: "a credential",
    keys: &["provider", "secret", "use", "inject", "refresh_before", "rest_after_429", "hosts"],
};

const INJECT: Shape = Shape { what: "`inject`", keys: &["header", "value"] };

/// Keys that only mean something for tokens of a provider.
const OF_TOKENS: &[&str] = &["use", "refresh_before", "rest_after_429"];

const USES: &[(&str, UseTokens)] =
    &[("in_order", UseTokens::InOrder), ("round_robin", UseTokens::RoundRobin), ("least_used", UseTokens::LeastUsed)];

/// Stands for the token.
const TOKEN: &str = "{token}";

/// Decodes one entry of the section.
pub fn decode(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>) -> Option<Credential> {
    let name = decoder.key(entry, value::name);
    let fields = decoder.fields(&entry.value, &CREDENTIAL)?;
    let source = source(decoder, &fields, entry.at);
    let hosts = fields.get("hosts").and_then(|node| decoder.spanned_values(node, address::host)).unwrap_or_default();
    let (header, value) = inject(decoder, &fields, entry.at)?;
    let source = source?;
    if let CredentialSource::Secret(secret) = &source {
        check_secret(decoder, secret, &value);
    }
    Some(Credential { name: name?, source, header, value, hosts, at: entry.at })
}

fn source(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>, at: Pos) -> Option<CredentialSource> {
    match (fields.entry("provider"), fields.entry("secret")) {
        (Some(entry), None) => pool(decoder, fields, &entry.value),
        (None, Some(entry)) => {
            check_useless(decoder, fields);
            decoder.secret(&entry.value).map(CredentialSource::Secret)
        }
        (Some(first), Some(second)) => {
            decoder.mask_value(&second.value);
            decoder.note(
                Diagnostic::error("conflicting_keys", second.at, "a credential comes from one place")
                    .hint("give either `provider` or `secret`")
                    .related(first.at, "the other is here"),
            );
            None
        }
        (None, None) if fields.is_meant(&["provider", "secret"]) => None,
        (None, None) => {
            let message = "the credential comes from nowhere";
            let hint = "give `provider` (every token of it is used), or `secret`";
            decoder.note(Diagnostic::error("missing_key", at, message).hint(hint));
            None
        }
    }
}

fn pool(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>, provider: &Node<'_>) -> Option<CredentialSource> {
    let provider = decoder.spanned(provider, value::name);
    let choice = fields.get("use").and_then(|node| decoder.parsed(node, |text| word(text, USES)));
    let mut time = |key: &str, default: u64| {
        let written = fields.get(key).and_then(|node| decoder.parsed(node, value::positive_duration));
        written.unwrap_or(Duration::from_secs(default))
    };
    let (refresh_before, rest_after_429) = (time("refresh_before", 300), time("rest_after_429", 60));
    let choice = choice.unwrap_or_default();
    Some(CredentialSource::Provider { provider: provider?, choice, refresh_before, rest_after_429 })
}

fn check_useless(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>) {
    for entry in OF_TOKENS.iter().filter_map(|key| fields.entry(key)) {
        let message = format!("{} has no effect beside `secret`", shown(&entry.key));
        let hint = "a secret is one, and is never refreshed; remove it";
        decoder.note(Diagnostic::error("useless_key", entry.at, message).hint(hint));
    }
}

/// Which header carries it, and how: `authorization: Bearer …` for tokens, where nothing else is written.
fn inject(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_, '_>,
    at: Pos,
) -> Option<(Spanned<HeaderName>, Spanned<String>)> {
    let written = fields.entry("inject");
    let place = written.map_or(at, |entry| entry.at);
    let inject = match written {
        Some(entry) => Some(decoder.fields(&entry.value, &INJECT)?),
        None => None,
    };
    let header = match inject.as_ref().and_then(|inject| inject.get("header")) {
        Some(node) => decoder.spanned(node, header::editable)?,
        None => default_header(decoder, fields, inject.as_ref(), place)?,
    };
    let value = match inject.as_ref().and_then(|inject| inject.get("value")) {
        Some(node) => decoder.spanned(node, with_token)?,
        None if header.value == AUTHORIZATION => Spanned::new(format!("Bearer {TOKEN}"), header.at),
        None => Spanned::new(TOKEN.to_owned(), header.at),
    };
    Some((header, value))
}

/// A secret has no header that goes without saying.
fn default_header(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_, '_>,
    inject: Option<&Fields<'_, '_>>,
    at: Pos,
) -> Option<Spanned<HeaderName>> {
    if fields.get("secret").is_none() || fields.get("provider").is_some() {
        return Some(Spanned::new(AUTHORIZATION, at));
    }
    if !inject.is_some_and(|inject| inject.is_meant(&["header"])) && !fields.is_meant(&["inject"]) {
        let message = "no header is named that carries the secret";
        let hint = "write inject: { header: x-api-key, value: \"{token}\" }";
        decoder.note(Diagnostic::error("missing_key", at, message).hint(hint));
    }
    None
}

/// A header value that holds `{token}` once, and no other braces.
fn with_token(text: &str) -> Result<String, Problem> {
    let problem = |clause: &str| Problem::says("invalid_credential_value", clause);
    match text.matches(TOKEN).count() {
        0 => {
            return Err(
                problem("does not say where the token goes").hint("write {token} once, such as \"Bearer {token}\"")
            );
        }
        1 => {}
        _ => return Err(problem("has {token} more than once").hint("write it once, such as \"Bearer {token}\"")),
    }
    if text.replace(TOKEN, "").contains(['{', '}']) {
        return Err(problem("has a placeholder that does not exist").hint("there is {token} alone"));
    }
    header::value(&text.replace(TOKEN, "x"))?;
    if !text.is_ascii() {
        return Err(Problem::says("invalid_header", "has a character that is not ASCII"));
    }
    Ok(text.to_owned())
}

/// What a header has to carry.
fn check_secret(decoder: &mut Decoder<'_, '_>, secret: &Spanned<Secret>, value: &str) {
    if secret.is_empty() {
        let hint = "look at the variable or file that it comes from: a request without its credential is never sent";
        return decoder.note(Diagnostic::error("empty_secret", secret.at, "the secret is empty").hint(hint));
    }
    let whole = zeroize::Zeroizing::new(value.replace(TOKEN, secret.expose()));
    let plain = whole.is_ascii();
    if let Some(clause) =
        header::value(&whole).err().map(|problem| problem.clause).or((!plain).then(|| NOT_ASCII.to_owned()))
    {
        let message = format!("the value that the secret makes {clause}");
        decoder.note(Diagnostic::error("invalid_header", secret.at, message));
    }
}

const NOT_ASCII: &str = "has a character that is not ASCII";
