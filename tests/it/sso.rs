//! Log-in at an OpenID Connect issuer: npm's certified provider, people without JavaScript, and headless Chromium. Tokens of
//! issuers are in `tokens`.

mod browser;
mod tokens;

use std::time::{Duration, SystemTime};

use countersign::sealed::Sealer;
use countersign::secret::Secret;
use serde_json::{Value, json};
use url::Url;

use crate::support::edge::project;
use crate::support::oidc_provider::{EDGE_SECRET, OTHER_SECRET, OidcProvider};
use crate::support::origin::After;
use crate::support::visitor::{Page, Visitor, Walk};
use crate::support::wait::gate;
use crate::support::{Config, Edge, Origin, Request, Response, eventually, signature};

const SIGN_TOKEN: &str = "c4n4ry-sign-token-0123456789-abcdefghij";
const COOKIE_SECRET: &str = "c4n4ry-cookie-secret-0123456789-abcdefghij";
const HOUR: Duration = Duration::from_secs(3600);

const ROUTES: &str = r#"
    - { prefix: /a0, upstream: "http://{origin}/api", sign: { scheme: user-stamp, token: "${SIGN_TOKEN}" } }
    - { prefix: /maybe, upstream: "http://{origin}/maybe", auth: optional }
    - { prefix: /gone, upstream: "http://127.0.0.1:1/", auth: required }
    - { prefix: /pong, respond: { body: "pong\n" } }
"#;

fn provider() -> OidcProvider {
    let ann = json!({ "email": "Ann@Example.com", "email_verified": true, "name": "安娜 Müller" });
    let unverified = json!({ "email": "eve@example.com", "email_verified": false });
    OidcProvider::start_with(&json!({ "access_seconds": 3600, "people": { "ann": ann, "eve": unverified } }))
}

/// The key `oidc` for that client of a provider.
fn oidc(issuer: &str, client: &str) -> String {
    let secret = client.to_uppercase();
    format!(
        "oidc: {{ issuer: \"{issuer}\", client_id: {client}, client_secret: \"${{{secret}_SECRET}}\", \
         cookie_secret: \"${{COOKIE_SECRET}}\", logout_redirect_url: \"http://127.0.0.1/after\" }}"
    )
}

fn config(text: &str, origin: &Origin) -> Config {
    Config::new(text)
        .origin(origin)
        .environment("SIGN_TOKEN", SIGN_TOKEN)
        .environment("COOKIE_SECRET", COOKIE_SECRET)
        .environment("EDGE_SECRET", EDGE_SECRET)
        .environment("OTHER_SECRET", OTHER_SECRET)
}

fn edge(issuer: &str, origin: &Origin) -> Edge {
    let identity = format!("identity: {{ sources: [client, oidc], {} }}\n", oidc(issuer, "edge"));
    config(&format!("{identity}{}", project("demo", ROUTES)), origin).start()
}

/// Goes to a page, is sent to the issuer, logs in there; where the browser is sent then.
fn log_in_at(provider: &OidcProvider, visitor: &mut Visitor, url: &str, person: &str) -> Url {
    let away = visitor.open(url).away();
    assert!(away.as_str().starts_with(&provider.url()), "{away}");
    let sign_in = visitor.page(away.as_str()).form_with("name=\"login\"");
    let consent = visitor.submit(&sign_in, &[("login", person), ("password", "x")]).page().form_with("Continue");
    visitor.submit(&consent, &[]).away()
}

fn log_in(provider: &OidcProvider, visitor: &mut Visitor, url: &str, person: &str) -> Page {
    let back = log_in_at(provider, visitor, url, person);
    visitor.page(back.as_str())
}

/// What the visitor's browser has of a session.
fn session_of(visitor: &Visitor) -> String {
    let cookie = visitor.cookie();
    let sessions: Vec<&str> = cookie.split("; ").filter(|pair| pair.starts_with("countersign-session")).collect();
    sessions.join("; ")
}

