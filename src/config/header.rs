//! Text -> header names and values, methods, statuses, and which headers no configuration may touch.

use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::value::Problem;

/// What belongs to the connection or the framing of the message, not to the configuration.
const FORBIDDEN: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A header name, in lower case.
///
/// # Errors
/// What is no token (RFC 9110, 5.6.2).
pub fn name(text: &str) -> Result<HeaderName, Problem> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        Problem::not("invalid_header", "a header name")
            .hint("letters, digits and hyphens, without colon and spaces, such as x-forwarded-app")
    })
}

/// A header name that a route may set or remove.
///
/// # Errors
/// As [`name`]; names of the connection or the framing.
pub fn editable(text: &str) -> Result<HeaderName, Problem> {
    let name = name(text)?;
    if name == http::header::HOST {
        return Err(Problem::says("forbidden_header", "is not set as a header").hint("use the route's `host`"));
    }
    if FORBIDDEN.contains(&name.as_str()) {
        return Err(Problem::says("forbidden_header", "belongs to the connection")
            .hint("the proxy sets and removes it itself, as each connection needs it"));
    }
    Ok(name)
}

/// A header value.
///
/// # Errors
/// Control characters, line breaks, spaces at an end.
pub fn value(text: &str) -> Result<HeaderValue, Problem> {
    let problem = |clause: &str| Problem::says("invalid_header", clause);
    if text.trim_matches([' ', '\t']).len() != text.len() {
        return Err(problem("begins or ends with a space"));
    }
    HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| problem("has a line break or another control character, which no header may carry"))
}

/// An upper-case method.
///
/// # Errors
/// What is no token; lower case.
pub fn method(text: &str) -> Result<Method, Problem> {
    let problem = || Problem::not("invalid_method", "a method");
    if text.bytes().any(|b| b.is_ascii_lowercase()) {
        return Err(
            problem().hint(format!("methods are upper case: {}", super::value::printable(&text.to_uppercase())))
        );
    }
    if text == "CONNECT" {
        return Err(Problem::says("invalid_method", "is never routed"));
    }
    Method::from_bytes(text.as_bytes()).map_err(|_| problem())
}

/// The status of a fixed answer.
///
/// # Errors
/// What is not from 200 to 599.
pub fn status(text: &str) -> Result<StatusCode, Problem> {
    let number = super::value::number(text, 200, 599)
        .map_err(|_| Problem::not("invalid_status", "a status").hint("give a number from 200 to 599"))?;
    let code = u16::try_from(number).unwrap_or_default();
    StatusCode::from_u16(code).map_err(|_| Problem::not("invalid_status", "a status"))
}

/// The status of a redirect.
///
/// # Errors
/// What does not lead elsewhere.
pub fn redirect_status(text: &str) -> Result<StatusCode, Problem> {
    match text {
        "301" | "302" | "303" | "307" | "308" => status(text),
        _ => Err(Problem::not("invalid_status", "the status of a redirect").hint("301, 302, 303, 307 or 308")),
    }
}

/// The name of a cookie: a token, as that of a header, but it keeps its case.
///
/// # Errors
/// What is no token.
pub fn cookie_name(text: &str) -> Result<String, Problem> {
    match name(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(Problem::not("invalid_value", "the name of a cookie").hint("letters, digits, `_` and `-`")),
    }
}

/// The beginning of the signature headers' names: lower case, ends in a hyphen.
///
/// # Errors
/// Anything else.
pub fn prefix(text: &str) -> Result<String, Problem> {
    let problem = || Problem::not("invalid_header", "the beginning of a header name").hint("such as x-kms-");
    let lower = text.to_ascii_lowercase();
    name(&lower).map_err(|_| problem())?;
    if !lower.ends_with('-') || lower.trim_matches('-').is_empty() {
        return Err(problem().hint("it ends in a hyphen, such as x-kms-"));
    }
    Ok(lower)
}

/// The spelling in which names are compared: an upstream may read `_` and `.` as `-`.
pub fn family(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values() {
        assert_eq!(editable("X-Api-Token").unwrap(), "x-api-token");
        for wrong in ["", "a b", "a:", "ä"] {
            assert_eq!(editable(wrong).unwrap_err().code, "invalid_header", "{wrong}");
        }
        for forbidden in ["Host", "Transfer-Encoding", "connection"] {
            assert_eq!(editable(forbidden).unwrap_err().code, "forbidden_header", "{forbidden}");
        }
        assert!(value("max-age=1; x").is_ok());
        for wrong in ["a\nb", " a", "a\u{0}"] {
            assert!(value(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn methods_and_statuses() {
        assert_eq!(method("get").unwrap_err().hint, "methods are upper case: GET");
        assert!(method("CONNECT").is_err());
        assert_eq!(method("PURGE").unwrap().as_str(), "PURGE");
        assert_eq!(status("418").unwrap(), 418);
        for wrong in ["99", "100", "600", "ok", "+200"] {
            assert!(status(wrong).is_err(), "{wrong}");
        }
        assert!(redirect_status("304").is_err());
    }

    #[test]
    fn prefixes_end_in_a_hyphen() {
        assert_eq!(prefix("X-Kms-").unwrap(), "x-kms-");
        for wrong in ["", "-", "x-kms", "x kms-"] {
            assert!(prefix(wrong).is_err(), "{wrong}");
        }
    }
}
