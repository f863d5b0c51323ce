//! What a route puts on its upstream requests: that it is there, alone, once, where it belongs and nowhere else.
//! `failover` has what happens when an upstream turns a token down, `streams` what lasts longer than a head.

use serde_json::{Value, json};

use crate::support::edge::Reported;
use crate::support::frames::Frames;
use crate::support::h2::H2;
use crate::support::hpack::Decoder;
use crate::support::leak::CANARY;
use crate::support::origin::After;
use crate::support::{Config, Origin, Recorded, Request};

mod failover;
mod streams;

const FIXED: &str = "c4n4ry-fixed-secret-0123456789";

/// Sections with a provider `sso`, whose tokens are the credential `pool`, and a fixed secret, the credential `fixed`; `routes` of the
/// project `demo`, and further keys of the pool.
fn sections(routes: &str, pool: &str) -> String {
    let mut text = format!(
        r#"
providers:
  sso: {{ oauth2: {{ authorization_url: "http://127.0.0.1:1/authorize", token_url: "http://{{provider}}/token", client_id: edge, scopes: [api] }} }}
credentials:
  pool: {{ provider: sso, inject: {{ header: authorization, value: "Bearer {{token}}" }}{pool} }}
  fixed: {{ secret: "${{FIXED}}", inject: {{ header: x-api-key, value: "{{token}}" }} }}
upstreams:
  clear: {{ scheme: h2c, endpoints: [{{ address: "{{clear}}" }}] }}
  two: {{ endpoints: [{{ address: "{{origin}}" }}, {{ address: "{{second}}" }}] }}
clients:
  laptop: {{ token: "${{LAPTOP}}", user: dev@example.com }}
projects:
  demo:
    hosts: [demo.test]
    upstream_policy: open
    environments:
      production:
        routes:
"#
    );
    for line in crate::support::edge::unindent(routes).lines() {
        text.push_str(&format!("          {line}\n"));
    }
    text
}

const LAPTOP: &str = "c4n4ry-client-laptop-0123456789abcdef";

/// An edge with these routes; nobody listens where `clear`, `second` and `provider` are until they are given.
fn config(routes: &str, pool: &str, origin: &Origin) -> Config {
    let nobody = crate::support::edge::free_address().to_string();
    Config::new(&sections(routes, pool))
        .origin(origin)
        .value("provider", &nobody)
        .value("clear", &nobody)
        .value("second", &nobody)
        .environment("FIXED", FIXED)
        .environment("LAPTOP", LAPTOP)
}

/// A token file as somebody would write it by hand: had a minute ago, good for an hour, and to be refreshed.
fn token(access: &str) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    json!({
        "provider": "sso",
        "access_token": access,
        "refresh_token": format!("c4n4ry-refresh-of-{access}"),
        "obtained_at": now - 60,
        "expires_at": now + 3600,
    })
}

/// The status that `authorization` of each request is answered with, by its token.
fn by_token(origin: &Origin, answers: &[(&str, &str)]) {
    let answers: Vec<(String, String)> =
        answers.iter().map(|(token, it)| (format!("Bearer {token}"), (*it).into())).collect();
    origin.on("/", move |exchange| {
        exchange.read_body();
        let sent = exchange.head.fields.get("authorization").unwrap_or_default().to_owned();
        let found = answers.iter().find(|(token, _)| *token == sent);
        exchange.send(found.map_or("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", |(_, answer)| answer));
        After::Keep
    });
}

/// The tokens that the origin got, in order.
fn received(origin: &Origin) -> Vec<String> {
    let token = |request: &Recorded| {
        let values = request.head.fields.all("authorization");
        assert_eq!(values.len(), 1, "{values:?}");
        values[0].strip_prefix("Bearer ").unwrap_or_default().to_owned()
    };
    origin.requests().iter().map(token).collect()
}

// ---- what goes in ----

#[test]
fn a_fixed_secret_replaces_what_the_client_sent_and_what_it_authenticated_with() {
    let origin = Origin::start();
    let routes = r#"
        - { prefix: /open, upstream: "http://{origin}/open", auth: none, credential: fixed }
        - { prefix: /closed, upstream: "http://{origin}/closed", credential: fixed }
        - { prefix: /plain, upstream: "http://{origin}/plain", auth: none }
    "#;
    let edge = config(routes, "", &origin).start();
    let _report = Reported(&edge);
    for (request, own) in [
        (
            Request::get("/open/x").header("x-api-key", "of-the-client").header("authorization", "Custom own"),
            Some("Custom own"),
        ),
        (Request::get("/closed/x").bearer(LAPTOP), None),
        (
            Request::get("/closed/x").header("x-api-key", LAPTOP).header("authorization", "Custom own"),
            Some("Custom own"),
        ),
    ] {
        assert_eq!(edge.call(&request).status, 200);
        let got = origin.take(&request.target);
        assert_eq!(got.head.fields.all("x-api-key"), [FIXED]);
        assert_eq!(got.header("authorization"), own, "what nobody took, nobody takes away");
        assert!(!got.contains(LAPTOP) && !got.contains("of-the-client"));
    }
    let own = Request::get("/plain/x").header("x-api-key", "of-the-client");
    assert_eq!(edge.call(&own).status, 200);
    assert_eq!(origin.take("/plain/x").header("x-api-key"), Some("of-the-client"), "a route without one is as it was");
    assert_eq!(edge.logged("/open/x")["token"], "", "a fixed secret is no token");
}