fn sealer() -> Sealer {
    Sealer::of(&Secret::new(COOKIE_SECRET))
}

/// The same session, but with some of it changed.
fn changed(session: &str, change: impl FnOnce(&mut Value)) -> String {
    let (_, value) = session.split_once('=').expect("a session");
    let (_, sealed) = value.split_once('.').expect("one piece");
    let clear = sealer().open("oidc session", sealed).expect("our own session");
    let mut session: Value = serde_json::from_slice(&clear).expect("a session");
    change(&mut session);
    let sealed = sealer().seal("oidc session", session.to_string().as_bytes()).expect("randomness");
    format!("countersign-session=1.{sealed}")
}

fn due(session: &str) -> String {
    changed(session, |session| session["c"] = json!(1))
}

fn with(edge: &Edge, target: &str, cookie: &str) -> Request {
    Request::get(target).host(&edge.data.to_string()).header("cookie", cookie)
}

fn set_cookies(response: &Response) -> Vec<String> {
    response.head.fields.all("set-cookie").into_iter().map(str::to_owned).collect()
}

#[test]
fn a_page_is_reached_by_way_of_the_log_in() {
    let (provider, origin) = (provider(), Origin::start());
    let edge = edge(&provider.url(), &origin);
    let mut visitor = Visitor::default();
    let back = log_in_at(&provider, &mut visitor, &format!("{}/a0/x?y=1", edge.url()), "ann");
    let page = visitor.page(back.as_str());
    assert_eq!((page.status, page.url.path(), page.url.query()), (200, "/a0/x", Some("y=1")));
    let seen = origin.request_for("/api/x?y=1");
    assert_eq!(seen.header("x-kms-user"), Some("ann@example.com"));
    assert_eq!(seen.header("x-kms-username"), Some("%E5%AE%89%E5%A8%9C%20M%C3%BCller"));
    let stamp = seen.header("x-kms-stamp").unwrap();
    let signed = signature::digest(&["ann@example.com", stamp, SIGN_TOKEN]);
    assert_eq!(seen.header("x-kms-sign"), Some(signed.as_str()));
    assert!(!seen.contains("countersign-"), "our cookies are ours: {seen:?}");
    let record = eventually("the record of the page", || {
        edge.access_log().into_iter().find(|record| record["path"] == "/a0/x" && record["status"] == 200)
    });
    assert_eq!((&record["user"], &record["source"]), (&json!("ann@example.com"), &json!("oidc")));
    let first = edge.access_log().into_iter().find(|record| record["status"] == 302).unwrap();
    assert_eq!((&first["code"], &first["path"]), (&json!("login_required"), &json!("/a0/x")));
    assert_eq!(edge.metrics().sum("countersign_oidc_logins_total", &[("project", "demo"), ("outcome", "ok")]), 1.0);
    // A script is never sent away; with the session it is let through.
    let call = edge.call(&Request::get("/a0/data").host(&edge.data.to_string()));
    call.expect_error(401, "authentication_required");
    let call = edge.call(&with(&edge, "/a0/data", &format!("mine=1; {}", session_of(&visitor))));
    assert_eq!(call.status, 200);
    assert_eq!(origin.request_for("/api/data").header("cookie"), Some("mine=1"));
    let output = edge.output();
    let code = back.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    assert_eq!(edge.logged("/.countersign/oidc/callback")["status"], 302);
    for secret in [EDGE_SECRET, COOKIE_SECRET, &code] {
        assert!(!output.contains(secret) && !edge.access_lines().concat().contains(secret));
    }
}

