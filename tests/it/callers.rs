//! Who calls: passwords of htpasswd files as real tools make them, headers of a proxy in front, and bounds on guessing.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;

use crate::support::edge::{BINARY, RELOAD_PATIENCE, project};
use crate::support::process::run;
use crate::support::wait::eventually_within;
use crate::support::{Config, Edge, Origin, Request, Response, Wire, signature};

const SIGN_TOKEN: &str = "c4n4ry-sign-token-0123456789-abcdefghij";
const STRONG: &str = "c4n4ry-client-token-0123456789abcdef";

/// What a tool writes, without its line end.
fn tool(program: &str, arguments: &[&str], input: &str) -> String {
    use std::io::Write;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} (a Debian package that scripts/test installs): {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A line as `htpasswd` makes it; bcrypt of a low cost.
fn bcrypt(user: &str, password: &str) -> String {
    tool("htpasswd", &["-nbB", "-C", "5", user, password], "") + "\n"
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

fn login(target: &str, user: &str, password: &str) -> Request {
    Request::get(target).header("authorization", &basic(user, password))
}

fn call_from(edge: &Edge, source: [u8; 4], request: &Request) -> Response {
    let mut wire = Wire::connect_from(source, edge.data);
    wire.send(request.bytes());
    wire.response_to(&request.method)
}

/// An edge whose users are in `users`; the sections stand in front of the project's routes.
fn edge_with(sections: &str, users: &str, origin: &Origin) -> Edge {
    let routes = r#"
        - { prefix: /open, upstream: "http://{origin}/open", auth: none }
        - { prefix: /closed, upstream: "http://{origin}/closed" }
        - { prefix: /maybe, upstream: "http://{origin}/maybe", auth: optional }
        - { prefix: /signed, upstream: "http://{origin}/signed", sign: { scheme: user-stamp, token: "${SIGN_TOKEN}" } }
    "#;
    let clients = "clients: { strong: { token: \"${STRONG}\", user: strong@example.com } }\n";
    Config::new(&format!("{clients}{sections}\n{}", project("demo", routes)))
        .origin(origin)
        .environment("SIGN_TOKEN", SIGN_TOKEN)
        .environment("STRONG", STRONG)
        .server("trusted_proxies: [127.0.0.3]")
        .file("users", users)
        .start()
}

fn edge(users: &str, origin: &Origin) -> Edge {
    edge_with("identity: { sources: [client, basic], basic: { users_file: users } }", users, origin)
}

#[test]
fn files_of_every_kind_open_the_door_for_curl() {
    let password = "corréct horse";
    let htpasswd = |flag: &str, user: &str| tool("htpasswd", &["-nb", flag, user, password], "");
    let openssl = |kind: &str, user: &str| format!("{user}:{}", tool("openssl", &["passwd", kind, password], ""));
    let argon2 = ["somesalt", "-id", "-t", "1", "-m", "10", "-p", "1", "-e"];
    let lines = [
        "# made by htpasswd, openssl and argon2".to_owned(),
        htpasswd("-B", "bcrypt"),
        htpasswd("-m", "apr1"),
        htpasswd("-2", "sha256"),
        htpasswd("-5", "sha512"),
        openssl("-apr1", "openssl-apr1"),
        openssl("-6", "openssl-sha512"),
        format!("argon2:{}", tool("argon2", &argon2, password)),
        tool("htpasswd", &["-nbs", "sha1", password], ""),
        tool("htpasswd", &["-nbd", "des", "corr"], ""),
        format!("plain:{password}"),
    ];
    let origin = Origin::start();
    let edge = edge(&(lines.join("\r\n") + "\r\n"), &origin);
    let curl = |credential: &str| {
        let url = format!("{}/closed/x", edge.url());
        tool(
            "curl",
            &["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "host: demo.test", "-u", credential, &url],
            "",
        )
    };
    for user in ["bcrypt", "apr1", "sha256", "sha512", "openssl-apr1", "openssl-sha512", "argon2"] {
        assert_eq!(curl(&format!("{user}:{password}")), "200", "{user}");
        edge.get("/open");
    }
    assert_eq!(curl("bcrypt:wrong"), "401");
    for (user, password, why) in
        [("sha1", password, "{SHA}"), ("des", "corr", "DES crypt"), ("plain", password, "plain text")]
    {
        assert_eq!(curl(&format!("{user}:{password}")), "401", "{user}");
        assert!(edge.output().contains(why), "no warning of {why}");
    }
}

#[test]
fn no_credential_reaches_the_upstream() {
    let origin = Origin::start();
    let edge = edge(&bcrypt("Ann@Example.com", "secret"), &origin);
    for target in ["/closed/once", "/maybe/once", "/signed/once"] {
        let response = edge.call(&login(target, "Ann@Example.com", "secret"));
        assert_eq!(response.status, 200, "{target}: {}", response.text());
        let seen = origin.request_for(target);
        assert!(!seen.contains("authorization") && !seen.contains("basic"), "{target}: {seen:?}");
    }
    let signed = origin.request_for("/signed/once");
    assert_eq!(signed.header("x-kms-user"), Some("ann@example.com"));
    let stamp = signed.header("x-kms-stamp").unwrap();
    let expected = signature::digest(&["ann@example.com", stamp, SIGN_TOKEN]);
    assert_eq!(signed.header("x-kms-sign"), Some(expected.as_str()));
    assert_eq!(edge.logged("/closed/once")["user"], "ann@example.com");
    assert_eq!(edge.logged("/closed/once")["source"], "basic");
    edge.call(&login("/open/x", "not", "ours"));
    assert!(origin.request_for("/open/x").contains("authorization: basic"), "on `auth: none` it is the upstream's");
}

#[test]
fn who_is_asked_to_log_in_is_told_how() {
    let origin = Origin::start();
    let edge = edge(&bcrypt("ann", "secret"), &origin);
    let response = edge.get("/closed/x");
    response.expect_error(401, "authentication_required");
    let challenges: Vec<&(String, Vec<u8>)> =
        response.head.fields.0.iter().filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate")).collect();
    let text: Vec<_> = challenges.iter().map(|(_, value)| String::from_utf8_lossy(value)).collect();
    assert_eq!(text, ["Bearer realm=\"countersign\"", "Basic realm=\"countersign\", charset=\"UTF-8\""]);
    edge.call(&login("/maybe/x", "ann", "wrong")).expect_error(401, "invalid_credentials");
    assert_eq!(edge.get("/maybe/x").status, 200, "nobody is somebody there");
    assert_eq!(edge.call(&Request::get("/closed/x").bearer(STRONG)).status, 200);
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_changed_file_counts_at_once_and_a_broken_one_does_not() {
    let origin = Origin::start();
    let edge = edge(&bcrypt("ann", "secret"), &origin);
    let path = edge.directory().join("users");
    let status = |user: &str, password: &str| edge.call(&login("/closed/x", user, password)).status;
    assert_eq!(status("ann", "secret"), 200);
    let generation = edge.generation();
    let aside = edge.directory().join("users.new");
    std::fs::write(&aside, bcrypt("bob", "other")).unwrap();
    std::fs::rename(&aside, &path).unwrap();
    edge.wait_log("has changed: 1 users");
    assert_eq!((status("bob", "other"), status("ann", "secret")), (200, 401), "remembered beyond the file");
    std::fs::write(&path, "bob:$2y$05$half").unwrap();
    edge.wait_log("its last good state stays in force: line 1, user `bob`: the bcrypt hash is malformed");
    assert_eq!(status("bob", "other"), 200);
    std::fs::remove_file(&path).unwrap();
    eventually_within(RELOAD_PATIENCE, "the missing file is noticed", || {
        edge.output().contains("it cannot be read").then_some(())
    });
    assert_eq!(status("bob", "other"), 200);
    std::fs::write(&path, bcrypt("ann", "third")).unwrap();
    eventually_within(RELOAD_PATIENCE, "ann is back", || {
        (edge.output().matches("has changed").count() > 1).then_some(())
    });
    assert_eq!(status("ann", "third"), 200);
    assert_eq!(edge.generation(), generation, "none of this is a reload");
    std::fs::write(&path, "broken").unwrap();
    let (verdict, answer) = edge.reload();
    assert_eq!(verdict, 200, "nothing has changed in the configuration: {answer}");
    edge.write(&(edge.text() + "\n# an edit\n"));
    let (verdict, answer) = edge.reload();
    assert_eq!((verdict, &answer["diagnostics"][0]["code"]), (422, &"invalid_users_file".into()), "{answer}");
}

#[test]
fn a_reload_keeps_who_is_logged_in() {
    let origin = Origin::start();
    let edge = edge(&bcrypt("ann", "secret"), &origin);
    let path = edge.directory().join("users");
    assert_eq!(edge.call(&login("/closed/x", "ann", "secret")).status, 200);
    edge.write(&edge.text().replace("/open\", auth: none", "/opened\", auth: none"));
    let (status, _) = edge.reload();
    assert_eq!(status, 200);
    std::fs::write(&path, bcrypt("bob", "other")).unwrap();
    edge.wait_log("has changed: 1 users");
    assert_eq!(edge.call(&login("/closed/x", "bob", "other")).status, 200, "the file is followed after a reload too");
}

/// Wrong guesses on one connection: how many were looked at, how many were sent away.
fn guess(edge: &Edge, guesser: usize, count: usize) -> (usize, usize) {
    let mut wire = Wire::connect(edge.data);
    let (mut wrong, mut closed) = (0, 0);
    for number in 0..count {
        wire.send(login("/closed/x", "eve", &format!("guess {guesser} {number}")).keep_alive().bytes());
        let response = wire.response();
        match response.status {
            401 => wrong += 1,
            429 => {
                let wait: u64 = response.header("retry-after").unwrap().parse().unwrap();
                assert!((1..=60).contains(&wait), "{wait}");
                assert_eq!(response.code(), "too_many_attempts");
                closed += 1;
            }
            other => panic!("{other}: {}", response.text()),
        }
    }
    (wrong, closed)
}

#[test]
fn ten_thousand_guesses_are_five_and_nobody_else_waits() {
    let origin = Origin::start();
    let edge = edge(&(bcrypt("ann", "secret") + &bcrypt("bob", "other")), &origin);
    assert_eq!(edge.call(&login("/closed/x", "ann", "secret")).status, 200, "verified before the guessing");
    let begun = Instant::now();
    let (wrong, closed) = std::thread::scope(|scope| {
        let guessers: Vec<_> = (0..4)
            .map(|guesser| {
                scope.spawn({
                    let edge = &edge;
                    move || guess(edge, guesser, 2_500)
                })
            })
            .collect();
        let begun = Instant::now();
        for _ in 0..20 {
            assert_eq!(call_from(&edge, [127, 0, 0, 2], &login("/closed/x", "bob", "other")).status, 200);
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?} for twenty logins beside it", begun.elapsed());
        guessers
            .into_iter()
            .map(|guesser| guesser.join().unwrap())
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    // A slow machine may need more than a minute for all of them.
    let allowed = 5 * (1 + usize::try_from(begun.elapsed().as_secs() / 60).unwrap());
    assert!((1..=allowed).contains(&wrong) && wrong + closed == 10_000, "{wrong} looked at, {closed} sent away");
    assert_eq!(edge.call(&login("/closed/x", "ann", "secret")).status, 200, "verified from here before");
    assert_eq!(edge.call(&Request::get("/closed/x").bearer(STRONG)).status, 200, "a token is no password");
}

#[test]
fn who_was_verified_from_there_is_not_locked_out() {
    let origin = Origin::start();
    let edge = edge(&bcrypt("ann", "secret"), &origin);
    assert_eq!(edge.call(&login("/closed/x", "ann", "secret")).status, 200);
    for number in 0..5 {
        assert_eq!(edge.call(&login("/closed/x", "eve", &number.to_string())).status, 401);
    }
    assert_eq!(edge.call(&login("/closed/x", "eve", "5")).status, 429);
    assert_eq!(edge.call(&login("/closed/x", "ann", "secret")).status, 200);
}

#[test]
fn guessing_tokens_is_bounded_and_the_right_one_passes() {
    let origin = Origin::start();
    let edge = edge(&bcrypt("ann", "secret"), &origin);
    let status = |token: &str| edge.call(&Request::get("/closed/x").header("x-api-key", token)).status;
    let first: Vec<u16> = (0..10).map(|number| status(&format!("guess-{number}"))).collect();
    assert_eq!(first, [401; 10]);
    let response = edge.call(&Request::get("/closed/x").bearer("guess"));
    response.expect_error(429, "too_many_attempts");
    assert!(response.header("retry-after").is_some());
    assert_eq!(status(STRONG), 200);
    let elsewhere = Request::get("/closed/x").bearer("guess");
    assert_eq!(call_from(&edge, [127, 0, 0, 2], &elsewhere).status, 401);
}

#[test]
fn a_proxy_in_front_says_who_it_is_and_nobody_else_can() {
    let origin = Origin::start();
    let identity = "identity: { sources: [header], header: { user: x-auth-user, name: x-auth-name } }";
    let edge = edge_with(identity, "", &origin);
    let said = |target: &str| {
        Request::get(target)
            .header("x-auth-user", "Ann@Example.com")
            .header("x-auth-name", "Ann B")
            .header("X_Auth_User", "forged@example.com")
    };
    assert_eq!(edge.call(&said("/signed/forged")).status, 401);
    assert_eq!(call_from(&edge, [127, 0, 0, 3], &said("/signed/told")).status, 200);
    let told = origin.request_for("/signed/told");
    assert_eq!((told.header("x-kms-user"), told.header("x-kms-username")), (Some("ann@example.com"), Some("Ann%20B")));
    for (source, target) in [([127, 0, 0, 1], "/open/x"), ([127, 0, 0, 1], "/maybe/x"), ([127, 0, 0, 3], "/maybe/y")] {
        assert_eq!(call_from(&edge, source, &said(target)).status, 200, "{target}");
        let seen = origin.request_for(target);
        assert!(!seen.contains("auth-user") && !seen.contains("auth_user") && !seen.contains("auth-name"), "{seen:?}");
    }
    assert_eq!(edge.logged("/maybe/x")["user"], "", "a stranger's word counts for nothing");
    assert_eq!(edge.logged("/maybe/y")["user"], "ann@example.com");
}

#[test]
fn explain_says_what_the_wire_does() {
    let origin = Origin::start();
    let edge = edge(&(bcrypt("ann", "secret") + &bcrypt("bob", "other")), &origin);
    let right = basic("ann", "secret");
    let wrong = basic("ann", "other");
    for target in ["/open/x", "/closed/x", "/maybe/x", "/signed/x"] {
        for field in [None, Some(right.as_str()), Some(wrong.as_str()), Some("Basic !"), Some("Bearer nobody")] {
            let request = field.map_or(Request::get(target), |it| Request::get(target).header("authorization", it));
            let response = call_from(&edge, [127, 0, 0, 9], &request);
            let header = field.map(|value| format!("authorization: {value}"));
            let mut after = vec!["GET", target, "--json", "-H", "host: demo.test"];
            after.extend(header.iter().flat_map(|header| ["-H", header]));
            let finished = edge.command(&["explain"], &after);
            let said: serde_json::Value =
                serde_json::from_str(&finished.stdout).unwrap_or_else(|_| panic!("{finished:?}"));
            let (outcome, code) = match response.status {
                200 => ("routed", serde_json::Value::Null),
                _ => ("refused", response.code().into()),
            };
            // The wire counts guesses, a question does not.
            if response.status != 429 {
                assert_eq!(
                    (said["outcome"].as_str(), &said["code"]),
                    (Some(outcome), &code),
                    "{target} {field:?}: {said}"
                );
            }
            assert!(!finished.stdout.contains("secret"), "{}", finished.stdout);
        }
    }
    let finished = edge.command(
        &["explain"],
        &["GET", "/closed/x", "-H", "host: demo.test", "-H", &format!("authorization: {right}")],
    );
    assert!(
        finished.stdout.contains("user ann, by password") && finished.stdout.contains("- authorization"),
        "{}",
        finished.stdout
    );
}

#[test]
fn what_password_prints_opens_the_door() {
    let password = |arguments: &[&str]| tool(BINARY, &[&["password"], arguments].concat(), "a secret\n");
    let users = [
        password(&["--htpasswd", "ann@example.com"]),
        password(&["--htpasswd", "bob", "--bcrypt"]),
        format!("carl:{}", password(&[])),
    ];
    assert!(users[0].starts_with("ann@example.com:$argon2id$") && users[1].starts_with("bob:$2y$"), "{users:?}");
    let origin = Origin::start();
    let edge = edge(&users.join("\n"), &origin);
    for user in ["ann@example.com", "bob", "carl"] {
        let slow = Duration::from_secs(60);
        let mut wire = edge.connect();
        wire.patience = slow;
        wire.send(login("/closed/x", user, "a secret").bytes());
        assert_eq!(wire.response().status, 200, "{user}");
    }
    let nothing = run(Command::new(BINARY).arg("password"));
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(2), ""), "standard input is empty: {nothing:?}");
}

#[test]
fn people_log_in_at_the_admin_listener() {
    let origin = Origin::start();
    let edge = Config::routes("- { prefix: /, upstream: \"http://{origin}\", auth: none }")
        .origin(&origin)
        .admin("users_file: admin.htpasswd, metrics: { auth: required }")
        .file("admin.htpasswd", &bcrypt("ann", "secret"))
        .start();
    let ask = |target: &str, credential: Option<String>| {
        let request = Request::get(target).host(&edge.admin.to_string());
        edge.admin_call(&credential.map_or(request.clone(), |it| request.header("authorization", &it)))
    };
    assert_eq!(ask("/api/v1/status", Some(basic("ann", "secret"))).status, 200);
    assert_eq!(ask("/metrics", Some(basic("ann", "secret"))).status, 200);
    assert_eq!(ask("/metrics", None).status, 401);
    assert_eq!(ask("/livez", None).status, 200, "health is for everybody in `allow`");
    let wrong = ask("/api/v1/status", Some(basic("ann", "wrong")));
    wrong.expect_error(401, "wrong_password");
    std::fs::write(edge.directory().join("admin.htpasswd"), bcrypt("bob", "other")).unwrap();
    edge.wait_log("has changed: 1 users");
    assert_eq!(ask("/api/v1/status", Some(basic("bob", "other"))).status, 200);
    assert_eq!(ask("/api/v1/status", Some(basic("ann", "secret"))).status, 401);
    for number in 0..10 {
        ask("/api/v1/status", Some(format!("Bearer {number:064}")));
    }
    ask("/api/v1/status", Some("Bearer x".into())).expect_error(429, "too_many_attempts");
    assert_eq!(edge.admin("GET", "/api/v1/status").status, 200, "the right token passes");
}
