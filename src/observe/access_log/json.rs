//! One request as one flat JSON object, with the fields of the interface page in its order.
//!
//! Every field is always there. A text that is absent is `""`; a number or truth that is absent (`first_byte_ms`,
//! `upstream_status`, `reused`) is `null`. Milliseconds carry three decimals. `time` is the end of the request, as in nginx.

use std::time::Duration;

use super::super::event::RequestEnd;
use super::super::{text, timestamp};
use super::{Query, ended, query};

/// Appends the line, with its line feed.
pub fn push_line(out: &mut Vec<u8>, event: &RequestEnd<'_>, policy: Query) {
    out.extend_from_slice(b"{\"time\":\"");
    timestamp::push_rfc3339_micros(out, ended(event));
    out.push(b'"');
    string(out, b",\"request_id\":\"", event.request_id);
    string(out, b",\"listener\":\"", event.listener);
    out.extend_from_slice(b",\"client_ip\":\"");
    text::push_address(out, event.client_ip);
    out.push(b'"');
    string(out, b",\"method\":\"", event.method);
    string(out, b",\"host\":\"", event.host);
    string(out, b",\"path\":\"", event.path);
    redactable(out, b",\"query\":\"", event.query, policy);
    string(out, b",\"protocol\":\"", event.protocol);
    numbers(out, event);
    string(out, b",\"project\":\"", event.project);
    string(out, b",\"environment\":\"", event.environment);
    string(out, b",\"route\":\"", event.route);
    number(out, b",\"generation\":", event.generation);
    string(out, b",\"client\":\"", event.client);
    string(out, b",\"user\":\"", event.user);
    string(out, b",\"source\":\"", event.source);
    string(out, b",\"upstream\":\"", event.upstream);
    string(out, b",\"endpoint\":\"", event.endpoint);
    optional(out, b",\"upstream_status\":", event.upstream_status.map(u64::from));
    number(out, b",\"attempts\":", u64::from(event.attempts));
    truth(out, b",\"reused\":", event.reused);
    string(out, b",\"token\":\"", event.token);
    string(out, b",\"end\":\"", event.end.as_str());
    string(out, b",\"code\":\"", event.code);
    referer(out, event.referer.unwrap_or_default(), policy);
    string(out, b",\"user_agent\":\"", event.user_agent.unwrap_or_default());
    string(out, b",\"trace_id\":\"", event.trace_id);
    out.extend_from_slice(b"}\n");
}

fn numbers(out: &mut Vec<u8>, event: &RequestEnd<'_>) {
    number(out, b",\"status\":", u64::from(event.status));
    number(out, b",\"bytes_in\":", event.bytes_in);
    number(out, b",\"bytes_out\":", event.bytes_out);
    milliseconds(out, b",\"duration_ms\":", Some(event.duration));
    milliseconds(out, b",\"first_byte_ms\":", event.first_byte);
}

fn string(out: &mut Vec<u8>, key: &[u8], value: &str) {
    out.extend_from_slice(key);
    text::push_json(out, value);
    out.push(b'"');
}

fn redactable(out: &mut Vec<u8>, key: &[u8], value: Option<&str>, policy: Query) {
    out.extend_from_slice(key);
    query::show(value.unwrap_or_default(), policy, |piece| text::push_json(out, piece));
    out.push(b'"');
}

/// A referring address carries a query of its own, which is treated like the request's.
fn referer(out: &mut Vec<u8>, value: &str, policy: Query) {
    out.extend_from_slice(b",\"referer\":\"");
    query::show_address(value, policy, |piece| text::push_json(out, piece));
    out.push(b'"');
}