#[test]
fn a_session_is_renewed_without_its_owner_noticing() {
    let (provider, origin) = (provider(), Origin::start());
    let edge = edge(&provider.url(), &origin);
    let mut visitor = Visitor::default();
    log_in(&provider, &mut visitor, &format!("{}/pong", edge.url()), "ann@example.com");
    let old = due(&session_of(&visitor));
    // Whatever goes out brings the new session along, and ten requests renew it once.
    origin.on("/api/events", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
        exchange.send("7\r\ndata: 1\r\n");
        exchange.send("2\r\n\n\n\r\n0\r\n\r\n");
        After::Keep
    });
    let mut fresh = String::new();
    for (target, status) in [("/a0/x", 200), ("/a0/events", 200), ("/pong", 200), ("/gone", 502), ("/maybe/x", 200)] {
        let response = edge.call(&with(&edge, target, &old));
        assert_eq!(response.status, status, "{target}: {}", response.text());
        let cookies = set_cookies(&response);
        assert_eq!(cookies.len(), 1, "{target}: {cookies:?}");
        assert!(cookies[0].starts_with("countersign-session=1.") && cookies[0].contains("HttpOnly; SameSite=Lax"));
        let caching = response.head.fields.all("cache-control").join(",");
        assert!(caching.contains("no-store") || caching.contains("no-cache=\"set-cookie\""), "{target}: {caching}");
        fresh = cookies[0].split(';').next().unwrap().to_owned();
    }
    assert_eq!(origin.request_for("/api/events").header("x-kms-user"), Some("ann@example.com"));
    assert_eq!((provider.seen().refreshes, provider.seen().errors.len()), (1, 0));
    let good = edge.call(&with(&edge, "/a0/y", &fresh));
    assert_eq!((good.status, set_cookies(&good).len()), (200, 0), "it is not due again");
    // An issuer that is gone leaves running sessions alone, until their end.
    drop(provider);
    let later = edge.call(&with(&edge, "/a0/z", &due(&fresh)));
    assert_eq!((later.status, set_cookies(&later).len()), (200, 0));
    let renewals = |outcome| edge.metrics().sum("countersign_oidc_renewals_total", &[("outcome", outcome)]);
    assert!(renewals("renewed") >= 1.0 && renewals("later") >= 1.0);
    let ended = changed(&fresh, |session| session["e"] = json!(now_millis() - 1));
    let over = edge.call(&with(&edge, "/a0/over", &ended));
    over.expect_error(401, "authentication_required");
    assert!(set_cookies(&over)[0].starts_with("countersign-session=; Path=/; Max-Age=0"), "{:?}", over.head);
    let away = edge.call(&with(&edge, "/a0/over", &ended).header("accept", "text/html"));
    assert_eq!(away.status, 302, "the issuer's documents are known: a log-in can begin");
    assert!(set_cookies(&away).iter().any(|cookie| cookie.starts_with("countersign-session=; Path=/; Max-Age=0")));
}

fn now_millis() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

#[test]
fn a_session_that_its_issuer_has_ended_is_over() {
    let (provider, origin) = (provider(), Origin::start());
    let edge = edge(&provider.url(), &origin);
    let mut visitor = Visitor::default();
    log_in(&provider, &mut visitor, &format!("{}/pong", edge.url()), "ann@example.com");
    let unknown = changed(&session_of(&visitor), |session| {
        session["c"] = json!(1);
        session["r"] = json!("nobody-has-granted-this");
    });
    let over = edge.call(&with(&edge, "/a0/x", &unknown));
    over.expect_error(401, "authentication_required");
    assert!(set_cookies(&over)[0].contains("Max-Age=0"));
    let anonymous = edge.call(&with(&edge, "/maybe/x", &unknown));
    assert_eq!((anonymous.status, set_cookies(&anonymous).len()), (200, 1), "as if there were none");
}

