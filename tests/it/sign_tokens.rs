//! Sign tokens through the API: set, generated, rotated, verified from the wire; and never to be seen again anywhere.

use serde_json::{Value, json};

use crate::canary::outputs::find;
use crate::canary::slots::forms;
use crate::support::{Config, Edge, Origin, Recorded, Request, Response, signature};

const CLIENT: &str = "c4n4ry-client-laptop-0123456789abcdef";
const FILED: &str = "c4n4ry-filed-0123456789abcdefghijklmn";
const SET: &str = "c4n4ry-set-/+~0123456789abcdefghijklmn";
const LITERAL: &str = "c4n4ry-variable-0123456789abcdefghijk";
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

const ROUTES: &str = r#"
clients:
  laptop: { token: "${CLIENT}", user: dev@example.com }
projects:
  demo:
    hosts: [demo.test]
    upstream_policy: open
    environments:
      production:
        routes:
          - { prefix: /kept, upstream: "http://{origin}/kept", sign: { scheme: user-stamp } }
          - { prefix: /filed, upstream: "http://{origin}/filed", sign: { scheme: user-stamp, token: "file:filed.token" } }
          - { prefix: /also, upstream: "http://{origin}/also", sign: { scheme: user-stamp, token: "file:filed.token" } }
          - { prefix: /variable, upstream: "http://{origin}/variable", sign: { scheme: user-stamp, token: "${VARIABLE}" } }
          - { prefix: /bare, upstream: "http://{origin}/bare" }
"#;

struct Rig {
    edge: Edge,
    origin: Origin,
}

impl Rig {
    fn start(change: impl FnOnce(Config) -> Config) -> Self {
        let origin = Origin::start();
        let config = Config::new(ROUTES)
            .origin(&origin)
            .environment("CLIENT", CLIENT)
            .environment("VARIABLE", LITERAL)
            .file("filed.token", &format!("{FILED}\n"));
        Self { edge: change(config).start(), origin }
    }

    fn call(&self, method: &str, prefix: &str, further: &str, body: Option<Value>) -> Response {
        let target = format!("/api/v1/projects/demo/environments/production/routes/%2F{prefix}/sign-token{further}");
        let request = self.edge.admin_request(method, &target);
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(body.to_string()),
            None => request,
        };
        self.edge.admin_call(&request)
    }

    fn done(&self, method: &str, prefix: &str, further: &str, body: Option<Value>) -> Value {
        let response = self.call(method, prefix, further, body);
        assert_eq!(response.status, 200, "{method} {prefix}{further}: {}", response.text());
        assert_eq!(response.head.fields.get("cache-control"), Some("no-store"));
        response.json()
    }

    fn refused(&self, method: &str, prefix: &str, further: &str, body: Option<Value>, status: u16, code: &str) {
        let response = self.call(method, prefix, further, body);
        assert_eq!(
            (response.status, response.json()["error"]["code"].as_str()),
            (status, Some(code)),
            "{method} {prefix}"
        );
    }

    /// What the upstream receives of a request to that prefix now.
    fn seen(&self, prefix: &str) -> Recorded {
        let target = format!("/{prefix}/x");
        let response = self.edge.call(&Request::get(&target).bearer(CLIENT));
        assert_eq!(response.status, 200, "{}", response.text());
        self.origin.take(&target)
    }

    fn signs_with(&self, prefix: &str, token: &str) {
        signature::verify(&self.seen(prefix).head.fields, "user-stamp", token);
    }

    fn states(&self, prefix: &str) -> Vec<(String, String)> {
        let shown = self.done("GET", prefix, "", None);
        let one = |token: &Value| {
            assert!(
                token["set_at"].is_string() && token["age_seconds"].as_u64().is_some_and(|age| age < 3600),
                "{token}"
            );
            let text = |key: &str| token[key].as_str().expect("a text").to_owned();
            (text("state"), text("fingerprint"))
        };
        shown["tokens"].as_array().expect("tokens").iter().map(one).collect()
    }
}

