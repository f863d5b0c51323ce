//! The dashboard over real sockets: every page in both languages, as a browser gets it, and what its forms do.

use super::*;
use crate::observe::recent::Source;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const PAGE: (&str, &str) = ("accept", "text/html,*/*;q=0.8");

const PAGES: [&str; 9] = [
    "/dashboard",
    "/dashboard/tokens",
    "/dashboard/tokens/add",
    "/dashboard/tokens/callback",
    "/dashboard/routes",
    "/dashboard/routes/explain",
    "/dashboard/configuration",
    "/dashboard/log",
    "/dashboard/sessions",
];

/// What no page may show as it is.
const HOSTILE: &str = r#""'><script>alert(1)</script><img src=x onerror=alert(1)>"#;

/// Somebody who has signed in with a browser.
struct Visitor<'b> {
    bench: &'b Bench,
    cookie: String,
    csrf: String,
}

impl<'b> Visitor<'b> {
    fn new(bench: &'b Bench) -> Self {
        let body = format!("token={}", bench.token);
        let answer = bench.send("POST", "/dashboard/login", &[FORM, PAGE], &body);
        assert_eq!((answer.status, answer.header("location")), (303, Some("/dashboard")), "{}", answer.head);
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let mut visitor = Self { bench, cookie, csrf: String::new() };
        let page = visitor.open("/dashboard").body;
        visitor.csrf = page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        visitor
    }

    fn open(&self, path: &str) -> Answer {
        self.open_in("en", path)
    }

    fn open_in(&self, language: &str, path: &str) -> Answer {
        let cookie = self.cookie.as_str();
        self.bench.send("GET", path, &[("cookie", cookie), ("accept-language", language), PAGE], "")
    }

    fn submit(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.append_pair("csrf", &self.csrf).extend_pairs(fields);
        self.bench.send("POST", path, &[("cookie", &self.cookie), FORM, PAGE], &body.finish())
    }
}

/// The start tags of a page, with what is in them.
fn tags(html: &str) -> Vec<&str> {
    let openings = html.split('<').skip(1).filter(|tag| tag.starts_with(|first: char| first.is_ascii_alphabetic()));
    openings.map(|tag| tag.split('>').next().unwrap()).collect()
}

fn attribute<'t>(tag: &'t str, name: &str) -> Option<&'t str> {
    tag.split(&format!(" {name}=\"")).nth(1)?.split('"').next()
}

fn expect_whole(answer: &Answer, language: &str, path: &str) {
    let html = &answer.body;
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
    let policy = answer.header("content-security-policy").unwrap();
    for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "base-uri 'none'", "form-action 'self'"]
    {
        assert!(policy.contains(part) && !policy.contains("unsafe"), "{path}: {policy}");
    }
    assert!(html.starts_with(&format!("<!doctype html>\n<html lang=\"{language}\">")), "{path}");
    let title = html.split("<title>").nth(1).unwrap().split(" · Countersign</title>").next().unwrap();
    assert!((1..60).contains(&title.trim().len()), "{path}: {title:?}");
    assert_eq!((html.matches("<h1").count(), html.matches("<main id=\"main\"").count()), (1, 1), "{path}");
    let tags = tags(html);
    for tag in &tags {
        expect_calm(tag, path);
        expect_label(tag, &tags, path);
    }
    let posts = html.split("<form").skip(1).filter(|form| form.contains("method=\"post\""));
    let signed_in = html.contains("action=\"/dashboard/logout\"");
    for form in posts.filter(|_| signed_in) {
        let form = form.split("</form>").next().unwrap();
        assert!(form.contains("name=\"csrf\" value=\""), "{path}: a form that nobody can send: {form}");
    }
    for place in html.split("id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert_eq!(html.matches(&format!(" id=\"{place}\"")).count(), 1, "{path}: {place} is there twice");
    }
}

/// Nothing that the policy would refuse, and nothing of another site.
fn expect_calm(tag: &str, path: &str) {
    let name = tag.split_whitespace().next().unwrap();
    assert!(attribute(tag, "style").is_none() && name != "style", "{path}: {tag}");
    assert!(
        name != "script" || attribute(tag, "src").is_some_and(|it| it.starts_with("/dashboard/assets/")),
        "{path}: {tag}"
    );
    let outside_of_values: String = tag.split('"').step_by(2).collect();
    assert!(
        !outside_of_values.split_whitespace().any(|part| part.starts_with("on") && part.contains('=')),
        "{path}: {tag}"
    );
    for address in ["href", "src", "action"].into_iter().filter_map(|name| attribute(tag, name)) {
        assert!(address.starts_with("/dashboard") || address.starts_with('#'), "{path}: {tag}");
    }
}