#[test]
fn a_log_in_that_cannot_be_finished_ends_at_a_page() {
    let (provider, origin) = (provider(), Origin::start());
    let edge = edge(&provider.url(), &origin);
    let callback = format!("{}/.countersign/oidc/callback", edge.url());
    let mut visitor = Visitor::default();
    for query in ["", "?code=x", "?code=x&state=y", "?error=access_denied&state=y"] {
        let page = visitor.page(&format!("{callback}{query}"));
        assert_eq!(page.status, 400, "{query}");
        assert!(page.html().contains("oidc_state_invalid") && page.html().contains("/.countersign/oidc/login"));
        assert_eq!(page.response.header("cache-control"), Some("no-store"));
        assert_eq!(page.response.header("referrer-policy"), Some("no-referrer"));
    }
    let told = edge.call(&Request::get("/.countersign/oidc/callback?code=x&state=y"));
    told.expect_error(400, "oidc_state_invalid");
    // Somebody who gives up at the issuer.
    let away = visitor.open(&format!("{}/a0/x", edge.url())).away();
    let back = {
        let page = visitor.page(away.as_str());
        visitor.open(&format!("{}/abort", page.url)).away()
    };
    let page = visitor.page(back.as_str());
    assert_eq!(page.status, 403);
    assert!(page.html().contains("oidc_refused"), "{}", page.html());
    // Somebody without a mail address is told whom to ask, and not sent round again.
    let mut nameless = Visitor::default();
    let back = log_in_at(&provider, &mut nameless, &format!("{}/a0/x", edge.url()), "nobody");
    let page = nameless.page(back.as_str());
    assert_eq!((page.status, session_of(&nameless).as_str()), (403, ""));
    assert!(page.html().contains("no_mail_address") && page.html().contains("Ask whoever runs"), "{}", page.html());
    let mut eve = Visitor::default();
    let back = log_in_at(&provider, &mut eve, &format!("{}/a0/x", edge.url()), "eve");
    let page = eve.page(back.as_str());
    assert_eq!((page.status, page.html().contains("has not been verified")), (403, true), "{}", page.html());
    // The same answer a second time, by the browser's back button, in the browser and elsewhere.
    let mut ann = Visitor::default();
    let back = log_in_at(&provider, &mut ann, &format!("{}/a0/x", edge.url()), "ann@example.com");
    assert_eq!(Visitor::default().page(back.as_str()).status, 400, "an answer is good in its own browser alone");
    assert_eq!(ann.page(back.as_str()).status, 200);
    assert_eq!(ann.page(back.as_str()).status, 400);
    let ended = |outcome: &str| edge.metrics().sum("countersign_oidc_logins_total", &[("outcome", outcome)]);
    assert_eq!((ended("refused"), ended("no_mail_address"), ended("ok")), (1.0, 2.0, 1.0));
}

#[test]
fn nobody_is_sent_to_another_site() {
    let (provider, origin) = (provider(), Origin::start());
    let edge = edge(&provider.url(), &origin);
    for back in
        ["//evil.test/x", "https://evil.test/", "/\\evil.test", "/%2f%2fevil.test", "/.countersign/oidc/login", ""]
    {
        let mut visitor = Visitor::default();
        let query: String = url::form_urlencoded::byte_serialize(back.as_bytes()).collect();
        let login = format!("{}/.countersign/oidc/login?back={query}", edge.url());
        let back_to = log_in_at(&provider, &mut visitor, &login, "ann@example.com");
        let answer = edge.call(&with(&edge, &back_to[url::Position::BeforePath..], &visitor.cookie()));
        assert_eq!((answer.status, answer.header("location")), (302, Some("/")), "{back}");
    }
    let mut visitor = Visitor::default();
    let login = format!("{}/.countersign/oidc/login?back=%2Fpong%3Fa%3D1%26b%3D2", edge.url());
    let page = log_in(&provider, &mut visitor, &login, "ann@example.com");
    assert_eq!((page.url.path(), page.url.query(), page.status), ("/pong", Some("a=1&b=2"), 200));
}