/// Each separator, each case, alone, twice, nominated by `Connection`, with odd bytes, as a trailer, over HTTP/2.
#[test]
fn nothing_that_a_client_sends_reads_as_the_credential() {
    let origin = Origin::start();
    let routes = r#"- { prefix: /, upstream: "http://{origin}", auth: none, credential: fixed }"#;
    let edge = config(routes, "", &origin).listener("h2c: true").start();
    let _report = Reported(&edge);
    let mut wire = edge.connect();
    let mut cases = 0;
    for (index, name) in spellings("x-api-key").into_iter().enumerate() {
        for (way, head, tail) in [
            ("once", format!("{name}: forged\r\n"), ""),
            ("twice", format!("{name}: forged\r\n{name}: forged2\r\n"), ""),
            ("nominated", format!("{name}: forged\r\nconnection: keep-alive, {name}\r\n"), ""),
            ("away", "connection: keep-alive, x-api-key, X-Api-Key\r\n".to_owned(), ""),
            ("odd", format!("{name}:\t forged\u{ff}, \"forged\" \r\n"), ""),
            (
                "trailer",
                format!("transfer-encoding: chunked\r\ntrailer: {name}\r\n"),
                "1\r\nx\r\n0\r\nNAME: forged\r\n\r\n",
            ),
        ] {
            let target = format!("/{way}/{index}");
            let method = if tail.is_empty() { "GET" } else { "POST" };
            wire.send(format!(
                "{method} {target} HTTP/1.1\r\nhost: demo.test\r\n{head}\r\n{}",
                tail.replace("NAME", &name)
            ));
            assert_eq!(wire.response_to(method).status, 200, "{way} {name}");
            expect_only_ours(&origin.take(&target), &format!("{way} {name}"));
            cases += 1;
        }
    }
    let mut http2 = H2::connect(edge.data);
    let lower: std::collections::BTreeSet<String> =
        spellings("x-api-key").iter().map(|name| name.to_ascii_lowercase()).collect();
    for (index, name) in lower.iter().enumerate() {
        let target = format!("/h2/{index}");
        let stream = http2.request("POST", &target, &[(name, "forged"), (name, "forged2")], false);
        http2.data(stream, b"x", false);
        http2.head(stream, &[(name, "forged")], true);
        assert_eq!(http2.answer(stream).status, 200, "{name}");
        expect_only_ours(&origin.take(&target), name);
        cases += 1;
    }
    assert!(cases >= 500, "{cases}");
    // What is no name is no request.
    for name in ["x-api-key ", "x\u{2010}api\u{2010}key", "ⅹ-api-key", "x api key"] {
        let mut wire = edge.connect();
        wire.send(format!("GET /bad HTTP/1.1\r\nhost: demo.test\r\n{name}: forged\r\n\r\n"));
        assert_eq!(wire.response().status, 400, "{name:?}");
    }
    assert!(origin.requests().is_empty());
}

fn expect_only_ours(request: &Recorded, case: &str) {
    assert_eq!(request.head.fields.all("x-api-key"), [FIXED], "{case}");
    assert!(!request.contains("forged"), "{case}: {}", String::from_utf8_lossy(&request.head.raw));
    let trailers = request.trailers.names();
    assert!(trailers.is_empty(), "{case}: {trailers:?}");
}

/// Every mixture of separators, in ten mixtures of cases.
fn spellings(name: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for letter in name.chars() {
        let forms: &[char] = if letter == '-' { &['-', '_', '.'] } else { &[letter] };
        all = all.iter().flat_map(|front| forms.iter().map(move |form| format!("{front}{form}"))).collect();
    }
    let cased = |name: &String, upper: u32| -> String {
        let at = |(at, letter): (usize, char)| if upper >> at & 1 == 1 { letter.to_ascii_uppercase() } else { letter };
        name.chars().enumerate().map(at).collect()
    };
    let masks = [0, !0, 0b1, 0b100, 0b1_0000_0101, 0b0101_0101, 0b1010_1010, 0b1_0000_0000, 0b1_0000, 0b1_1100];
    all.iter().flat_map(|name| masks.iter().map(move |mask| cased(name, *mask))).collect()
}

