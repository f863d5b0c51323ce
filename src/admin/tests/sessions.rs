//! Logging in and out over real sockets: cookies, forms of other pages, redirects.

use super::*;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const PAGE: (&str, &str) = ("accept", "text/html,*/*;q=0.8");

impl Bench {
    /// With a user `ann` whose password is `secret`.
    fn with_ann() -> Self {
        let bench = Self::new("route /a");
        let users = bench.config.with_file_name("users");
        fs::write(&users, ANN).unwrap();
        fs::write(&bench.config, format!("route /a\nusers {}", users.display())).unwrap();
        assert_eq!(bench.call("POST", "/api/v1/reload", "").status, 200);
        bench
    }

    fn log_in(&self, body: &str) -> Answer {
        self.send("POST", "/login", &[("content-type", "application/json")], body)
    }

    /// A session of whoever has the token: its cookie and its CSRF token.
    fn session(&self) -> (String, String) {
        let answer = self.log_in(&format!(r#"{{"token": "{}"}}"#, self.token));
        assert_eq!(answer.status, 200, "{}", answer.body);
        (answer.cookie(), answer.json()["csrf"].as_str().unwrap().to_owned())
    }

    fn with_cookie(&self, method: &str, path: &str, cookie: &str, more: &[(&str, &str)], body: &str) -> Answer {
        let mut headers = vec![("cookie", cookie)];
        headers.extend_from_slice(more);
        self.send(method, path, &headers, body)
    }

    fn is_logged_in(&self, cookie: &str) -> bool {
        self.with_cookie("GET", "/api/v1/status", cookie, &[], "").status == 200
    }
}

impl Answer {
    /// `name=value` of the cookie that is set.
    fn cookie(&self) -> String {
        self.header("set-cookie").unwrap_or_else(|| panic!("{}", self.head)).split(';').next().unwrap().to_owned()
    }
}

#[test]
fn a_session_begins_with_the_token_or_a_password() {
    let bench = Bench::with_ann();
    let by_token = bench.log_in(&format!(r#"{{"token": "{}"}}"#, bench.token));
    assert_eq!((by_token.status, &by_token.json()["user"]), (200, &Value::Null));
    let set = by_token.header("set-cookie").unwrap();
    assert!(set.starts_with("__Host-countersign=") && set.ends_with("; Secure; HttpOnly; SameSite=Strict"), "{set}");
    assert!(bench.is_logged_in(&by_token.cookie()));
    let by_password = bench.log_in(r#"{"user": "ann", "password": "secret"}"#);
    assert_eq!((by_password.status, &by_password.json()["user"]), (200, &"ann".into()));
    assert!(bench.is_logged_in(&by_password.cookie()));
    let sessions = bench.with_cookie("GET", "/api/v1/sessions", &by_password.cookie(), &[], "").json();
    let shown: Vec<_> = sessions.as_array().unwrap().iter().map(|it| (&it["user"], &it["current"])).collect();
    assert_eq!(shown, [(&Value::Null, &json!(false)), (&"ann".into(), &json!(true))]);
    let id = by_password.cookie().split_once('=').unwrap().1.to_owned();
    assert!(!sessions.to_string().contains(&id));
}

#[test]
fn a_wrong_log_in_gets_nothing_and_is_counted() {
    let bench = Bench::with_ann();
    for body in ["", "{}", "[]", r#"{"user": "ann"}"#, r#"{"token": "a", "user": "b"}"#, r#"{"token": 1}"#] {
        let answer = bench.log_in(body);
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_login"), "{body}");
    }
    for _ in 0..5 {
        let answer = bench.log_in(r#"{"user": "ann", "password": "s3cret"}"#);
        assert_eq!((answer.status, answer.code().as_str(), answer.header("set-cookie")), (401, "wrong_password", None));
        assert!(!answer.body.contains("s3cret"));
    }
    let answer = bench.log_in(r#"{"user": "ann", "password": "secret"}"#);
    assert_eq!((answer.status, answer.code().as_str()), (429, "too_many_attempts"), "the same count as for Basic");
    assert_eq!(bench.log_in(r#"{"token": "0123"}"#).code(), "wrong_token");
    assert_eq!(bench.session().0.len(), "__Host-countersign=".len() + 64, "the token is not locked out");
}

#[test]
fn forms_are_answered_with_redirects() {
    let bench = Bench::with_ann();
    let post = |path: &str, body: &str| bench.send("POST", path, &[FORM, PAGE], body);
    for path in ["/login", "/dashboard/login"] {
        let right = post(path, "user=ann&password=secret&next=%2Fdashboard%2Ftokens%3Fa%3Db");
        assert_eq!((right.status, right.header("location")), (303, Some("/dashboard/tokens?a=b")), "{}", right.head);
        assert!(bench.is_logged_in(&right.cookie()));
    }
    let elsewhere = post("/login", "user=ann&password=secret&next=https%3A%2F%2Fevil.test");
    assert_eq!((elsewhere.status, elsewhere.header("location")), (303, Some("/dashboard")));
    let wrong = post("/login", "user=ann&password=no&next=%2Fdashboard%2Ftokens");
    let again = "/dashboard/login?next=%2Fdashboard%2Ftokens&error=wrong_password";
    assert_eq!((wrong.status, wrong.header("location"), wrong.header("set-cookie")), (303, Some(again), None));
}

#[test]
fn browsers_are_sent_to_log_in_and_nobody_else_is() {
    let bench = Bench::new("route /a");
    let location = |method: &str, path: &str, headers: &[(&str, &str)]| {
        let answer = bench.send(method, path, headers, "");
        (answer.status, answer.header("location").map(str::to_owned))
    };
    let to = |path: &str| (303, Some(path.to_owned()));
    assert_eq!(location("GET", "/dashboard", &[PAGE]), to("/dashboard/login"));
    let tokens = to("/dashboard/login?next=%2Fdashboard%2Ftokens%3Fa%3D1%26b");
    assert_eq!(location("GET", "/dashboard/tokens?a=1&b", &[PAGE]), tokens);
    assert_eq!(location("GET", "/dashboard//evil.test", &[PAGE]), to("/dashboard/login"));
    for (method, path, headers) in [
        ("GET", "/dashboard", &[][..]),
        ("GET", "/dashboard", &[("accept", "*/*")]),
        ("GET", "/dashboardx", &[PAGE]),
        ("GET", "/api/v1/status", &[PAGE]),
        ("GET", "/", &[PAGE]),
        ("POST", "/dashboard/tokens", &[PAGE, FORM]),
        ("GET", "/dashboard", &[PAGE, ("authorization", "Bearer wrong")]),
    ] {
        assert_eq!(location(method, path, headers), (401, None), "{method} {path} {headers:?}");
    }
}

#[test]
fn logging_in_makes_a_new_session() {
    let bench = Bench::new("route /a");
    let planted = format!("__Host-countersign={}", "a".repeat(64));
    let body = format!(r#"{{"token": "{}"}}"#, bench.token);
    let json = [("content-type", "application/json")];
    let first = bench.with_cookie("POST", "/login", &planted, &json, &body).cookie();
    assert_ne!(first, planted);
    assert!(!bench.is_logged_in(&planted) && bench.is_logged_in(&first));
    let second = bench.with_cookie("POST", "/login", &first, &json, &body).cookie();
    assert!(first != second && bench.is_logged_in(&second));
    assert!(!bench.is_logged_in(&first), "whoever knew the old one is out");
    let wrong = bench.with_cookie("POST", "/login", &second, &json, r#"{"token": "wrong"}"#);
    assert_eq!((wrong.status, bench.is_logged_in(&second)), (401, true));
}

#[test]
fn logging_out_ends_the_session() {
    let bench = Bench::new("route /a");
    for path in ["/logout", "/dashboard/logout"] {
        let (cookie, csrf) = bench.session();
        let foreign = bench.with_cookie("POST", path, &cookie, &[FORM, PAGE], "");
        assert_eq!((foreign.status, bench.is_logged_in(&cookie)), (403, true));
        let answer = bench.with_cookie("POST", path, &cookie, &[FORM, PAGE], &format!("csrf={csrf}"));
        assert_eq!((answer.status, answer.header("location")), (303, Some("/dashboard/login?done=out")));
        assert!(answer.header("set-cookie").unwrap().starts_with("__Host-countersign=; Path=/; Max-Age=0"));
        assert!(!bench.is_logged_in(&cookie));
    }
    assert_eq!(bench.send("POST", "/logout", &[], "").status, 401);
    let (cookie, _) = bench.session();
    assert_eq!(bench.with_cookie("POST", "/logout", &cookie, &[], "").status, 204);
    assert!(!bench.is_logged_in(&cookie));
}

#[test]
fn sessions_are_revoked_by_their_public_names() {
    let bench = Bench::new("route /a");
    let ((first, _), (second, _)) = (bench.session(), bench.session());
    let sessions = bench.with_cookie("GET", "/api/v1/sessions", &second, &[], "").json();
    let other = sessions.as_array().unwrap().iter().find(|it| it["current"] == false).unwrap();
    let path = format!("/api/v1/sessions/{}", other["id"].as_str().unwrap());
    assert_eq!(bench.call("DELETE", &path, "").status, 204);
    assert!(!bench.is_logged_in(&first) && bench.is_logged_in(&second));
    let again = bench.call("DELETE", &path, "");
    assert_eq!((again.status, again.code().as_str()), (404, "unknown_session"));
}

#[test]
fn a_session_ends_with_its_users_password() {
    let bench = Bench::with_ann();
    let ann = bench.log_in(r#"{"user": "ann", "password": "secret"}"#).cookie();
    let (token, _) = bench.session();
    assert_eq!(bench.call("POST", "/api/v1/reload", "").status, 200);
    assert!(bench.is_logged_in(&ann), "a reload changes nothing");
    let users = bench.config.with_file_name("users");
    // The same password under another salt is another line: whoever writes it may have had a reason.
    fs::write(&users, "ann:$2y$04$abcdefghijklmnopqrstuuLl6AqZbrMyJRKRyL6v0RzbbZMlmWJmW\n").unwrap();
    fs::write(&bench.config, format!("route /b\nusers {}", users.display())).unwrap();
    assert_eq!(bench.call("POST", "/api/v1/reload", "").status, 200);
    assert!(!bench.is_logged_in(&ann) && bench.is_logged_in(&token));
}

#[test]
fn what_another_page_could_have_sent_is_refused() {
    let bench = Bench::new("route /a");
    let (cookie, csrf) = bench.session();
    let own = format!("http://127.0.0.1:{}", bench.admin.address().port());
    let reload = |headers: &[(&str, &str)], body: &str| {
        bench.with_cookie("POST", "/api/v1/reload", &cookie, headers, body).status
    };
    let json = ("content-type", "application/json");
    let same = ("sec-fetch-site", "same-origin");
    for (headers, body, expected) in [
        (&[][..], "", 200),
        (&[json], "{}", 200),
        (&[json, ("origin", &own)], "{}", 200),
        (&[json, ("origin", "http://evil.test")], "{}", 403),
        (&[json, ("sec-fetch-site", "cross-site")], "{}", 403),
        (&[FORM], "", 403),
        (&[FORM, same], "", 403),
        (&[FORM, same, ("origin", &own)], "csrf=", 403),
        (&[FORM, same, ("origin", &own)], "csrf=0123", 403),
        (&[FORM, same], &format!("csrf={csrf}&csrf={csrf}"), 403),
        (&[FORM, ("origin", "http://evil.test")], &format!("csrf={csrf}"), 403),
        (&[FORM, same], &format!("csrf={csrf}"), 200),
        (&[FORM, same, ("origin", "null")], &format!("csrf={csrf}"), 200),
        (&[FORM, ("x-csrf-token", &csrf)], "", 200),
        (&[FORM, ("x-csrf-token", "0123")], "", 403),
        (&[("content-type", "text/plain")], &format!("csrf={csrf}"), 403),
        (&[("content-type", "multipart/form-data; boundary=x")], "", 403),
        (&[("content-type", "Text/Plain; charset=utf-8"), ("x-csrf-token", &csrf)], "", 200),
    ] {
        assert_eq!(reload(headers, body), expected, "{headers:?} {body}");
    }
    let (other, _) = bench.session();
    let foreign = bench.with_cookie("POST", "/api/v1/reload", &other, &[FORM], &format!("csrf={csrf}"));
    assert_eq!((foreign.status, foreign.code().as_str()), (403, "csrf"), "another session's");
    let bearer = format!("Bearer {}", bench.token);
    let by_token = bench.send("POST", "/api/v1/reload", &[FORM, ("authorization", &bearer)], "");
    assert_eq!(by_token.status, 200, "no browser adds a token by itself");
    let login = bench.send("POST", "/login", &[FORM, ("origin", "http://evil.test")], "token=x");
    assert_eq!(login.status, 403, "nobody is logged in as somebody else");
}