#[test]
fn a_token_signs_as_soon_as_it_is_set_and_is_rotated_without_a_gap() {
    let rig = Rig::start(|config| config);
    for prefix in ["kept", "filed"] {
        let shown = rig.done("PUT", prefix, "", Some(json!({ "token": SET })));
        assert!(shown.get("token").is_none(), "{shown}");
        assert_eq!(shown["kept_in"], if prefix == "kept" { "state" } else { "file" });
        rig.signs_with(prefix, SET);
        let first = rig.states(prefix);
        let staged = rig.done("PUT", prefix, "", Some(json!({ "generate": true, "activate": false })));
        let next = staged["token"].as_str().expect("the token, this once").to_owned();
        assert_eq!(next.len(), 43);
        rig.signs_with(prefix, SET);
        rig.done("POST", prefix, "/activate", None);
        rig.signs_with(prefix, &next);
        let states = rig.states(prefix);
        assert_eq!(states.iter().map(|(state, _)| state.as_str()).collect::<Vec<_>>(), ["current", "previous"]);
        assert_eq!(states[1].1, first[0].1, "the fingerprint goes with the token");
        assert_ne!(states[0].1, states[1].1);
        rig.done("POST", prefix, "/rollback", None);
        rig.signs_with(prefix, SET);
        rig.refused("POST", prefix, "/rollback", None, 409, "sign_token_staged");
        rig.done("POST", prefix, "/activate", None);
        rig.done("DELETE", prefix, "/previous", None);
        rig.signs_with(prefix, &next);
        rig.refused("POST", prefix, "/rollback", None, 409, "no_such_sign_token");
    }
    let routes = rig.edge.admin("GET", "/api/v1/routes").json();
    let route = routes["routes"].as_array().unwrap().iter().find(|route| route["prefix"] == "/kept").unwrap();
    assert_eq!(route["sign_tokens"][0]["fingerprint"], rig.states("kept")[0].1);
    assert_eq!(rig.done("GET", "filed", "", None)["shared_with"], json!(["demo/production/also"]));
    rig.signs_with("also", std::fs::read_to_string(rig.edge.directory().join("filed.token")).unwrap().trim());
    rig.done("DELETE", "kept", "", None);
    rig.signs_with("kept", "");
}

#[test]
fn what_cannot_be_set_is_refused_and_says_why() {
    let rig = Rig::start(|config| config);
    let set = || Some(json!({ "token": SET }));
    rig.refused("PUT", "variable", "", set(), 409, "sign_token_in_configuration");
    rig.refused("PUT", "bare", "", set(), 409, "route_not_signed");
    rig.refused("PUT", "none", "", set(), 404, "unknown_route");
    rig.refused("GET", "none", "", None, 404, "unknown_route");
    rig.refused("PUT", "kept", "", Some(json!({ "token": "x".repeat(30) })), 400, "bad_sign_token");
    rig.refused("PUT", "kept", "", Some(json!({ "token": format!("{SET} ") })), 400, "bad_sign_token");
    rig.refused("PUT", "kept", "", Some(json!({ "token": SET, "generate": true })), 400, "bad_body");
    rig.refused("PUT", "kept", "", Some(json!({ "token": SET, "activate": false })), 409, "no_such_sign_token");
    rig.refused("POST", "kept", "/activate", None, 409, "no_such_sign_token");
    let stranger = Request::new("PUT", "/api/v1/projects/demo/environments/production/routes/%2Fkept/sign-token");
    let stranger = stranger.host(&rig.edge.admin.to_string()).body(json!({ "generate": true }).to_string());
    assert_eq!(rig.edge.admin_call(&stranger).status, 401);
    rig.signs_with("kept", "");
    // What does not hold is not touched.
    let whole = rig.edge.text();
    rig.edge.write(&whole.replace("user-stamp", "user-stump"));
    assert_eq!(rig.call("PUT", "kept", "", set()).status, 422);
    rig.edge.write(&whole);
    assert_eq!(rig.edge.reload().0, 200);
    rig.signs_with("kept", "");
}

#[test]
fn a_token_outlives_the_process_and_is_missed_when_it_is_gone() {
    let mut rig = Rig::start(|config| config);
    rig.done("PUT", "kept", "", Some(json!({ "token": SET })));
    let prints = rig.states("kept");
    rig.edge.stop();
    rig.edge.relaunch();
    rig.signs_with("kept", SET);
    assert_eq!(rig.states("kept"), prints);
    let folder = rig.edge.directory().join("state/sign-tokens");
    let is_record = |path: &std::path::PathBuf| !path.ends_with("index.json");
    let record = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).find(is_record).unwrap();
    let bytes = std::fs::read(&record).unwrap();
    std::fs::remove_file(&record).unwrap();
    rig.edge.wait_log("sign token that was set for this route is missing");
    rig.signs_with("kept", SET);
    let check = rig.edge.command(&["check"], &[]);
    assert!(check.stdout.contains("sign_token_missing") && check.code == Some(1), "{}", check.stdout);
    std::fs::write(&record, bytes).unwrap();
    assert_eq!(rig.edge.reload().0, 200);
}