#[test]
fn whoever_leaves_leaves_the_issuer_as_well() {
    let (provider, origin) = (provider(), Origin::start());
    let edge = edge(&provider.url(), &origin);
    let mut visitor = Visitor::default();
    log_in(&provider, &mut visitor, &format!("{}/a0/x", edge.url()), "ann@example.com");
    let session = session_of(&visitor);
    let logout = |method: &str, fields: &[(&str, &str)]| {
        let mut request = Request::new(method, "/.countersign/oidc/logout").host(&edge.data.to_string());
        for (name, value) in fields.iter().chain(&[("cookie", session.as_str())]) {
            request = request.header(name, value);
        }
        edge.call(&request)
    };
    for site in ["cross-site", "same-site"] {
        logout("GET", &[("sec-fetch-site", site)]).expect_error(403, "cross_site");
    }
    logout("POST", &[("origin", "http://evil.test")]).expect_error(403, "cross_site");
    logout("PUT", &[]).expect_error(405, "method_not_allowed");
    for (method, field) in [("GET", ("sec-fetch-site", "same-origin")), ("POST", ("origin", &*edge.url()))] {
        let left = logout(method, &[field]);
        assert_eq!(left.status, 302, "{method}: {}", left.text());
        let to = left.header("location").unwrap();
        assert!(to.starts_with(&format!("{}/session/end?", provider.url())), "{to}");
        assert!(to.contains("post_logout_redirect_uri=") && to.contains("id_token_hint="), "{to}");
        assert!(set_cookies(&left)[0].starts_with("countersign-session=; Path=/; Max-Age=0"));
    }
    let anonymous = Request::get("/.countersign/oidc/logout").host(&edge.data.to_string());
    let nobody = edge.call(&anonymous);
    assert_eq!((nobody.status, nobody.header("location")), (302, Some("http://127.0.0.1/after")));
    visitor.open(&format!("{}/.countersign/oidc/logout", edge.url())).away();
    assert_eq!(session_of(&visitor), "");
    assert!(matches!(visitor.open(&format!("{}/a0/x", edge.url())), Walk::Away(_)));
}

#[test]
fn an_issuer_out_of_reach_is_said_to_be() {
    let origin = Origin::start();
    let edge = edge("http://127.0.0.1:1", &origin);
    let page = Request::get("/a0/x").header("accept", "text/html,*/*;q=0.8");
    let response = edge.call(&page);
    assert_eq!((response.status, response.header("retry-after")), (503, Some("5")), "{}", response.text());
    assert!(response.text().contains("identity_unavailable"), "{}", response.text());
    assert_eq!(edge.logged("/a0/x")["code"], "identity_unavailable");
    assert_eq!(edge.call(&Request::get("/maybe/x")).status, 200, "nobody has to be anybody here");
}

#[test]
fn a_session_of_one_project_is_nothing_to_another() {
    let (first, second, origin) = (provider(), provider(), Origin::start());
    let routes =
        r#"[{ prefix: /a0, upstream: "http://{origin}/api", sign: { scheme: user-stamp, token: "${SIGN_TOKEN}" } }]"#;
    let text = format!(
        "identity: {{ sources: [oidc], {} }}\nprojects:\n  one: {{ hosts: [a.test], upstream_policy: open, environments: {{ \
         production: {{ routes: {routes} }} }} }}\n  two:\n    hosts: [b.test]\n    upstream_policy: open\n    identity: \
         {{ sources: [oidc], {} }}\n    environments: {{ production: {{ routes: {routes} }} }}\n",
        oidc(&first.url(), "edge"),
        oidc(&second.url(), "other"),
    );
    let edge = config(&text, &origin).start();
    let url = |host: &str, path: &str| format!("http://{host}:{}{path}", edge.data.port());
    let (mut ann, mut bob) = (Visitor::default(), Visitor::default());
    assert_eq!(log_in(&first, &mut ann, &url("a.test", "/a0/ann"), "ann@example.com").status, 200);
    assert_eq!(log_in(&second, &mut bob, &url("b.test", "/a0/bob"), "bob@example.com").status, 200);
    assert_eq!(origin.request_for("/api/ann").header("x-kms-user"), Some("ann@example.com"));
    assert_eq!(origin.request_for("/api/ann").header("x-kms-project"), Some("one"));
    assert_eq!(origin.request_for("/api/bob").header("x-kms-user"), Some("bob@example.com"));
    assert_eq!(origin.request_for("/api/bob").header("x-kms-project"), Some("two"));
    for (host, session) in [("b.test", session_of(&ann)), ("a.test", session_of(&bob))] {
        let response = edge.call(&Request::get("/a0/other").host(host).header("cookie", &session));
        response.expect_error(401, "authentication_required");
        assert!(set_cookies(&response)[0].contains("Max-Age=0"));
    }
    assert_eq!(origin.requests_for("/api/other").len(), 0);
    // A log-in that one project has begun does not end at the other.
    let begun = ann.open(&url("a.test", "/.countersign/oidc/login")).away();
    let state = begun.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let crossed = format!("/.countersign/oidc/callback?code=x&state={state}");
    let response = edge.call(&Request::get(&crossed).host("b.test").header("cookie", &ann.cookie()));
    response.expect_error(400, "oidc_state_invalid");
}