#[test]
fn towards_http2_a_credential_is_never_indexed() {
    let origin = Origin::start();
    let upstream = Frames::start(|peer, stream, _| {
        peer.answer(stream, "hello");
        After::Keep
    });
    let routes = r#"
        - { prefix: /fixed, upstream: clear, auth: none, credential: fixed }
        - { prefix: /pool, upstream: clear, auth: none, credential: pool }
    "#;
    let edge = config(routes, "", &origin).value("clear", &upstream.authority()).token("a", &token("c4n4ry-a")).start();
    let _report = Reported(&edge);
    for path in ["/fixed/1", "/pool/1", "/fixed/2", "/pool/2"] {
        let request = Request::get(path).header("x-api-key", "forged").header("x-plain", "kept");
        assert_eq!(edge.call(&request).status, 200);
    }
    assert_eq!(upstream.connections(), 1, "what one decoder reads");
    let mut decoder = Decoder::default();
    for (index, block) in upstream.blocks().iter().enumerate() {
        let fields = decoder.decode(block);
        let (name, value) = if index % 2 == 0 { ("x-api-key", FIXED) } else { ("authorization", "Bearer c4n4ry-a") };
        assert_eq!(fields.all(name), [value]);
        assert_eq!(std::mem::take(&mut decoder.never_indexed), [name], "request {index}: {:?}", fields.names());
    }
}

// ---- where it goes ----

#[test]
fn a_redirect_is_the_clients_and_nobody_else_sees_the_credential() {
    let (origin, elsewhere) = (Origin::start(), Origin::start());
    let routes = r#"
        - { prefix: /fixed, upstream: "http://{origin}/fixed", auth: none, credential: fixed }
        - { prefix: /pool, upstream: "http://{origin}/pool", auth: none, credential: pool }
        - { prefix: /other, upstream: "http://{second}/other", auth: none }
    "#;
    let config = config(routes, "", &origin).value("second", &elsewhere.authority());
    let edge = config.token("a", &token("c4n4ry-a")).start();
    let _report = Reported(&edge);
    for status in [301, 302, 303, 307, 308] {
        let location = format!("http://{}/taken", elsewhere.authority());
        origin.answer("/", format!("HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"));
        for path in ["/fixed/moved", "/pool/moved"] {
            let response = edge.get(path);
            assert_eq!((response.status, response.header("location")), (status, Some(location.as_str())));
        }
    }
    assert_eq!(elsewhere.count(), 0);
    assert_eq!(edge.get("/other/x").status, 200);
    assert!(!elsewhere.take("/other/x").contains(CANARY));
}

#[test]
fn health_checks_carry_no_credential() {
    let origin = Origin::start();
    let text = sections(r#"- { prefix: /, upstream: checked, auth: none, credential: fixed }"#, "");
    let group =
        "upstreams:\n  checked: { endpoints: [{ address: \"{origin}\" }], health: { path: /healthz, interval: 1s } }";
    let edge = Config::new(&text.replace("upstreams:", group))
        .origin(&origin)
        .value("provider", "127.0.0.1:1")
        .value("clear", "127.0.0.1:1")
        .value("second", "127.0.0.1:1")
        .environment("FIXED", FIXED)
        .environment("LAPTOP", LAPTOP)
        .start();
    let _report = Reported(&edge);
    assert!(!origin.request_for("/healthz").contains(CANARY));
    assert_eq!(edge.get("/x").status, 200);
    assert_eq!(origin.take("/x").header("x-api-key"), Some(FIXED));
}

// ---- explain ----

#[test]
fn explain_says_which_credential_and_shows_nothing_of_it() {
    let origin = Origin::start();
    let routes = r#"
        - { prefix: /fixed, upstream: "http://{origin}", auth: none, credential: fixed }
        - { prefix: /pool, upstream: "http://{origin}", auth: none, credential: pool }
    "#;
    let edge = config(routes, "", &origin).token("a", &token("c4n4ry-a")).start();
    for (path, header, said) in [
        ("/fixed", "x-api-key", "fixed: the same secret for every request; goes out as `x-api-key: ***`"),
        (
            "/pool",
            "authorization",
            "pool: a token of provider sso, the oldest that can be used; goes out as `authorization: Bearer ***`",
        ),
    ] {
        let url = format!("http://demo.test{path}/x");
        let told = edge.command(&["explain", "--json"], &["GET", &url, "-H", &format!("{header}: mine")]);
        let json: Value =
            serde_json::from_str(&told.stdout).unwrap_or_else(|_| panic!("{}{}", told.stdout, told.stderr));
        assert_eq!(json["headers"]["set"][header], "***");
        assert!(json["headers"]["removed"].as_array().unwrap().contains(&json!(header)), "{json}");
        let verdicts = json["verdicts"].as_array().unwrap();
        let verdict = verdicts.iter().find(|it| it["policy"] == "credential").expect("a verdict");
        assert_eq!((&verdict["verdict"], &verdict["detail"]), (&json!("pass"), &json!(said)));
        assert!(!told.stdout.contains(CANARY) && !told.stderr.contains(CANARY));
        let people = edge.command(&["explain"], &["GET", &url]);
        assert!(people.stdout.contains(said) && !people.stdout.contains(CANARY), "{}", people.stdout);
    }
    assert_eq!(origin.count(), 0, "nothing was sent");
}
