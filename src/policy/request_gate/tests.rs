use super::*;
use http::HeaderName;
use proptest::prelude::*;

struct Case {
    method: Method,
    target: String,
    authority: Option<String>,
    headers: HeaderMap,
    version: Version,
}

fn case(method: &str, target: &str, fields: &[(&str, &str)]) -> Case {
    let fields = fields.iter().map(|(name, value)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    });
    let (method, target) = (method.parse().unwrap(), target.to_owned());
    Case { method, target, authority: None, headers: fields.collect(), version: Version::HTTP_11 }
}

fn http2(method: &str, target: &str, authority: Option<&str>, fields: &[(&str, &str)]) -> Case {
    Case { authority: authority.map(str::to_owned), version: Version::HTTP_2, ..case(method, target, fields) }
}

/// `host path ?query`, `server`, or `status code`.
fn says(case: &Case) -> String {
    let request = RequestView {
        method: &case.method,
        target: &case.target,
        authority: case.authority.as_deref(),
        headers: &case.headers,
        version: case.version,
        peer: IpAddr::from([198, 51, 100, 7]),
        tls: false,
        certificate: None,
    };
    match judge(&request) {
        Gate::Pass(c) => format!("{} {}{}", c.host, c.path, c.query.map(|q| format!(" ?{q}")).unwrap_or_default()),
        Gate::ServerOptions => "server".into(),
        Gate::Refuse(refusal) => format!("{} {}", refusal.status, refusal.code),
    }
}

#[test]
fn targets() {
    let a = &[("host", "a.test")][..];
    for (method, target, expected) in [
        ("GET", "/", "a.test /"),
        ("GET", "/a0/userlist?x=1", "a.test /a0/userlist ?x=1"),
        ("GET", "/a0?", "a.test /a0 ?"),
        ("GET", "/a0?x?y=/../%zz//", "a.test /a0 ?x?y=/../%zz//"),
        ("GET", "/%61%30", "a.test /a0"),
        ("get", "/", "a.test /"),
        ("PURGE", "/x", "a.test /x"),
        ("OPTIONS", "/x", "a.test /x"),
        ("OPTIONS", "*", "server"),
        ("OPTIONS", "http://a.test", "server"),
        ("OPTIONS", "http://a.test/", "a.test /"),
        ("OPTIONS", "http://a.test?x", "a.test / ?x"),
        ("GET", "*", "400 invalid_target"),
        ("GET", "*/x", "400 invalid_target"),
        ("GET", "echo", "400 invalid_target"),
        ("GET", "a.test/x", "400 invalid_target"),
        ("GET", "?x", "400 invalid_target"),
        ("GET", "", "400 invalid_target"),
        ("GET", "ftp://a.test/echo", "400 invalid_target"),
        ("GET", "ws://a.test/echo", "400 invalid_target"),
        ("GET", "http:/a.test/echo", "400 invalid_target"),
        ("GET", "http:a.test", "400 invalid_target"),
        ("GET", "http:///x", "400 invalid_host"),
        ("GET", "http://u@a.test/x", "400 invalid_host"),
        ("GET", "http://a.test:80:80/x", "400 invalid_host"),
        ("GET", "http://a.test\\@b.test/x", "400 invalid_host"),
        ("GET", "http://a.test/x?y", "a.test /x ?y"),
        ("GET", "HTTP://A.test./x", "a.test /x"),
        ("GET", "http://a.test", "a.test /"),
        ("GET", "http://a.test?x", "a.test / ?x"),
        ("GET", "http://a.test:80/", "a.test /"),
        ("GET", "http://a.test:81/", "400 host_mismatch"),
        ("GET", "https://a.test/", "a.test /"),
        ("GET", "http://b.test/", "400 host_mismatch"),
        ("GET", "http://a.test.evil/", "400 host_mismatch"),
        ("GET", "/x#y", "400 invalid_target"),
        ("GET", "/x?y#z", "400 invalid_target"),
        ("GET", "/a b", "400 invalid_target"),
        ("GET", "/a?b c", "400 invalid_target"),
        ("GET", "/\u{4e2d}", "400 invalid_target"),
        ("GET", "/x?\u{4e2d}", "400 invalid_target"),
        ("GET", "/a\u{1}", "400 invalid_target"),
        ("GET", "/a0/../admin", "400 invalid_path"),
        ("GET", "/a\\..\\echo", "400 invalid_path"),
        ("GET", "//evil.test/x", "400 invalid_path"),
        ("GET", "http://a.test//evil.test/x", "400 invalid_path"),
        ("GET", "/a0/..;/admin", "400 invalid_path"),
        ("GET", "/a0/%00x", "400 invalid_path"),
        ("GET", "/a0%2fx", "400 invalid_path"),
        ("CONNECT", "a.test:443", "405 method_not_allowed"),
        ("CONNECT", "/", "405 method_not_allowed"),
        ("TRACE", "/", "405 method_not_allowed"),
        ("TRACE", "*", "405 method_not_allowed"),
    ] {
        assert_eq!(says(&case(method, target, a)), expected, "{method} {target}");
    }
}

