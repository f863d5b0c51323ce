//! `providers`: OAuth servers, each of exactly one kind.

use url::Url;

use crate::config::decoder::Decoder;
use crate::config::fields::{Fields, Shape};
use crate::config::model::{AwsSsoOidc, ClientCredentials, OAuth2, Provider, ProviderKind};
use crate::config::tree::Entry;
use crate::config::value::{self, Problem, shown};
use crate::config::web_url;
use crate::diagnostic::{Diagnostic, Pos, Spanned};
use crate::secret::Secret;

const PROVIDER: Shape = Shape { what: "a provider", keys: &["oauth2", "aws_sso_oidc", "client_credentials", "ca"] };

const OAUTH2: Shape = Shape {
    what: "`oauth2`",
    keys: &[
        "authorization_url",
        "token_url",
        "device_authorization_url",
        "client_id",
        "client_secret",
        "scopes",
        "redirect_url",
        "issuer",
    ],
};

const AWS: Shape = Shape {
    what: "`aws_sso_oidc`",
    keys: &["region", "start_url", "scopes", "scope_parameter", "scope_separator", "endpoint", "redirect_url"],
};

const CLIENT_CREDENTIALS: Shape =
    Shape { what: "`client_credentials`", keys: &["token_url", "client_id", "client_secret", "scopes"] };

/// A provider is one of these.
const KINDS: &[&str] = &["oauth2", "aws_sso_oidc", "client_credentials"];

/// Decodes one entry of the section.
pub fn decode(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>) -> Option<Provider> {
    let name = decoder.key(entry, value::name);
    let fields = decoder.fields(&entry.value, &PROVIDER)?;
    let ca = fields.get("ca").and_then(|node| decoder.path(node)).flatten();
    if let Some(ca) = &ca {
        decoder.depends_on_file(&ca.value);
    }
    let kind = kind(decoder, &fields, entry.at)?;
    Some(Provider { name: name?, kind, ca, at: entry.at })
}

fn kind(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>, at: Pos) -> Option<ProviderKind> {
    let given: Vec<_> = KINDS.iter().filter_map(|key| fields.entry(key)).collect();
    match given.as_slice() {
        [entry] => match &*entry.key {
            "oauth2" => oauth2(decoder, entry).map(ProviderKind::OAuth2),
            "aws_sso_oidc" => aws(decoder, entry).map(ProviderKind::AwsSsoOidc),
            _ => client_credentials(decoder, entry).map(ProviderKind::ClientCredentials),
        },
        [] if fields.is_meant(KINDS) => None,
        [] => {
            let hint = "give it `oauth2`, `aws_sso_oidc` or `client_credentials`";
            decoder.note(Diagnostic::error("missing_key", at, "the provider has no kind").hint(hint));
            None
        }
        [first, second, ..] => {
            let message = format!("{} and {} in one provider", shown(&first.key), shown(&second.key));
            decoder.note(
                Diagnostic::error("conflicting_keys", second.at, message)
                    .hint("a provider speaks one of them; make two providers")
                    .related(first.at, "the other is here"),
            );
            None
        }
    }
}

fn oauth2(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>) -> Option<OAuth2> {
    let fields = decoder.fields(&entry.value, &OAUTH2)?;
    let at = entry.at;
    let authorization_url = required_url(decoder, &fields, "authorization_url", at);
    let token_url = required_url(decoder, &fields, "token_url", at);
    let device_authorization_url = optional_url(decoder, &fields, "device_authorization_url", web_url::https);
    let redirect_url = optional_url(decoder, &fields, "redirect_url", redirect);
    let client_id = required_text(decoder, &fields, "client_id", at);
    // Empty: a public client.
    let client_secret = fields.get("client_secret").and_then(|node| decoder.secret(node));
    let scopes = scopes(decoder, &fields);
    let issuer = fields.get("issuer").and_then(|node| decoder.optional(node, issuer));
    Some(OAuth2 {
        authorization_url: authorization_url?,
        token_url: token_url?,
        device_authorization_url,
        client_id: client_id?,
        client_secret: client_secret.filter(|secret| !secret.is_empty()).map(|secret| secret.value),
        scopes,
        redirect_url,
        issuer,
    })
}

fn aws(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>) -> Option<AwsSsoOidc> {
    let fields = decoder.fields(&entry.value, &AWS)?;
    let region = decoder.required(&fields, "region", entry.at).and_then(|node| decoder.spanned(node, region));
    let start_url = decoder.required(&fields, "start_url", entry.at);
    let start_url = start_url.and_then(|node| decoder.parsed(node, start_url_text));
    let endpoint = optional_url(decoder, &fields, "endpoint", web_url::https);
    let redirect_url = optional_url(decoder, &fields, "redirect_url", redirect);
    let scopes = scopes(decoder, &fields);
    let scope_parameter = fields.get("scope_parameter").and_then(|node| decoder.parsed(node, parameter));
    let scope_separator = fields.get("scope_separator").and_then(|node| decoder.parsed(node, separator));
    let region = region?;
    Some(AwsSsoOidc {
        endpoint: endpoint.or_else(|| default_endpoint(&region))?,
        region: region.value,
        start_url: start_url?,
        scopes,
        scope_parameter: scope_parameter.unwrap_or_else(|| "scope".to_owned()),
        scope_separator: scope_separator.unwrap_or_else(|| " ".to_owned()),
        redirect_url,
    })
}

