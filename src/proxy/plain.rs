//! What a plain listener answers before any route is looked at: ACME challenges, and the way to https.
//!
//! Only a request with one meaning gets here to an answer, and only a host that a project has is sent on: what is left (a
//! malformed request, an unknown host) is for the decision to refuse.

use std::sync::Arc;

use http::Method;

use super::listener::ListenerInfo;
use crate::policy::request_gate::{self, Gate, RequestView};
use crate::policy::to_https;
use crate::table::Table;
use crate::tls::Challenges;

/// An answer of a plain listener's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plain {
    /// To a CA.
    Challenge(Arc<str>),
    /// The same, by https.
    ToHttps(String),
}

/// The listener's own answer to a request, if it has one.
pub fn answer(
    request: &RequestView<'_>,
    listener: &ListenerInfo,
    table: &Table,
    challenges: &Challenges,
) -> Option<Plain> {
    let asks_for_challenge = request.target.starts_with(Challenges::PATH);
    if listener.tls || !(asks_for_challenge || listener.to_https.is_some()) {
        return None;
    }
    let Gate::Pass(canonical) = request_gate::judge(request) else { return None };
    if matches!(*request.method, Method::GET | Method::HEAD)
        && let Some(answer) = challenges.answer(&canonical.path)
    {
        return Some(Plain::Challenge(answer));
    }
    let port = listener.to_https?;
    table.matcher.project(&canonical.host)?;
    if to_https::is_done(request, &table.trusted_proxies) {
        return None;
    }
    Some(Plain::ToHttps(to_https::location(&canonical, port)))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Version};

    use super::*;
    use crate::table::compile::{Stamp, compile};

    const CONFIGURATION: &str = "server: { trusted_proxies: [198.51.100.0/24] }\nlisteners: { http: { address: \"127.0.0.1:0\" } }\n\
        projects: { demo: { hosts: [a.test, \"*.w.test\"], environments: { production: { routes: [\n\
        { prefix: /, respond: {}, auth: none }] } } } }\n";

    fn table() -> Table {
        let loading = crate::config::load_text("edge.yaml", CONFIGURATION, std::path::Path::new("."), &|_| None);
        let stamp = Stamp { generation: 1, sha256: [0; 32], now: 1_795_290_358_123 };
        compile(loading.model.unwrap(), &loading.sources, stamp, None).table.unwrap()
    }

    fn ask(to_https: Option<u16>, tls: bool, method: Method, host: &str, target: &str) -> Option<Plain> {
        ask_from([192, 0, 2, 9], to_https, tls, method, host, target)
    }

    /// Everybody says that it was https.
    fn ask_from(
        peer: [u8; 4],
        to_https: Option<u16>,
        tls: bool,
        method: Method,
        host: &str,
        target: &str,
    ) -> Option<Plain> {
        let listener = ListenerInfo { to_https, tls, ..ListenerInfo::for_tests() };
        let challenges = Challenges::default();
        challenges.offer("abc", "abc.thumb");
        let mut headers = HeaderMap::new();
        headers.insert(http::header::HOST, HeaderValue::from_str(host).unwrap());
        headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        let request = RequestView {
            method: &method,
            target,
            authority: None,
            headers: &headers,
            version: Version::HTTP_11,
            peer: peer.into(),
            tls,
            certificate: None,
        };
        answer(&request, &listener, &table(), &challenges)
    }

    fn to(location: &str) -> Option<Plain> {
        Some(Plain::ToHttps(location.to_owned()))
    }

    #[test]
    fn what_came_by_https_to_a_trusted_proxy_goes_on() {
        let from = |peer| ask_from(peer, Some(443), false, Method::GET, "a.test", "/x");
        assert_eq!(from([198, 51, 100, 7]), None);
        assert_eq!(from([192, 0, 2, 9]), to("https://a.test/x"), "a stranger is not believed");
    }

    #[test]
    fn everything_of_a_known_host_is_sent_to_the_same_by_https() {
        for (port, host, target, expected) in [
            (443, "a.test", "/x/y?q=1&r=%2F", to("https://a.test/x/y?q=1&r=%2F")),
            (443, "A.TEST.:80", "/", to("https://a.test/")),
            (8443, "x.w.test:8080", "/?", to("https://x.w.test:8443/?")),
            (443, "a.test", "http://a.test/z", to("https://a.test/z")),
            (443, "evil.test", "/", None),
            (443, "a.test", "/../x", None),
            (443, "a test", "/", None),
        ] {
            assert_eq!(ask(Some(port), false, Method::POST, host, target), expected, "{host} {target}");
        }
        assert_eq!(ask(None, false, Method::GET, "a.test", "/"), None, "only where the listener says so");
    }

    #[test]
    fn a_challenge_that_is_offered_is_answered_for_any_host_and_before_the_redirect() {
        let challenge = Some(Plain::Challenge("abc.thumb".into()));
        let path = "/.well-known/acme-challenge/abc";
        for to_https in [None, Some(443)] {
            for method in [Method::GET, Method::HEAD] {
                assert_eq!(ask(to_https, false, method, "unknown.test", path), challenge);
            }
        }
        assert_eq!(ask(None, true, Method::GET, "a.test", path), None, "a CA asks in the clear");
        assert_eq!(ask(None, false, Method::POST, "a.test", path), None);
        assert_eq!(ask(None, false, Method::GET, "a.test", "/.well-known/acme-challenge/other"), None);
        assert_eq!(
            ask(Some(443), false, Method::GET, "a.test", "/.well-known/acme-challenge/other"),
            to("https://a.test/.well-known/acme-challenge/other")
        );
        assert_eq!(ask(None, false, Method::GET, "a, b", path), None, "the gate comes first");
    }
}
