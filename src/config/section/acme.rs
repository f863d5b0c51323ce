//! `acme`: certificates that are obtained and renewed (RFC 8555), by http-01 challenges.

use std::collections::HashMap;
use std::net::IpAddr;

use url::Url;

use crate::config::address;
use crate::config::decoder::Decoder;
use crate::config::fields::{Fields, Shape};
use crate::config::model::Acme;
use crate::config::tree::{Entry, Node};
use crate::config::value::{self, Problem, shown};
use crate::config::web_url;
use crate::diagnostic::{Diagnostic, Pos, Spanned};

const ACME: Shape =
    Shape { what: "`acme`", keys: &["directory", "contact", "hosts", "storage", "challenge", "ca", "renew_before"] };

/// Decodes the section; an empty one asks for nothing.
pub fn decode(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>) -> Option<Acme> {
    if entry.value.is_empty() {
        return None;
    }
    let fields = decoder.fields(&entry.value, &ACME)?;
    let directory = decoder.required(&fields, "directory", entry.at);
    let directory = directory.and_then(|node| decoder.spanned(node, directory_url));
    let hosts = hosts(decoder, &fields, entry.at);
    let contact = fields.get("contact").and_then(|node| decoder.values(node, contact)).unwrap_or_default();
    let storage = fields.get("storage").and_then(|node| decoder.path(node)).flatten().map(|path| path.value);
    let ca = fields.get("ca").and_then(|node| decoder.path(node)).flatten();
    if let Some(ca) = &ca {
        decoder.depends_on_file(&ca.value);
    }
    if let Some(node) = fields.get("challenge") {
        decoder.parsed(node, challenge);
    }
    let renew_before = fields.get("renew_before").and_then(|node| decoder.parsed(node, value::positive_duration));
    Some(Acme { directory: directory?, contact, hosts: hosts?, storage, ca, renew_before, at: entry.at })
}

/// Never empty, and each only once.
fn hosts(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_, '_>, at: Pos) -> Option<Vec<Spanned<String>>> {
    let node: &Node<'_> = decoder.required(fields, "hosts", at)?;
    if node.is_empty() {
        let message = "`acme.hosts` names no host";
        let hint = "list the names to get certificates for, or remove `acme`";
        decoder.note(Diagnostic::error("missing_key", node.target().at, message).hint(hint));
        return None;
    }
    let hosts = decoder.spanned_values(node, host)?;
    let mut first: HashMap<&str, Pos> = HashMap::new();
    for host in &hosts {
        match first.get(host.value.as_str()) {
            Some(earlier) => decoder.note(
                Diagnostic::error("acme_duplicate_host", host.at, format!("{} is listed twice", shown(host)))
                    .hint("remove one of the two: there is one certificate for each host")
                    .related(*earlier, "first listed here"),
            ),
            None => drop(first.insert(&host.value, host.at)),
        }
    }
    Some(hosts)
}

/// RFC 8555 §7.1.1; in the clear only where nobody can listen in.
fn directory_url(text: &str) -> Result<Url, Problem> {
    let problem = |clause: &str| Problem::says("invalid_url", clause);
    let url = Url::parse(text).map_err(|_| {
        problem("is not a URL").hint("write the CA's directory, such as https://acme-v02.api.letsencrypt.org/directory")
    })?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(problem("is not an https URL"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(problem("has a user or a fragment, which a directory has not"));
    }
    if url.scheme() == "http" && !web_url::is_loopback(&url) {
        return Err(Problem::says("acme_not_https", "would be asked in the clear")
            .hint("write https; plain http is accepted for a CA on this very machine only"));
    }
    Ok(url)
}

/// RFC 8555 §7.3: CAs have to support `mailto`, and it is all that they do support.
fn contact(text: &str) -> Result<String, Problem> {
    let problem = || Problem::not("invalid_value", "a contact for the CA");
    match text.strip_prefix("mailto:") {
        Some(address) if is_mailbox(address) => Ok(text.to_owned()),
        None if is_mailbox(text) => Err(problem().hint(format!("write mailto:{}", value::printable(text)))),
        _ => Err(problem().hint("write mailto: and one e-mail address, such as mailto:ops@example.com")),
    }
}

fn is_mailbox(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b',' | b'?' | b'<' | b'>' | b'"'));
    plain && text.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && address::host(domain).is_ok())
}

/// What http-01 can be asked for: a name, and not a wildcard (RFC 8555 §8.3, §8.4).
fn host(text: &str) -> Result<String, Problem> {
    if text.contains('*') {
        return Err(Problem::says("acme_wildcard", "is a wildcard, which http-01 challenges cannot prove")
            .hint("list each name, or give the wildcard's certificate by `listeners.*.tls.certificates`"));
    }
    let name = address::host(text)?;
    if name.starts_with('[') || name.parse::<IpAddr>().is_ok() {
        return Err(Problem::says("acme_address", "is an address, which has no certificate of this kind")
            .hint("list host names; a certificate for an address is given by `listeners.*.tls.certificates`"));
    }
    Ok(name)
}

fn challenge(text: &str) -> Result<(), Problem> {
    let problem = value::word(text, &[("http-01", ())]);
    problem.map_err(|problem| match text {
        "dns-01" | "tls-alpn-01" => problem.hint("challenges are answered by http-01 only"),
        _ => problem,
    })
}