/// Planted and generated, in the clear and encrypted; then everything that anybody is told is searched.
#[test]
fn no_token_is_ever_seen_again() {
    for encrypted in [false, true] {
        let key = format!("tokens: {{ encryption_key: \"{KEY}\" }}\n");
        let rig = Rig::start(|mut config| {
            if encrypted {
                config = config.file("further.yaml", &key).including("further.yaml");
            }
            let config = config.environment("LOG_LEVEL", "trace").environment("RUST_LOG", "trace");
            config.logging("level: trace, file: \"{dir}/process.log\"")
        });
        let mut secrets = vec![SET.to_owned(), FILED.to_owned(), LITERAL.to_owned()];
        let mut outputs: Vec<(String, Vec<u8>)> = Vec::new();
        for prefix in ["kept", "filed"] {
            say_to(&mut outputs, format!("PUT {prefix}"), rig.call("PUT", prefix, "", Some(json!({ "token": SET }))));
            for activate in [false, true] {
                let body = json!({ "generate": true, "activate": activate });
                let mut shown = rig.done("PUT", prefix, "", Some(body));
                let token = shown["token"].take();
                secrets.push(token.as_str().expect("this once").to_owned());
                outputs.push((format!("PUT {prefix} generate"), shown.to_string().into_bytes()));
            }
            let body = json!({ "token": SET, "activate": false });
            say_to(&mut outputs, format!("stage {prefix}"), rig.call("PUT", prefix, "", Some(body)));
            for (method, further) in
                [("POST", "/activate"), ("POST", "/rollback"), ("POST", "/activate"), ("GET", ""), ("GET", "/next")]
            {
                say_to(&mut outputs, format!("{method} {prefix}{further}"), rig.call(method, prefix, further, None));
            }
            rig.seen(prefix);
        }
        for wrong in [
            format!("{{\"token\":[\"{SET}\"]}}"),
            format!("{{\"{SET}\":1}}"),
            SET.to_string(),
            format!("{{\"token\":\"{SET} \"}}"),
        ] {
            let target = "/api/v1/projects/demo/environments/production/routes/%2Fkept/sign-token";
            let request = rig.edge.admin_request("PUT", target).body(wrong);
            say_to(&mut outputs, "a wrong PUT".to_owned(), rig.edge.admin_call(&request));
        }
        say_to(&mut outputs, "by hand".to_owned(), rig.call("PUT", "variable", "", Some(json!({ "token": SET }))));
        everything(&rig, &mut outputs);
        let whole = rig.edge.text();
        for (from, to) in [("user-stamp", "user-stump"), ("token:", "tokn:"), ("sign: {", "sign: [{")] {
            rig.edge.write(&whole.replace(from, to));
            let (status, verdict) = rig.edge.reload();
            assert_eq!(status, 422, "{verdict}");
            outputs.push((format!("the verdict on {to}"), verdict.to_string().into_bytes()));
            everything(&rig, &mut outputs);
            say_to(
                &mut outputs,
                "PUT meanwhile".to_owned(),
                rig.call("PUT", "kept", "", Some(json!({ "token": SET }))),
            );
        }
        rig.edge.write(&whole);
        let folder = rig.edge.directory().join("state/sign-tokens");
        let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        for path in &files {
            let bytes = std::fs::read(path).unwrap();
            if encrypted {
                outputs.push((path.display().to_string(), bytes.clone()));
            }
            // Damaged, it is told of, and not shown.
            std::fs::write(path, [&bytes[..bytes.len() / 2], b"}"].concat()).unwrap();
            let (status, verdict) = rig.edge.reload();
            assert_eq!(status, 422, "{verdict}");
            outputs.push((format!("the verdict without {}", path.display()), verdict.to_string().into_bytes()));
            say_to(&mut outputs, "PUT beside it".to_owned(), rig.call("POST", "kept", "/activate", None));
            std::fs::write(path, bytes).unwrap();
        }
        assert_eq!(rig.edge.reload().0, 200);
        rig.edge.stop();
        for name in ["process.log", "access.log"] {
            let text = std::fs::read(rig.edge.directory().join(name)).unwrap();
            assert!(text.len() > 500, "{name}");
            outputs.push((name.to_owned(), text));
        }
        outputs.push(("the terminal".to_owned(), rig.edge.output().into_bytes()));
        assert!(outputs.len() > 60 && secrets.len() == 7, "{} {}", outputs.len(), secrets.len());
        for (number, secret) in secrets.iter().enumerate() {
            let forms = forms(secret);
            for (place, bytes) in &outputs {
                assert!(find(bytes, &forms).is_none(), "token {number} in {place}, encrypted: {encrypted}");
            }
        }
    }
}

fn say_to(outputs: &mut Vec<(String, Vec<u8>)>, place: String, response: Response) {
    outputs.push((place, [response.head.raw, response.body].concat()));
}

/// Pages, calls, and what commands make of the same files.
fn everything(rig: &Rig, outputs: &mut Vec<(String, Vec<u8>)>) {
    for target in [
        "/api/v1/status",
        "/api/v1/routes",
        "/api/v1/config",
        "/dashboard/routes",
        "/dashboard/configuration",
        "/dashboard/log",
        "/metrics",
    ] {
        let request = Request::get(target).host(&rig.edge.admin.to_string()).bearer(&rig.edge.token());
        say_to(outputs, target.to_owned(), rig.edge.admin_call(&request));
    }
    for (before, after) in [
        (&["check"][..], &[][..]),
        (&["check", "--format", "json"], &[]),
        (&["explain", "--json"], &["GET", "http://demo.test/kept/x", "--client", "laptop"]),
        (&["diff"], &[]),
        (&["config", "show", "--effective"], &[]),
        (&["config", "show", "--origin"], &[]),
    ] {
        let finished = rig.edge.command(before, after);
        outputs.push((before.join(" "), (finished.stdout + &finished.stderr).into_bytes()));
    }
}