fn expect_label(tag: &str, all: &[&str], path: &str) {
    let name = tag.split_whitespace().next().unwrap();
    let is_field = matches!(name, "input" | "select" | "textarea");
    let unseen = attribute(tag, "type") == Some("hidden") || tag.ends_with(" hidden");
    if !is_field || unseen {
        return;
    }
    let id = attribute(tag, "id").unwrap_or_else(|| panic!("{path}: {tag}"));
    assert!(all.contains(&format!("label for=\"{id}\"").as_str()), "{path}: no label for {id}");
}

#[test]
fn every_page_is_whole() {
    let bench = Bench::new("route /a\nroute /b");
    let visitor = Visitor::new(&bench);
    bench.observer.recent.take(Source::Process, b"2026-11-21T19:45:58.123456Z INFO  countersign: hello\n");
    for path in PAGES {
        for (wanted, language) in [("en-US,en", "en"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh-CN")] {
            let answer = visitor.open_in(wanted, path);
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            expect_whole(&answer, language, path);
        }
    }
    for (language, path) in [("en", "/dashboard/login"), ("zh-CN", "/dashboard/login?error=wrong_token")] {
        let answer = bench.send("GET", path, &[("accept-language", language), PAGE], "");
        expect_whole(&answer, language, path);
    }
    let nothing = visitor.open("/dashboard/nothing");
    assert_eq!(nothing.status, 404);
    expect_whole(&nothing, "en", "nothing");
}

#[test]
fn what_is_hostile_is_shown_as_text() {
    let bench = Bench::new(&format!("route /{}", HOSTILE.replace(' ', "")));
    let line = json!({ "time": HOSTILE, "method": "GET", "host": HOSTILE, "path": HOSTILE, "status": 500, "user_agent": HOSTILE });
    bench.observer.recent.take(Source::Access, format!("{line}\n{HOSTILE}\n").as_bytes());
    bench.observer.recent.take(Source::Process, format!("{HOSTILE}\n").as_bytes());
    let body = format!("token={}", bench.token);
    bench.send("POST", "/dashboard/login", &[FORM, PAGE, ("user-agent", HOSTILE)], &body);
    let visitor = Visitor::new(&bench);
    fs::write(&bench.config, format!("wrong {HOSTILE}")).unwrap();
    let reload = visitor.submit("/dashboard/configuration/reload", &[]);
    assert_eq!(reload.status, 422);
    let typed = [("method", "GET"), ("url", HOSTILE), ("headers", HOSTILE), ("from", HOSTILE), ("client", HOSTILE)];
    let explain = visitor.submit("/dashboard/routes/explain", &typed);
    let callback = visitor.submit("/dashboard/tokens/callback", &[("callback_url", HOSTILE), ("login", HOSTILE)]);
    let login = visitor.submit("/dashboard/tokens/login", &[("provider", HOSTILE)]);
    assert_eq!((explain.status, callback.status, login.status), (400, 400, 400));
    let mut answers = vec![reload, explain, callback, login];
    let queries = ["/dashboard/routes?q=", "/dashboard/log?q=", "/dashboard/log?route=", "/dashboard/configuration?q="];
    let encoded: String = url::form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect();
    answers.extend(queries.map(|path| visitor.open(&format!("{path}{encoded}"))));
    answers.extend(PAGES.map(|path| visitor.open(path)));
    answers.push(bench.send("GET", &format!("/dashboard/login?error={encoded}&next={encoded}"), &[PAGE], ""));
    for answer in &answers {
        for tag in tags(&answer.body) {
            expect_calm(tag, &answer.body);
            assert!(!tag.starts_with("img"), "{}", answer.body);
        }
    }
    let shown = answers.iter().filter(|answer| answer.body.contains("&#60;script&#62;alert(1)")).count();
    assert!(shown >= 10, "only {shown} pages show it at all");
}

#[test]
fn a_language_is_chosen_and_stays() {
    let bench = Bench::new("route /a");
    let answer = bench.send("GET", "/dashboard/login?lang=zh", &[("accept-language", "en"), PAGE], "");
    assert!(answer.body.contains("管理令牌"), "{}", answer.body);
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("cs_lang=zh; Path=/dashboard; "), "{cookie}");
    let stays = bench.send("GET", "/dashboard/login", &[("cookie", "cs_lang=zh"), ("accept-language", "en")], "");
    assert!(stays.body.contains("管理令牌") && stays.body.contains("?lang=en\""));
    let odd = bench.send("GET", "/dashboard/login?lang=%0d%0ax", &[], "");
    assert_eq!((odd.status, odd.header("set-cookie")), (200, None));
}

