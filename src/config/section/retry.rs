//! `retry` of a route: when a request is sent again.

use http::StatusCode;

use crate::config::decoder::Decoder;
use crate::config::fields::Shape;
use crate::config::model::{Retry, RetryOn};
use crate::config::tree::Node;
use crate::config::value::word;
use crate::diagnostic::Diagnostic;

const RETRY: Shape = Shape { what: "`retry`", keys: &["attempts", "on"] };

/// More would only make an outage longer.
const MOST_ATTEMPTS: u64 = 10;

const ON: &[(&str, RetryOn)] = &[
    ("connect", RetryOn::Connect),
    ("reset", RetryOn::Reset),
    ("401", RetryOn::Status(StatusCode::UNAUTHORIZED)),
    ("429", RetryOn::Status(StatusCode::TOO_MANY_REQUESTS)),
    ("502", RetryOn::Status(StatusCode::BAD_GATEWAY)),
    ("503", RetryOn::Status(StatusCode::SERVICE_UNAVAILABLE)),
    ("504", RetryOn::Status(StatusCode::GATEWAY_TIMEOUT)),
];

/// Decodes the key's value.
pub fn decode(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Retry {
    let mut retry = Retry::default();
    let Some(fields) = decoder.fields(node, &RETRY) else { return retry };
    if let Some(attempts) = fields.get("attempts").and_then(|node| decoder.count(node, 1, MOST_ATTEMPTS)) {
        retry.attempts = u32::try_from(attempts).unwrap_or(1);
    }
    if let Some(entry) =
        fields.entry("on").filter(|_| fields.get("attempts").is_none() && !fields.is_meant(&["attempts"]))
    {
        let message = "`on` alone sends nothing again: without `attempts` a request is sent once";
        let hint = "add `attempts: 2`, or leave `retry` out";
        decoder.note(Diagnostic::warning("retry_without_attempts", entry.at, message).hint(hint));
    }
    if let Some(node) = fields.get("on") {
        if let Some(on) = decoder.values(node, |text| word(text, ON)) {
            retry.on = on;
        }
        if node.is_empty() {
            let message = "`on` names nothing after which a request is sent again";
            let hint = "leave it out for connect and reset, or leave `retry` out";
            decoder.note(Diagnostic::error("invalid_value", node.target().at, message).hint(hint));
        }
    }
    retry
}
