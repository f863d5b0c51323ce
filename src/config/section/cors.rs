//! A route's `cors`: whose pages may call, in the spelling in which browsers name them.

use std::time::Duration;

use http::HeaderName;

use crate::config::address;
use crate::config::decoder::Decoder;
use crate::config::fields::{Fields, Shape};
use crate::config::header;
use crate::config::model::{Cors, HostPattern, Origins};
use crate::config::tree::Node;
use crate::config::value::{self, Problem};
use crate::diagnostic::{Diagnostic, Pos};

const CORS: Shape = Shape { what: "`cors`", keys: &["origins", "max_age", "credentials", "expose"] };

/// How long a browser may remember a preflight when nobody says.
const MAX_AGE: Duration = Duration::from_secs(8 * 3600);

/// Decodes the mapping; `None`: it is empty.
pub fn decode(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Option<Cors> {
    let fields = decoder.fields(node, &CORS)?;
    if node.is_empty() {
        return None;
    }
    let at = node.target().at;
    let max_age = fields.get("max_age").and_then(|node| decoder.parsed(node, value::duration));
    let credentials = fields.get("credentials").and_then(|node| decoder.parsed(node, value::boolean));
    let expose: Option<Vec<HeaderName>> = fields.get("expose").and_then(|node| decoder.values(node, header::name));
    let origins = decoder.required(&fields, "origins", at).and_then(|node| origins(decoder, node))?;
    let credentials = credentials.unwrap_or(false);
    if credentials && origins == Origins::Any {
        let at = fields.entry("credentials").map_or(at, |entry| entry.at);
        decoder.note(credentials_to_anybody(at, &fields));
    }
    let max_age = max_age.unwrap_or(MAX_AGE);
    Some(Cors { origins, max_age, credentials, expose: expose.unwrap_or_default(), at })
}

fn credentials_to_anybody(at: Pos, fields: &Fields<'_, '_>) -> Diagnostic {
    let message = "`credentials` beside `origins: any` would let every page act as the person who reads it";
    let problem = Diagnostic::error("conflicting_keys", at, message).hint("list the origins that may");
    match fields.entry("origins") {
        Some(origins) => problem.related(origins.at, "anybody's pages, by this"),
        None => problem,
    }
}

fn origins(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Option<Origins> {
    if node.scalar().is_some() {
        return decoder.parsed(node, |text| match text {
            "any" => Ok(Origins::Any),
            _ => Err(Problem::says("invalid_value", "is not a possible value")
                .hint("write `any`, or a list: [\"https://app.example.com\"]")),
        });
    }
    if node.is_empty() {
        let message = "no origin at all";
        let hint = "leave `cors` out, or name some: [\"https://app.example.com\"]";
        decoder.note(Diagnostic::error("invalid_origin", node.target().at, message).hint(hint));
        return None;
    }
    decoder.spanned_values(node, origin).map(Origins::These)
}

/// `https://app.example.com[:8443]`, or `https://*.example.com` for every name below; without a port that goes without saying.
fn origin(text: &str) -> Result<String, Problem> {
    let problem = || Problem::not("invalid_origin", "an origin");
    match text {
        "null" => {
            return Err(
                problem().hint("pages that send `null` cannot be told apart: files, sandboxed frames, redirects")
            );
        }
        "*" | "any" => return Err(problem().hint("write `origins: any`, without brackets")),
        _ => {}
    }
    let (scheme, authority) =
        text.split_once("://").ok_or_else(|| problem().hint("begin it with https:// or http://"))?;
    let scheme = scheme.to_ascii_lowercase();
    if !is_scheme(&scheme) {
        return Err(problem().hint("begin it with https:// or http://"));
    }
    if let Some((alone, _)) = authority.split_once(['/', '?', '#']) {
        let hint = format!("an origin has no path: `{scheme}://{}`", value::printable(alone));
        return Err(problem().hint(hint));
    }
    let (host, port) = split_port(authority).ok_or_else(|| problem().hint("the port is a number from 1 to 65535"))?;
    let host = match address::host_pattern(host) {
        Ok(HostPattern::Exact(host)) => host,
        Ok(HostPattern::Wildcard(parent)) => format!("*.{parent}"),
        Err(wrong) => return Err(problem().hint(wrong.hint)),
    };
    let default = matches!((scheme.as_str(), port), ("https", Some(443)) | ("http", Some(80)));
    let port = port.filter(|_| !default).map(|port| format!(":{port}")).unwrap_or_default();
    Ok(format!("{scheme}://{host}{port}"))
}

/// RFC 3986 §3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let after_host = authority.rfind(']').map_or(0, |end| end + 1);
    let colon = authority.get(after_host..)?.find(':').map(|at| at + after_host);
    let Some((host, port)) = colon.and_then(|at| authority.split_at_checked(at)) else {
        return Some((authority, None));
    };
    let port = port.get(1..)?;
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = if digits { port.parse::<u16>().ok().filter(|port| *port > 0) } else { None };
    port.map(|port| (host, Some(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_brought_into_the_spelling_of_browsers() {
        let rows = [
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://App.Example.COM:443", "https://app.example.com"),
            ("http://app.example.com:80", "http://app.example.com"),
            ("http://app.example.com:443", "http://app.example.com:443"),
            ("https://*.example.com", "https://*.example.com"),
            ("https://*.example.com:8443", "https://*.example.com:8443"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("http://[::1]", "http://[::1]"),
            ("capacitor://localhost", "capacitor://localhost"),
        ];
        for (text, expected) in rows {
            assert_eq!(origin(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_no_browser_sends_is_refused() {
        for wrong in [
            "",
            "null",
            "*",
            "any",
            "app.example.com",
            "https://",
            "://a.test",
            "https://app.example.com/",
            "https://app.example.com/x",
            "https://app.example.com?x",
            "https://u@app.example.com",
            "https://app.example.com:0",
            "https://app.example.com:99999",
            "https://app.example.com:",
            "https://*",
            "https://a.*.example.com",
            "https://ä.test",
            "1http://a.test",
        ] {
            assert_eq!(origin(wrong).unwrap_err().code, "invalid_origin", "{wrong}");
        }
        assert_eq!(origin("https://a.test/x").unwrap_err().hint, "an origin has no path: `https://a.test`");
    }
}