#[test]
fn assets_are_kept_by_browsers_under_their_own_address() {
    let bench = Bench::new("route /a");
    let page = bench.get("/dashboard/login").body;
    let plain = |path: &str| {
        let host = bench.admin.address();
        bench.raw(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes())
    };
    for (name, kind) in [
        ("dashboard.css", "text/css; charset=utf-8"),
        ("dashboard.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ] {
        let address = format!("/dashboard/assets/{name}?v=");
        let address = format!("{address}{}", page.split(&address).nth(1).unwrap().split('"').next().unwrap());
        let answer = plain(&address);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{address}");
        assert_eq!(answer.header("cache-control"), Some("public, max-age=31536000, immutable"));
        let other = plain(&format!("/dashboard/assets/{name}?v=0"));
        assert_eq!((other.status, other.header("cache-control")), (200, Some("no-store")));
    }
    for path in ["/dashboard/assets/x.css", "/dashboard/assets/..%2fmod.rs", "/dashboard/assets/"] {
        assert_ne!(plain(path).status, 200, "{path}");
    }
}

#[test]
fn parts_follow_by_themselves() {
    let bench = Bench::new("route /a");
    let visitor = Visitor::new(&bench);
    bench.observer.live.connections.store(1234, Ordering::Relaxed);
    let live = visitor.open("/dashboard/live.json").json();
    assert!(live["part-summary"].as_str().unwrap().contains("1,234"), "{live}");
    for part in ["part-charts", "part-reload", "part-endpoints", "part-certificates"] {
        let (text, page) = (live[part].as_str().unwrap(), visitor.open("/dashboard").body);
        assert!(!text.is_empty() && page.contains(&format!("id=\"{part}\"")), "{part}");
    }
    let tokens = visitor.open("/dashboard/tokens/live.json").json();
    assert!(tokens["part-tokens"].as_str().unwrap().contains("No accounts yet"));
    for path in ["/dashboard/live.json", "/dashboard/tokens/live.json", "/dashboard/log/stream"] {
        assert_eq!(bench.get(path).status, 401, "{path}");
    }
}

#[test]
fn the_configuration_is_reloaded_and_what_was_wrong_is_shown() {
    let bench = Bench::new("route /a");
    let visitor = Visitor::new(&bench);
    fs::write(&bench.config, "route /a\nroute /b").unwrap();
    let applied = visitor.submit("/dashboard/configuration/reload", &[]);
    assert_eq!(applied.status, 200);
    assert!(applied.body.contains("routes added") && applied.body.contains("demo/production/b"), "{}", applied.body);
    fs::write(&bench.config, "route /a\nwrong turn").unwrap();
    let rejected = visitor.submit("/dashboard/configuration/reload", &[]);
    assert_eq!(rejected.status, 422);
    assert!(rejected.body.contains("2 | wrong turn"), "the excerpt: {}", rejected.body);
    assert!(rejected.body.contains("The files say something else than what is in force"));
    let page = visitor.open("/dashboard/configuration").body;
    assert_eq!((page.matches(">applied<").count(), page.matches(">rejected<").count()), (2, 2), "{page}");
}

#[test]
fn a_form_of_another_page_does_nothing() {
    let bench = Bench::new("route /a");
    let visitor = Visitor { csrf: "0".repeat(64), ..Visitor::new(&bench) };
    fs::write(&bench.config, "route /b").unwrap();
    for path in ["/dashboard/configuration/reload", "/dashboard/tokens/x/remove", "/dashboard/sessions/x/revoke"] {
        assert_eq!(visitor.submit(path, &[]).status, 403, "{path}");
    }
    assert_eq!(bench.call("GET", "/api/v1/status", "").json()["generation"], 1);
}

#[test]
fn tokens_that_are_not_there_are_told() {
    let bench = Bench::new("route /a");
    let visitor = Visitor::new(&bench);
    for (path, action) in [("a", "refresh"), ("a", "test"), ("a", "remove"), ("A%00", "refresh"), ("..%2fx", "remove")]
    {
        let answer = visitor.submit(&format!("/dashboard/tokens/{path}/{action}"), &[]);
        assert_eq!(answer.status, 404, "{path} {action}");
        assert!(answer.body.contains("There is no such token."), "{}", answer.body);
    }
    assert_eq!(visitor.open("/dashboard/tokens/a/remove").status, 404);
    assert_eq!(visitor.open("/dashboard/tokens/login/0123").status, 404);
    assert!(!visitor.open("/dashboard/tokens?done=evil").body.contains("evil"));
}

#[test]
fn what_is_pasted_is_judged_with_the_words_of_the_interface() {
    let bench = Bench::new("route /a");
    let visitor = Visitor::new(&bench);
    let paste = |text: &str| visitor.submit("/dashboard/tokens/callback", &[("callback_url", text)]);
    let missing = paste("http://127.0.0.1:1/oauth/callback?code=x");
    assert_eq!(missing.status, 400);
    assert!(missing.body.contains("Callback URL missing code or state parameter"), "{}", missing.body);
    let unknown = paste(&format!("http://127.0.0.1:1/oauth/callback?code=x&state={}", "A".repeat(43)));
    assert_eq!(unknown.status, 400);
    assert!(unknown.body.contains("<strong>invalid state</strong>"), "{}", unknown.body);
    assert!(unknown.body.contains("Begin again with Add Account"));
}

#[test]
fn a_request_is_explained() {
    let bench = Bench::new("route /a");
    let visitor = Visitor::new(&bench);
    let ask = |url: &str, method: &str| {
        visitor.submit("/dashboard/routes/explain", &[("url", url), ("method", method), ("headers", "x-a: secret")])
    };
    let routed = ask("/a/x", "get");
    assert_eq!(routed.status, 200);
    assert!(routed.body.contains(">routed<") && routed.body.contains("edge.yaml:1"), "{}", routed.body);
    let refused = ask("/nowhere", "GET");
    assert!(refused.body.contains(">refused<") && refused.body.contains("route_not_found"));
    assert_eq!((ask("nonsense", "GET").status, ask("/a", "G ET").status), (400, 400));
}

#[test]
fn routes_are_filtered_and_turned_over() {
    let all: String = (0..250).map(|number| format!("route /r{number}\n")).collect();
    let bench = Bench::new(&all);
    let visitor = Visitor::new(&bench);
    let first = visitor.open("/dashboard/routes").body;
    assert!(
        first.contains("1–100 / 250") && first.contains("<code>/r99</code>") && !first.contains("<code>/r100</code>")
    );
    let next = first.split("rel=\"next\" href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&#38;", "&");
    assert!(visitor.open(&next).body.contains("101–200 / 250"), "{next}");
    assert!(visitor.open("/dashboard/routes?page=999").body.contains("201–250 / 250"));
    let found = visitor.open("/dashboard/routes?q=R24").body;
    assert_eq!(found.matches("<code>/r24").count(), 11, "/r24 and /r240 to /r249");
    assert!(visitor.open("/dashboard/routes?in=demo%2Fnowhere").body.contains("No route matches the filter."));
}

#[test]
fn sessions_are_ended_from_their_page() {
    let bench = Bench::new("route /a");
    let (one, other) = (Visitor::new(&bench), Visitor::new(&bench));
    let page = one.open("/dashboard/sessions").body;
    assert_eq!((page.matches("/revoke\"").count(), page.matches(">this one<").count()), (2, 1), "{page}");
    let row = page.split("<tr>").find(|row| row.contains("/revoke") && !row.contains("this one")).unwrap();
    let path = row.split("action=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(one.submit(path, &[]).header("location"), Some("/dashboard/sessions?done=ended"));
    assert_eq!((one.open("/dashboard").status, other.open("/dashboard").status), (200, 303));
}

#[test]
fn the_log_is_followed_from_where_the_page_ends() {
    let bench = Bench::new("route /a");
    let visitor = Visitor::new(&bench);
    bench.observer.recent.take(Source::Process, b"before\n");
    let page = visitor.open("/dashboard/log?source=process").body;
    let stream = page.split("data-stream=\"").nth(1).unwrap().split('"').next().unwrap().replace("&#38;", "&");
    assert!(page.contains("before") && stream.ends_with("after=1"), "{stream}");
    let mut wire = bench.connect();
    let head =
        format!("GET {stream} HTTP/1.1\r\nhost: {}\r\ncookie: {}\r\n\r\n", bench.admin.address(), visitor.cookie);
    wire.write_all(head.as_bytes()).unwrap();
    bench.observer.recent.take(Source::Access, b"not asked for\n");
    bench.observer.recent.take(Source::Process, b"<b>after\n");
    let (mut seen, mut buffer, begun) = (String::new(), [0; 4096], Instant::now());
    while !seen.contains("id: 3") || !seen.contains("\n\n") {
        assert!(begun.elapsed() < PATIENCE, "{seen}");
        let count = wire.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "the stream has ended: {seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    assert!(seen.contains("content-type: text/event-stream") && seen.contains("&#60;b&#62;after"), "{seen}");
    assert!(!seen.contains("before") && !seen.contains("not asked for") && !seen.contains("<b>after"), "{seen}");
}
