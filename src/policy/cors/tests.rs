//! Preflights, simple requests, credentials, and spellings of origins that must not match.

use super::*;

fn below(scheme: &str, suffix: &str) -> Origin {
    Origin::Below { scheme: scheme.into(), suffix: suffix.into() }
}

fn cors() -> Cors {
    Cors {
        origins: Origins::These(vec![
            Origin::Exact("https://app.example.com".into()),
            below("https://", ".example.org"),
            below("http://", ".dev.test:3000"),
        ]),
        max_age: HeaderValue::from_static("28800"),
        credentials: false,
        expose: None,
        methods: None,
    }
}

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

fn preflight(cors: &Cors, further: &[(&'static str, &'static str)]) -> Preflight {
    let mut fields = vec![("origin", "https://app.example.com"), ("access-control-request-method", "PUT")];
    fields.retain(|(name, _)| !further.iter().any(|(other, _)| other == name));
    fields.extend_from_slice(further);
    cors.preflight(&Method::OPTIONS, &headers(&fields))
}

fn answered(cors: &Cors, further: &[(&'static str, &'static str)]) -> HeaderMap {
    match preflight(cors, further) {
        Preflight::Answer(fields) => fields.into_iter().collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn origins_are_matched_whole() {
    let allowed =
        ["https://app.example.com", "https://a.example.org", "https://a.b.example.org", "http://x.dev.test:3000"];
    for origin in allowed {
        assert!(cors().allows(origin.as_bytes()), "{origin}");
    }
    let strangers = [
        "null",
        "",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil.test",
        "https://app.example.com/",
        "https://APP.example.com",
        "https://example.org",
        "https://.example.org",
        "https://evilexample.org",
        "https://evil.test/.example.org",
        "https://evil.test:1.example.org",
        "https://u@evil.example.org",
        "https://evil.test#.example.org",
        "https://a.example.org:444",
        "http://a.example.org",
        "http://x.dev.test",
        "http://x.dev.test:30001",
        "https://app.example.com, https://evil.test",
    ];
    for origin in strangers {
        assert!(!cors().allows(origin.as_bytes()), "{origin}");
    }
}

#[test]
fn anybody_is_whoever_names_an_origin() {
    let any = Cors { origins: Origins::Any, credentials: true, ..cors() };
    for origin in ["https://whoever.test", "null", "http://localhost:3000", "chrome-extension://abc", "http://[::1]:8"]
    {
        assert!(any.allows(origin.as_bytes()), "{origin}");
    }
    for nonsense in ["", "x", "://", "https://a.test/x", "https://a, b://c", "https://a\u{e4}.test"] {
        assert!(!any.allows(nonsense.as_bytes()), "{nonsense}");
    }
    let answer: HeaderMap = any.answer(&headers(&[("origin", "https://whoever.test")])).into_iter().collect();
    assert_eq!(answer.get("access-control-allow-origin").unwrap(), "https://whoever.test");
    assert!(!answer.contains_key("access-control-allow-credentials"), "never to just anybody");
}

#[test]
fn a_preflight_is_told_what_it_may() {
    let fields = answered(&cors(), &[("access-control-request-headers", "content-type, x-token")]);
    assert_eq!(fields["access-control-allow-origin"], "https://app.example.com");
    assert_eq!(fields["access-control-allow-methods"], "PUT", "a route without a list serves what is asked for");
    assert_eq!(fields["access-control-allow-headers"], "content-type, x-token");
    assert_eq!(fields["access-control-max-age"], "28800");
    assert_eq!(fields["vary"], "origin, access-control-request-method, access-control-request-headers");
    assert!(!fields.contains_key("access-control-allow-credentials"));
    assert!(!fields.contains_key("access-control-expose-headers"), "it belongs to the answer itself");
}

#[test]
fn the_methods_of_the_route_are_told_whatever_is_asked() {
    let listed = Cors { methods: Some(HeaderValue::from_static("GET, HEAD")), ..cors() };
    assert_eq!(answered(&listed, &[])["access-control-allow-methods"], "GET, HEAD");
}

#[test]
fn a_preflight_that_names_no_headers_is_told_of_none() {
    for further in [&[][..], &[("access-control-request-headers", "")]] {
        assert!(!answered(&cors(), further).contains_key("access-control-allow-headers"));
    }
}

#[test]
fn a_stranger_is_told_nothing() {
    assert_eq!(preflight(&cors(), &[("origin", "https://evil.test")]), Preflight::Stranger);
    assert_eq!(preflight(&cors(), &[("origin", "null")]), Preflight::Stranger);
    let twice = [("origin", "https://app.example.com"), ("origin", "https://app.example.com")];
    assert_eq!(preflight(&cors(), &twice), Preflight::Stranger, "two origins are none");
}

#[test]
fn what_cannot_be_read_is_refused() {
    let rows: [&[(&str, &str)]; 7] = [
        &[("access-control-request-method", "A B")],
        &[("access-control-request-method", "")],
        &[("access-control-request-method", "CONNECT")],
        &[("access-control-request-method", "TRACE")],
        &[("access-control-request-headers", "a b")],
        &[("access-control-request-headers", "a,,b")],
        &[("access-control-request-headers", "a"), ("access-control-request-headers", "b")],
    ];
    for further in rows {
        assert_eq!(preflight(&cors(), further), Preflight::Malformed, "{further:?}");
    }
    let endless: &'static str = Box::leak("a".repeat(MAX_REQUESTED + 1).into_boxed_str());
    assert_eq!(preflight(&cors(), &[("access-control-request-headers", endless)]), Preflight::Malformed);
}

#[test]
fn only_options_with_both_fields_is_a_preflight() {
    let both = headers(&[("origin", "https://app.example.com"), ("access-control-request-method", "PUT")]);
    assert_eq!(cors().preflight(&Method::GET, &both), Preflight::No);
    let without = |name: &str| {
        let mut fields = both.clone();
        fields.remove(name);
        cors().preflight(&Method::OPTIONS, &fields)
    };
    assert_eq!(without("origin"), Preflight::No);
    assert_eq!(without("access-control-request-method"), Preflight::No);
}

#[test]
fn an_answer_says_whose_page_may_read_it() {
    let generous = Cors { credentials: true, expose: Some(HeaderValue::from_static("x-total, etag")), ..cors() };
    let of =
        |origin: &'static str| -> HeaderMap { generous.answer(&headers(&[("origin", origin)])).into_iter().collect() };
    let fields = of("https://app.example.com");
    assert_eq!(fields["access-control-allow-origin"], "https://app.example.com");
    assert_eq!(fields["access-control-allow-credentials"], "true");
    assert_eq!(fields["access-control-expose-headers"], "x-total, etag");
    assert!(of("https://evil.test").is_empty() && generous.answer(&HeaderMap::new()).is_empty());
}

#[test]
fn vary_names_the_origin_once() {
    assert_eq!(vary(&HeaderMap::new()), Some(VARIES));
    assert_eq!(vary(&headers(&[("vary", "accept-encoding")])), Some(VARIES));
    for there in ["Origin", "accept, origin", "*"] {
        let mut fields = HeaderMap::new();
        fields.insert(VARY, HeaderValue::from_static(there));
        assert_eq!(vary(&fields), None, "{there}");
    }
}