#[test]
fn a_reload_keeps_sessions_and_what_is_known_of_the_issuer() {
    let (provider, origin) = (provider(), Origin::start());
    let edge = edge(&provider.url(), &origin);
    let mut visitor = Visitor::default();
    log_in(&provider, &mut visitor, &format!("{}/a0/x", edge.url()), "ann@example.com");
    let identity = format!("identity: {{ sources: [oidc], {} }}\n", oidc(&provider.url(), "edge"));
    edge.apply(&format!("{identity}{}", project("demo", ROUTES)));
    drop(provider);
    assert_eq!(edge.call(&with(&edge, "/a0/y", &session_of(&visitor))).status, 200);
    let away = edge.call(&Request::get("/a0/x").host(&edge.data.to_string()).header("accept", "text/html"));
    assert_eq!(away.status, 302, "the issuer need not be asked again");
    let explained = edge.command(&["explain"], &["GET", "/a0/x", "-H", "accept: text/html"]);
    assert_eq!(explained.code, Some(4), "{}", explained.stdout);
    assert!(explained.stdout.contains("refused: 302 login_required"), "{}", explained.stdout);
    let cookie = format!("cookie: {}", session_of(&visitor));
    let explained = edge.command(&["explain"], &["GET", "/a0/x", "-H", &cookie]);
    assert!(explained.stdout.contains("user ann@example.com, by session"), "{}", explained.stdout);
    let shown = edge.command(&["config", "show"], &["--effective"]);
    assert!(
        shown.stdout.contains("client_secret: '***'") || shown.stdout.contains("client_secret: \"***\""),
        "{}",
        shown.stdout
    );
}

/// Streams of a session are opened by it, and are not cut when it is renewed elsewhere.
#[test]
fn a_stream_goes_on_while_its_session_is_renewed() {
    let (provider, origin) = (provider(), Origin::start());
    let edge = edge(&provider.url(), &origin);
    let mut visitor = Visitor::default();
    log_in(&provider, &mut visitor, &format!("{}/pong", edge.url()), "ann@example.com");
    let old = due(&session_of(&visitor));
    let (open, opened) = gate();
    origin.on("/api/stream", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
        exchange.send("9\r\ndata: 1\n\n\r\n");
        opened.wait();
        exchange.send("9\r\ndata: 2\n\n\r\n0\r\n\r\n");
        After::Keep
    });
    let mut stream = edge.connect();
    stream.send(with(&edge, "/a0/stream", &old).bytes());
    let head = stream.head();
    assert_eq!((head.status, set_cookies(&head).len()), (200, 1), "{:?}", head.head);
    assert_eq!(stream.chunk(), b"data: 1\n\n");
    assert_eq!(edge.call(&with(&edge, "/a0/x", &old)).status, 200);
    open.open();
    assert_eq!(stream.chunk(), b"data: 2\n\n");
}