/// Where AWS answers for a region, unless the configuration says otherwise.
fn default_endpoint(region: &Spanned<String>) -> Option<Spanned<Url>> {
    let url = Url::parse(&format!("https://oidc.{}.amazonaws.com", **region)).ok()?;
    Some(Spanned::new(url, region.at))
}

fn client_credentials(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>) -> Option<ClientCredentials> {
    let fields = decoder.fields(&entry.value, &CLIENT_CREDENTIALS)?;
    let token_url = required_url(decoder, &fields, "token_url", entry.at);
    let client_id = required_text(decoder, &fields, "client_id", entry.at);
    let scopes = scopes(decoder, &fields);
    let client_secret = proof(decoder, &fields, entry.at);
    Some(ClientCredentials { token_url: token_url?, client_id: client_id?, client_secret: client_secret?, scopes })
}

/// The secret without which nobody would get anything.
fn proof(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>, at: Pos) -> Option<Secret> {
    let written = fields.get("client_secret");
    if written.is_none() && fields.is_meant(&["client_secret"]) {
        return None;
    }
    let secret = match written {
        Some(node) => Some(decoder.secret(node)?),
        None => None,
    };
    let at = secret.as_ref().map_or(at, |secret| secret.at);
    let secret = secret.filter(|secret| !secret.is_empty());
    if secret.is_none() {
        let message = "`client_credentials` needs a client secret: nothing else proves who asks";
        let hint = "give it by client_secret: ${VARIABLE}, file:path or credential:NAME";
        decoder.note(Diagnostic::error("missing_key", at, message).hint(hint));
    }
    secret.map(|secret| secret.value)
}

/// A URL without which the mapping means nothing; see [`web_url::https`].
pub fn required_url(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_, '_>,
    key: &str,
    at: Pos,
) -> Option<Spanned<Url>> {
    let node = decoder.required(fields, key, at)?;
    decoder.spanned(node, web_url::https)
}

/// A URL; an empty one stands for none.
pub fn optional_url(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_, '_>,
    key: &str,
    parse: impl FnOnce(&str) -> Result<Url, Problem>,
) -> Option<Spanned<Url>> {
    let node = fields.get(key)?;
    let url = decoder.optional(node, parse)?;
    Some(Spanned::new(url, node.target().at))
}

/// Text without which the mapping means nothing.
pub fn required_text(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>, key: &str, at: Pos) -> Option<String> {
    let node = decoder.required(fields, key, at)?;
    decoder.parsed(node, |text| match text {
        "" => Err(Problem::says("missing_key", format!("cannot be the `{key}`"))),
        text if text.chars().any(char::is_control) => {
            Err(Problem::says("invalid_value", "has a line break or another control character"))
        }
        text => Ok(text.to_owned()),
    })
}

fn scopes(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>) -> Vec<String> {
    fields.get("scopes").and_then(|node| decoder.values(node, scope)).unwrap_or_default()
}

/// One scope (RFC 6749 §3.3).
///
/// # Errors
/// Anything else.
pub fn scope(text: &str) -> Result<String, Problem> {
    let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    if !text.is_empty() && text.bytes().all(fits) {
        return Ok(text.to_owned());
    }
    let problem = Problem::not("invalid_value", "a scope");
    Err(match text.contains(' ') {
        true => problem.hint(format!("write one element for each: [{}]", value::printable(&text.replace(' ', ", ")))),
        false => problem,
    })
}

/// Where a browser comes back to (RFC 6749 §3.1.2: without a fragment).
///
/// # Errors
/// As [`web_url::https`].
pub fn redirect(text: &str) -> Result<Url, Problem> {
    web_url::https(text).map_err(|problem| match problem.code {
        "url_not_https" => problem.hint("write https; plain http may lead to this very machine only (RFC 8252 §7.3)"),
        _ => problem,
    })
}

/// An issuer identifier is compared as it is written (RFC 9207 §2.4).
fn issuer(text: &str) -> Result<String, Problem> {
    web_url::https(text).map(|_| text.to_owned())
}

/// AWS compares it as it is written.
fn start_url_text(text: &str) -> Result<String, Problem> {
    web_url::https(text).map(|_| text.to_owned()).map_err(|problem| match problem.code {
        "invalid_url" => problem.hint("such as https://view.awsapps.com/start, or the AWS access portal's address"),
        _ => problem,
    })
}

/// It becomes part of a host's name.
fn region(text: &str) -> Result<String, Problem> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good =
        (1..=32).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with('-') && !text.ends_with('-');
    if good { Ok(text.to_owned()) } else { Err(Problem::not("invalid_value", "a region").hint("such as us-east-1")) }
}

/// The name of a parameter of a query.
fn parameter(text: &str) -> Result<String, Problem> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if !text.is_empty() && text.bytes().all(fits) {
        return Ok(text.to_owned());
    }
    Err(Problem::not("invalid_value", "the name of a parameter").hint("such as scope or scopes"))
}

fn separator(text: &str) -> Result<String, Problem> {
    if !text.is_empty() && text.len() <= 8 && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err(Problem::not("invalid_value", "a separator").hint("such as \" \" or \",\""))
}