#[test]
fn hosts() {
    for (host, expected) in [
        ("a.test", "a.test /"),
        ("A.TEST.", "a.test /"),
        ("a.test:8080", "a.test /"),
        ("[::1]:80", "[::1] /"),
        ("", "400 invalid_host"),
        (":80", "400 invalid_host"),
        ("a.test, b.test", "400 invalid_host"),
        ("a.test/evil", "400 invalid_host"),
        ("a.test:80:80", "400 invalid_host"),
        ("u@a.test", "400 invalid_host"),
        ("a%2etest", "400 invalid_host"),
        ("\u{e4}.test", "400 invalid_host"),
    ] {
        assert_eq!(says(&case("GET", "/", &[("host", host)])), expected, "{host:?}");
    }
    assert_eq!(says(&case("GET", "/", &[])), "400 missing_host");
    assert_eq!(says(&Case { version: Version::HTTP_10, ..case("GET", "/", &[]) }), "400 missing_host");
    assert_eq!(says(&case("GET", "http://a.test/", &[])), "400 missing_host");
    assert_eq!(says(&case("GET", "/", &[("host", "a.test"), ("host", "a.test")])), "400 duplicate_host");
    assert_eq!(says(&case("OPTIONS", "*", &[("host", "")])), "400 invalid_host");
}

#[test]
fn http2_authorities() {
    for (authority, fields, expected) in [
        (Some("a.test"), &[][..], "a.test /x"),
        (Some("A.TEST:443"), &[], "a.test /x"),
        (Some("a.test"), &[("host", "a.test")], "a.test /x"),
        (Some("a.test"), &[("host", "A.test.:80")], "a.test /x"),
        (Some("a.test"), &[("host", "b.test")], "400 host_mismatch"),
        (Some("a.test"), &[("host", "a.test:81")], "400 host_mismatch"),
        (Some("a.test"), &[("host", "a.test"), ("host", "a.test")], "400 duplicate_host"),
        (Some("u@a.test"), &[], "400 invalid_host"),
        (Some(""), &[], "400 invalid_host"),
        (None, &[("host", "a.test")], "a.test /x"),
        (None, &[], "400 missing_host"),
        (Some("a.test"), &[("x", " y")], "400 malformed_header"),
        (Some("a.test"), &[("x", "y\t")], "400 malformed_header"),
        (Some("a.test"), &[("connection", "close")], "400 malformed_header"),
        (Some("a.test"), &[("transfer-encoding", "chunked")], "400 malformed_header"),
        (Some("a.test"), &[("te", "trailers")], "a.test /x"),
        (Some("a.test"), &[("te", "gzip")], "400 malformed_header"),
        (Some("a.test"), &[("content-length", "3")], "a.test /x"),
        (Some("a.test"), &[("content-length", "3"), ("content-length", "3")], "400 ambiguous_framing"),
        (Some("a.test"), &[("content-length", "+3")], "400 invalid_content_length"),
        (Some("a.test"), &[("content-length", "")], "400 invalid_content_length"),
    ] {
        assert_eq!(says(&http2("GET", "/x", authority, fields)), expected, "{authority:?} {fields:?}");
    }
    assert_eq!(says(&http2("OPTIONS", "*", Some("a.test"), &[])), "server");
    assert_eq!(says(&http2("CONNECT", "/", Some("a.test"), &[])), "405 method_not_allowed");
}

#[test]
fn expectations() {
    for (value, expected) in [
        ("100-continue", "a.test /"),
        ("100-Continue", "a.test /"),
        ("foo", "417 expectation_failed"),
        ("", "417 expectation_failed"),
        ("100-continue, x", "417 expectation_failed"),
    ] {
        assert_eq!(says(&case("POST", "/", &[("host", "a.test"), ("expect", value)])), expected, "{value:?}");
    }
    let two = [("host", "a.test"), ("expect", "100-continue"), ("expect", "foo")];
    assert_eq!(says(&case("POST", "/", &two)), "417 expectation_failed");
}

#[test]
fn options_that_may_go_no_further_are_ours() {
    for (method, hops, expected) in [
        ("OPTIONS", "0", "server"),
        ("OPTIONS", "5", "a.test /x"),
        ("OPTIONS", "x", "a.test /x"),
        ("GET", "0", "a.test /x"),
    ] {
        let fields = [("host", "a.test"), ("max-forwards", hops)];
        assert_eq!(says(&case(method, "/x", &fields)), expected, "{method} {hops}");
    }
}

#[test]
fn nothing_is_copied_for_a_plain_request() {
    let case = case("GET", "/a0/x?y", &[("host", "a.test")]);
    let request = RequestView {
        method: &case.method,
        target: &case.target,
        authority: None,
        headers: &case.headers,
        version: case.version,
        peer: IpAddr::from([127, 0, 0, 1]),
        tls: false,
        certificate: None,
    };
    let Gate::Pass(canonical) = judge(&request) else { panic!("refused") };
    assert!(matches!((canonical.host, canonical.path), (Cow::Borrowed("a.test"), Cow::Borrowed("/a0/x"))));
    assert_eq!(canonical.raw_path, "/a0/x");
}

proptest! {
    /// What passes has a canonical host and path, and the raw parts are those that were sent.
    #[test]
    fn what_passes_is_canonical(target in "(http://[a-zA-Z.]{0,8})?(/|%2e|a|;|\\?|#|[ -~]){0,12}", host in "[a-zA-Z.:0-9@]{0,10}") {
        let case = case("GET", &target, &[("host", &host)]);
        let request = RequestView { method: &case.method, target: &case.target, authority: None, headers: &case.headers, version: case.version, peer: IpAddr::from([127, 0, 0, 1]), tls: false, certificate: None };
        if let Gate::Pass(canonical) = judge(&request) {
            prop_assert_eq!(path::canonical(&canonical.path).unwrap(), canonical.path.clone());
            prop_assert_eq!(host::canonical(&canonical.host).unwrap(), canonical.host.clone());
            prop_assert!(canonical.raw_path == "/" || target.contains(canonical.raw_path));
            prop_assert!(canonical.query.is_none_or(|query| target.ends_with(query)));
        }
    }
}
