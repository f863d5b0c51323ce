//! nginx's predefined `combined` format, byte for byte:
//! `$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"`.
//!
//! What nginx calls not found is `-`. `$remote_user` is the identity's user, else the client's name. The time is that of
//! the end, in the machine's time zone. Queries, also the referer's, are logged as `logging.access.query` says.

use std::cell::RefCell;
use std::io::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::event::RequestEnd;
use super::super::text;
use super::{Query, ended, query};

/// Appends the line, with its line feed.
pub fn push_line(out: &mut Vec<u8>, event: &RequestEnd<'_>, policy: Query, zone: &TimeZone) {
    text::push_address(out, event.client_ip);
    out.extend_from_slice(b" - ");
    let user = if event.user.is_empty() { event.client } else { event.user };
    push_or_dash(out, user);
    push_time(out, ended(event) / 1_000_000, zone);
    push_request(out, event, policy);
    // Writing to memory does not fail.
    let _ = write!(out, "\" {:03} {} \"", event.status, event.bytes_out);
    push_referer(out, event.referer, policy);
    out.extend_from_slice(b"\" \"");
    text::push_nginx(out, event.user_agent.unwrap_or("-"));
    out.extend_from_slice(b"\"\n");
}

fn push_or_dash(out: &mut Vec<u8>, value: &str) {
    text::push_nginx(out, if value.is_empty() { "-" } else { value });
}

/// The request line as it came, but for what is hidden of the query; `-` when it could not be read.
fn push_request(out: &mut Vec<u8>, event: &RequestEnd<'_>, policy: Query) {
    if event.method.is_empty() {
        return out.push(b'-');
    }
    text::push_nginx(out, event.method);
    out.push(b' ');
    text::push_nginx(out, event.path);
    if let Some(query) = event.query.filter(|_| policy != Query::Off) {
        out.push(b'?');
        query::show(query, policy, |piece| text::push_nginx(out, piece));
    }
    out.push(b' ');
    text::push_nginx(out, event.protocol);
}

fn push_referer(out: &mut Vec<u8>, referer: Option<&str>, policy: Query) {
    let Some(referer) = referer else { return out.push(b'-') };
    query::show_address(referer, policy, |piece| text::push_nginx(out, piece));
}

thread_local! {
    /// The last second that was formatted on this thread, and its text.
    static SECOND: RefCell<(u64, Vec<u8>)> = const { RefCell::new((u64::MAX, Vec::new())) };
}

/// ` [21/Nov/2026:19:45:58 +0000] "`
fn push_time(out: &mut Vec<u8>, second: u64, zone: &TimeZone) {
    SECOND.with_borrow_mut(|(known, text)| {
        if *known != second {
            *known = second;
            text.clear();
            let moment = Timestamp::from_second(i64::try_from(second).unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX);
            let _ = write!(text, " [{}] \"", moment.to_zoned(zone.clone()).strftime("%d/%b/%Y:%H:%M:%S %z"));
        }
        out.extend_from_slice(text);
    });
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::event;
    use super::*;

    fn line(event: &RequestEnd<'_>, policy: Query) -> String {
        let mut out = Vec::new();
        push_line(&mut out, event, policy, &TimeZone::UTC);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_line_is_nginxs() {
        assert_eq!(
            line(&event(), Query::Full),
            "192.0.2.7 - dev@example.com [21/Nov/2026:19:45:58 +0000] \"GET /a0/x?a=1&b HTTP/1.1\" 200 512 \
             \"https://a.test/?q=1\" \"curl/8\"\n"
        );
    }

    #[test]
    fn what_nginx_does_not_find_is_a_dash() {
        let bare =
            RequestEnd { method: "", user: "", client: "", referer: None, user_agent: None, status: 0, ..event() };
        assert_eq!(line(&bare, Query::Full), "192.0.2.7 - - [21/Nov/2026:19:45:58 +0000] \"-\" 000 512 \"-\" \"-\"\n");
    }

    #[test]
    fn quotes_controls_and_high_bytes_are_escaped() {
        let hostile = RequestEnd { user_agent: Some("a\"b\\\n\u{e9}"), ..event() };
        assert!(line(&hostile, Query::Redacted).ends_with("\"a\\x22b\\x5C\\x0A\\xC3\\xA9\"\n"));
    }

    #[test]
    fn values_of_queries_are_hidden_unless_asked_for() {
        assert!(line(&event(), Query::Redacted).contains("\"GET /a0/x?a=***&b HTTP/1.1\""));
        assert!(line(&event(), Query::Redacted).contains("\"https://a.test/?q=***\""));
        assert!(line(&event(), Query::Off).contains("\"GET /a0/x HTTP/1.1\""));
    }

    #[test]
    fn the_time_is_local() {
        let mut out = Vec::new();
        push_time(&mut out, 1_795_290_359, &TimeZone::fixed(jiff::tz::offset(2)));
        assert_eq!(String::from_utf8(out).unwrap(), " [21/Nov/2026:21:45:59 +0200] \"");
    }
}