fn number(out: &mut Vec<u8>, key: &[u8], value: u64) {
    out.extend_from_slice(key);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn optional(out: &mut Vec<u8>, key: &[u8], value: Option<u64>) {
    match value {
        Some(value) => number(out, key, value),
        None => null(out, key),
    }
}

fn truth(out: &mut Vec<u8>, key: &[u8], value: Option<bool>) {
    match value {
        Some(value) => {
            out.extend_from_slice(key);
            out.extend_from_slice(if value { b"true" } else { b"false" });
        }
        None => null(out, key),
    }
}

fn null(out: &mut Vec<u8>, key: &[u8]) {
    out.extend_from_slice(key);
    out.extend_from_slice(b"null");
}

fn milliseconds(out: &mut Vec<u8>, key: &[u8], value: Option<Duration>) {
    let Some(value) = value else { return null(out, key) };
    let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
    number(out, key, micros / 1000);
    // 1000 keeps the leading zeros of the fraction; its digit becomes the point.
    let mut fraction = itoa::Buffer::new();
    let digits = fraction.format(1000 + micros % 1000).as_bytes();
    out.push(b'.');
    out.extend_from_slice(digits.get(1..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::super::event::End;
    use super::super::super::tests::event;
    use super::*;

    fn line(event: &RequestEnd<'_>, policy: Query) -> String {
        let mut out = Vec::new();
        push_line(&mut out, event, policy);
        String::from_utf8(out).unwrap()
    }

    fn parsed(event: &RequestEnd<'_>, policy: Query) -> Value {
        let line = line(event, policy);
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    #[test]
    fn the_line_is_exactly_as_the_interface_lists_it() {
        let expected = concat!(
            r#"{"time":"2026-11-21T19:45:58.135801Z","request_id":"0123456789abcdef0123456789abcdef","#,
            r#""listener":"http","client_ip":"192.0.2.7","method":"GET","host":"demo.example.com","path":"/a0/x","#,
            r#""query":"a=***&b","protocol":"HTTP/1.1","status":200,"bytes_in":0,"bytes_out":512,"duration_ms":12.345,"#,
            r#""first_byte_ms":7.001,"project":"demo","environment":"production","route":"/a0","generation":3,"#,
            r#""client":"laptop","user":"dev@example.com","source":"client","upstream":"test.example.com:443","#,
            r#""endpoint":"test.example.com:443","upstream_status":200,"attempts":1,"reused":true,"token":"","#,
            r#""end":"ok","code":"","referer":"https://a.test/?q=***","user_agent":"curl/8","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"}"#,
            "\n"
        );
        assert_eq!(line(&event(), Query::Redacted), expected);
    }

    #[test]
    fn what_is_absent_is_empty_or_null() {
        let bare = RequestEnd {
            query: None,
            first_byte: None,
            upstream_status: None,
            reused: None,
            method: "",
            status: 0,
            end: End::ClientAbort,
            ..event()
        };
        let value = parsed(&bare, Query::Full);
        for key in ["first_byte_ms", "upstream_status", "reused"] {
            assert_eq!(value[key], Value::Null, "{key}");
        }
        assert_eq!((&value["query"], &value["method"]), (&"".into(), &"".into()));
        assert_eq!((&value["status"], &value["end"]), (&0.into(), &"client_abort".into()));
        assert_eq!(value.as_object().unwrap().len(), 32);
    }

    #[test]
    fn query_policy_reaches_the_referer_too() {
        assert_eq!(parsed(&event(), Query::Full)["referer"], "https://a.test/?q=1");
        assert_eq!(parsed(&event(), Query::Off)["referer"], "https://a.test/");
        assert_eq!(parsed(&event(), Query::Off)["query"], "");
        assert_eq!(parsed(&event(), Query::Full)["query"], "a=1&b");
    }

    proptest! {
        #[test]
        fn every_line_parses_and_round_trips(
            hostile in proptest::collection::vec(any::<char>(), 0..40),
            status: u16, bytes: u64, micros in 0u64..10_000_000_000, address: std::net::IpAddr,
        ) {
            let hostile: String = hostile.into_iter().collect();
            let event = RequestEnd {
                host: &hostile, path: &hostile, user_agent: Some(&hostile), method: &hostile, query: Some(&hostile),
                client: &hostile, status, bytes_out: bytes, client_ip: address,
                duration: Duration::from_micros(micros), ..event()
            };
            let line = line(&event, Query::Full);
            prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
            let value: Value = serde_json::from_str(&line).unwrap();
            for key in ["host", "path", "user_agent", "method", "query", "client"] {
                prop_assert_eq!(value[key].as_str(), Some(hostile.as_str()));
            }
            prop_assert_eq!(value["status"].as_u64(), Some(u64::from(status)));
            prop_assert_eq!(value["bytes_out"].as_u64(), Some(bytes));
            prop_assert_eq!(&value["client_ip"], &Value::from(address.to_string()));
            let shown = value["duration_ms"].as_f64().unwrap() * 1000.0;
            prop_assert!((shown - micros as f64).abs() < 1.0, "{} {}", shown, micros);
        }
    }
}
