//! The configuration as a whole: what a good one becomes, what watches and digests, and properties that hold for any text.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::model::*;
use super::{Loading, load, load_text, render};
use crate::diagnostic::Diagnostic;

const LEAST: &str = "listeners: { http: { address: \"127.0.0.1:8080\" } }\n\
    projects: { demo: { environments: { production: { routes: [{ prefix: /, upstream: \"http://o.example\" }] } } } }\n";

fn read(text: &str) -> Loading {
    load_text("c.yaml", text, Path::new("conf"), &|name| (name == "STRONG").then(|| "s".repeat(40)))
}

fn model(text: &str) -> Model {
    let loading = read(text);
    loading.model.unwrap_or_else(|| panic!("{}", render::human(&loading.sources, &loading.diagnostics, false)))
}

fn codes(loading: &Loading) -> Vec<&'static str> {
    loading.diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
}

/// A directory with files; `load` reads its `c.yaml`.
struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        files.iter().for_each(|(name, text)| this.write(name, text));
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn load(&self) -> Loading {
        self.load_with(&[])
    }

    fn load_with(&self, variables: &[(&str, &str)]) -> Loading {
        let variables: HashMap<&str, &str> = variables.iter().copied().collect();
        load(&self.path("c.yaml"), &|name| variables.get(name).map(|value| (*value).to_owned()))
    }
}

#[test]
fn the_least_file_has_every_default() {
    let model = model(LEAST);
    assert_eq!(model.server.drain_timeout, Duration::from_secs(300));
    assert_eq!((model.server.threads, model.server.max_connections), (None, 20_000));
    assert_eq!((model.server.dns.refresh, model.server.dns.timeout), (None, Duration::from_secs(2)));
    assert_eq!(model.logging.level, log::LevelFilter::Info);
    assert_eq!(model.logging.access.sample, 1.0);
    let listener = &model.listeners[0];
    assert_eq!((listener.headers_timeout, listener.idle_timeout), (Duration::from_secs(10), Duration::from_secs(60)));
    assert_eq!(listener.max_header_size, 32 << 10);
    assert_eq!(model.admin.address.value, "127.0.0.1:9090".parse().unwrap());
    let loopback: Vec<ipnet::IpNet> = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    assert_eq!((&model.admin.allow, &model.admin.metrics_allow), (&loopback, &loopback));
    assert_eq!(model.admin.state_dir, Path::new("conf/../state"));
    assert_eq!(model.tokens_dir, Path::new("conf/../tokens"));
    let project = &model.projects[0];
    assert_eq!((project.environment.as_str(), project.app_id.as_str()), ("production", ""));
    assert_eq!(project.upstream_policy, UpstreamPolicy::Guarded);
    assert_eq!(project.sign_defaults.header_prefix.value, "x-kms-");
    assert_eq!(project.sign_defaults.username_encoding, UsernameEncoding::Percent);
    let route = &project.environments[0].routes[0];
    assert_eq!((route.auth, route.timeouts), (Auth::Required, Timeouts::default()));
    assert!(route.methods.is_none() && route.access_allow.is_none() && route.sign.is_none());
}

#[test]
fn every_key_reaches_the_model() {
    let text = r#"
server: { threads: 3, drain_timeout: 7s, max_connections: 9, trusted_proxies: [10.0.0.1], internal_networks: [10.0.0.0/8],
  dns: { servers: ["10.0.0.2", "[::1]:5353"], refresh: 5s, timeout: 1s }, runtime_dir: run }
logging: { level: debug, format: json, file: a.log, access: { format: combined, file: b.log, sample: 0.25, query: full } }
listeners: { b: { address: "[::1]:80", headers_timeout: 1s, idle_timeout: 2s, max_header_size: 16KiB }, a: { address: "0.0.0.0:0" } }
admin: { address: "[::1]:9091", allow: [::1], hosts: [Admin.Example], metrics: { allow: [] }, state_dir: /var/s }
upstreams:
  users: { scheme: https, endpoints: [{ address: "A.example:8443", weight: 2 }, { address: "[::1]:1" }],
    tls: { server_name: u.example, ca: ca.pem, verify: false }, keepalive: { idle: 5s } }
tokens_dir: t
clients: { c: { token: "${STRONG}", user: Dev@x.example, name: Dev, projects: [p], expires: 2027-06-30 } }
projects:
  p:
    hosts: [A.example, "*.b.example"]
    app_id: 1001
    upstream_policy: open
    environment: dev
    choose_environment:
      - { header: X-Env, of: [dev], from: [10.0.0.0/8] }
      - { cookie: Env }
      - { host: "*.d.example", is: dev }
    sign_defaults: { header_prefix: X-Own-, username_encoding: raw }
    environments:
      dev:
        routes:
          - prefix: /u/
            upstream: users
            rewrite: /i/
            host: client
            auth: optional
            methods: [GET, PURGE]
            access: { allow: [10.0.0.0/8], deny: ["::1"] }
            sign: { scheme: user-project-appid-stamp, token: "${STRONG}" }
            payload: { X-Token: "Bearer ${STRONG}" }
            headers:
              request: { set: { x-a: 1 }, add: { x-b: [2, 3] }, remove: [Cookie] }
              response: { set: { x-c: d } }
            timeouts: { connect: 1s, first_byte: 2s, idle: 3s, send: 4s }
          - { prefix: /r, redirect: { to: "/x{rest}{query}", status: 308 } }
          - { prefix: /p, respond: { status: 418, body: "pong\n" } }
          - { prefix: /h, upstream: "https://[2001:DB8::1]/api", host: other.example }
"#;
    let model = model(text);
    assert_eq!(model.server.runtime_dir.as_deref(), Some(Path::new("conf/run")));
    assert_eq!(model.server.dns.servers[0], "10.0.0.2:53".parse().unwrap());
    assert_eq!(model.logging.access.file.as_deref(), Some(Path::new("conf/b.log")));
    assert_eq!(model.listeners.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(model.admin.state_dir, Path::new("/var/s"));
    assert_eq!((model.admin.hosts[0].as_str(), model.admin.metrics_allow.len()), ("admin.example", 0));
    let group = &model.upstreams[0];
    assert_eq!((group.endpoints[0].host.as_str(), group.endpoints[0].weight), ("a.example", 2));
    assert_eq!((group.endpoints[1].host.as_str(), group.endpoints[1].port), ("::1", 1));
    assert_eq!(group.tls.ca.as_ref().unwrap().value, Path::new("conf/ca.pem"));
    assert_eq!((group.tls.verify, group.keepalive_idle), (false, Duration::from_secs(5)));
    let client = &model.clients[0];
    assert!(matches!(&client.token, ClientToken::Clear(secret) if secret.len() == 40));
    assert_eq!(client.user.as_ref().unwrap().value, "Dev@x.example");
    assert_eq!(client.expires_before, Some(1_814_400_000_000));
    let project = &model.projects[0];
    assert_eq!(project.hosts[1].value, HostPattern::Wildcard("b.example".into()));
    assert_eq!((project.app_id.as_str(), project.environment.as_str()), ("1001", "dev"));
    assert!(matches!(&project.choose_environment[1].by, EnvironmentSource::Cookie(name) if name == "Env"));
    assert_eq!(project.sign_defaults.header_prefix.value, "x-own-");
    let routes = &project.environments[0].routes;
    let first = &routes[0];
    assert_eq!((first.prefix.as_str(), first.at.line), ("/u", 26));
    let Action::Proxy(proxy) = &first.action else { panic!() };
    assert!(matches!(&proxy.target, Target::Group(name) if name.value == "users"));
    assert_eq!(proxy.rewrite.as_ref().unwrap().value, "/i/");
    assert_eq!(first.methods.as_ref().unwrap().len(), 2);
    assert_eq!(first.sign.as_ref().unwrap().scheme, SignScheme::UserProjectAppidStamp);
    assert_eq!(first.payload[0].1.expose(), format!("Bearer {}", "s".repeat(40)));
    assert_eq!(first.request_headers.add.len(), 2);
    assert_eq!(first.timeouts.send, Duration::from_secs(4));
    assert!(matches!(&routes[1].action, Action::Redirect { status, .. } if *status == 308));
    assert!(matches!(&routes[2].action, Action::Respond { status, body } if *status == 418 && body == "pong\n"));
    let Action::Proxy(Proxy { target: Target::Url(url), host: HostHeader::Literal(host), .. }) = &routes[3].action
    else {
        panic!()
    };
    assert_eq!(
        (url.host.as_str(), url.authority.as_str(), url.path.as_str()),
        ("2001:db8::1", "[2001:db8::1]", "/api")
    );
    assert_eq!(host, "other.example");
}

#[test]
fn secrets_come_from_files_credentials_and_variables() {
    let files = Files::new(&[
        (
            "c.yaml",
            &format!(
                "{LEAST}clients:\n  a: {{ token: file:s/a }}\n  b: {{ token: \"file:${{DIR}}/b\" }}\n  c: {{ token: credential:c }}\n  d: {{ token: \"${{D}}\" }}\n"
            ),
        ),
        ("s/a", "token-a-of-quite-some-length\r\n"),
        ("s/b", "token-b-of-quite-some-length\n"),
        ("creds/c", "token-c-of-quite-some-length"),
    ]);
    let directory = files.path("creds");
    let variables =
        [("DIR", "s"), ("CREDENTIALS_DIRECTORY", directory.to_str().unwrap()), ("D", "file:s/a-is-not-read-from-here")];
    let loading = files.load_with(&variables);
    assert_eq!(codes(&loading), Vec::<&str>::new());
    let tokens: Vec<String> = loading
        .model
        .unwrap()
        .clients
        .iter()
        .map(|client| match &client.token {
            ClientToken::Clear(secret) => secret.expose().to_owned(),
            ClientToken::Sha256(_) => panic!(),
        })
        .collect();
    assert_eq!(
        tokens,
        [
            "token-a-of-quite-some-length",
            "token-b-of-quite-some-length",
            "token-c-of-quite-some-length",
            "file:s/a-is-not-read-from-here"
        ]
    );
    for path in ["s/a", "s/b", "creds/c", "c.yaml"] {
        assert!(loading.watched.contains(&files.path(path)), "{path} is not watched");
    }
}

#[test]
fn a_secret_file_that_everyone_can_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let files = Files::new(&[
        ("c.yaml", &format!("{LEAST}clients: {{ a: {{ token: file:a }} }}\n")),
        ("a", "token-a-of-quite-some-length"),
    ]);
    std::fs::set_permissions(files.path("a"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let loading = files.load();
    assert_eq!(codes(&loading), ["secret_permissions"]);
    assert!(loading.model.is_some());
}

#[test]
fn the_digest_changes_with_everything_that_was_read_and_with_nothing_else() {
    let text =
        format!("{LEAST}include: [\"p/*.yaml\"]\nclients: {{ a: {{ token: file:a }}, b: {{ token: \"${{B}}\" }} }}\n");
    let files = Files::new(&[("c.yaml", &text), ("a", "token-a-of-quite-some-length"), ("p/x.yaml", "server: {}\n")]);
    let b = [("B", "token-b-of-quite-some-length")];
    let digest = || files.load_with(&b).sha256;
    let first = digest();
    assert_eq!(first, digest());
    files.write("unrelated", "x");
    assert_eq!(first, digest());
    assert_ne!(first, files.load_with(&[("B", "token-B-of-quite-some-length")]).sha256);
    files.write("a", "token-A-of-quite-some-length");
    let second = digest();
    assert_ne!(first, second);
    files.write("p/x.yaml", "server: {} # changed\n");
    let third = digest();
    assert_ne!(second, third);
    files.write("p/y.yaml", "");
    assert_ne!(third, digest());
    assert!(files.load().watched.contains(&files.path("p")));
}

#[test]
fn includes_come_in_order_and_paths_start_at_their_own_file() {
    let project =
        |name: &str| format!("projects: {{ {name}: {{ environments: {{ production: {{ routes: [] }} }} }} }}\n");
    let files = Files::new(&[
        ("c.yaml", &format!("include: [p/*.yaml, q.yaml, p/a.yaml]\n{LEAST}")),
        ("p/b.yaml", &project("b")),
        ("p/a.yaml", &format!("include: sub/*.yaml\ntokens_dir: mine\n{}", project("a"))),
        ("p/sub/n.yaml", &project("n")),
        ("q.yaml", &project("q")),
    ]);
    let loading = files.load();
    assert_eq!(codes(&loading), Vec::<&str>::new());
    let model = loading.model.unwrap();
    let names: Vec<&str> = model.projects.iter().map(|project| project.name.as_str()).collect();
    assert_eq!(names, ["demo", "a", "n", "b", "q"]);
    assert_eq!(model.tokens_dir, files.path("p/mine"));
    assert_eq!(loading.sources.files.len(), 5);
    assert_eq!(loading.sources.files[2].path, files.path("p/sub/n.yaml"));
}

#[test]
fn a_missing_file_is_one_error_without_a_place() {
    let loading = load(Path::new("/nonexistent/c.yaml"), &|_| None);
    assert_eq!(codes(&loading), ["unreadable_file"]);
    assert_eq!(loading.diagnostics[0].at, None);
    let line = render::line(&loading.sources, &loading.diagnostics[0]);
    assert!(line.starts_with("error: `/nonexistent/c.yaml` cannot be read: no such file"), "{line}");
}

#[test]
fn a_named_pipe_is_no_secret_and_holds_nobody_up() {
    let files = Files::new(&[("c.yaml", &format!("{LEAST}clients: {{ a: {{ token: file:pipe }} }}\n"))]);
    let made = std::process::Command::new("mkfifo").arg(files.path("pipe")).status().unwrap();
    assert!(made.success());
    assert_eq!(codes(&files.load()), ["secret_file"]);
}

#[test]
fn debug_output_of_a_loading_shows_no_secret() {
    let loading = read(&format!("{LEAST}clients: {{ a: {{ token: a-literal-token-of-some-length }} }}\n"));
    assert!(loading.model.is_some());
    assert!(!format!("{loading:?}").contains("a-literal-token"));
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_text() {
    let files = Files::new(&[("c.yaml", &format!("\u{feff}servr: 1\n{LEAST}"))]);
    let loading = files.load();
    assert_eq!(codes(&loading), ["unknown_key"]);
    assert_eq!(loading.diagnostics[0].at.unwrap().column, 1);
}

#[test]
fn budgets_of_files_and_values_hold() {
    let files = Files::new(&[("c.yaml", &format!("#{}\n{LEAST}", "x".repeat(super::files::MAX_FILE)))]);
    assert_eq!(codes(&files.load()), ["file_too_large"]);
    let long = "x".repeat(600_000);
    let text = format!("{LEAST}logging: {{ file: \"${{A}}${{A}}\" }}\n");
    let loading = load_text("c.yaml", &text, Path::new(""), &|_| Some(long.clone()));
    assert_eq!(codes(&loading), ["value_too_long"]);
}

#[test]
fn of_a_flood_only_the_beginning_is_kept() {
    let text: String = (0..20_000).map(|n| format!("k{n}: 1\n")).collect();
    let loading = read(&text);
    assert!(loading.model.is_none());
    assert_eq!(loading.diagnostics.len(), super::decoder::MOST + 1);
    let last = loading.diagnostics.last().unwrap();
    assert_eq!((last.code, last.at.unwrap().line), ("too_many_problems", 10_001));
    assert!(last.is_error());
    let clients: String =
        (0..11_000).map(|n| format!("  c{n}: {{ token: a-literal-token-of-number-{n} }}\n")).collect();
    let loading = read(&format!("{LEAST}clients:\n{clients}"));
    assert!(loading.model.is_some(), "warnings alone refuse nothing, however many");
}

#[test]
fn a_line_for_the_log_is_one_line() {
    let loading = read("listeners: { \"a\\nb\": 1 }\n");
    for diagnostic in &loading.diagnostics {
        let line = render::line(&loading.sources, diagnostic);
        assert!(!line.contains('\n') && line.starts_with("c.yaml:1:"), "{line:?}");
    }
}

#[test]
fn an_annotation_cannot_be_forged() {
    let loading = read("\"a%0A::error::x\\n::error::y\": 1\n");
    let text = render::github(&loading.sources, &loading.diagnostics);
    assert!(text.lines().all(|line| line.starts_with("::error file=c.yaml,line=1,col=")), "{text}");
    assert!(text.contains("a%250A"), "{text}");
}

/// Loading many routes must not cost more for each than loading few: a square would show at once.
#[test]
fn the_cost_of_a_route_does_not_grow_with_their_number() {
    let text = |count: usize| {
        let mut text = String::from(
            "listeners: { a: { address: \"127.0.0.1:1\" } }\nprojects:\n  p:\n    environments:\n      production:\n        routes:\n",
        );
        for route in 0..count {
            text.push_str(&format!(
                "          - {{ prefix: /r{route}, upstream: \"http://10.0.0.1:80/x\", auth: none }}\n"
            ));
        }
        text
    };
    let time = |text: &str| {
        let start = std::time::Instant::now();
        assert!(read(text).model.is_some());
        start.elapsed()
    };
    let (few, many) = (text(1_000), text(10_000));
    time(&few);
    let few = (0..3).map(|_| time(&few)).min().unwrap();
    let many = (0..2).map(|_| time(&many)).min().unwrap();
    assert!(many < few * 10 * 4, "1,000 routes took {few:?}, 10,000 took {many:?}");
}

fn rendered(loading: &Loading) -> String {
    let mut text = render::human(&loading.sources, &loading.diagnostics, false);
    text.push_str(&render::human(&loading.sources, &loading.diagnostics, true));
    text.push_str(&render::github(&loading.sources, &loading.diagnostics));
    for diagnostic in &loading.diagnostics {
        text.push_str(&render::line(&loading.sources, diagnostic));
        text.push_str(&render::json(&loading.sources, diagnostic).to_string());
    }
    text
}

/// Pieces that, put together at random, come closer to a configuration than random characters do.
fn fragments() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "listeners:",
        "projects:",
        "demo:",
        "environments:",
        "production:",
        "routes:",
        "- ",
        "prefix: /a",
        "upstream: u",
        "token: ",
        "payload: ",
        "sign: ",
        "{ ",
        " }",
        "[ ",
        " ]",
        ", ",
        ": ",
        "\n",
        "\n  ",
        "\n    ",
        "\"",
        "'",
        "${A",
        "}",
        ":-",
        "$",
        "&x ",
        "*x",
        "!!str ",
        "? ",
        "| ",
        "|\n",
        ">-\n",
        "#",
        "---\n",
        "\t",
        "\r\n",
        "é",
        "漢",
        "\u{feff}",
        "<<: ",
        "1",
        "true",
        "~",
        "include: [\"*\"]",
        "address: \"127.0.0.1:1\"",
        "clients: ",
        "\\x",
        "%YAML 1.2\n",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// One secret, put where a secret goes, in a text that may be broken by what is around it.
fn with_secret(secret: &str, shape: usize, noise: &str) -> String {
    let routes = |body: &str| {
        format!(
            "listeners: {{ a: {{ address: \"127.0.0.1:1\" }} }}\nprojects:\n  p:\n    environments:\n      production:\n        routes:\n          - {body}\n"
        )
    };
    match shape {
        0 => routes(&format!("{{ prefix: /, upstream: u, sign: {{ scheme: user-stamp, token: {secret} }}, {noise} }}")),
        1 => routes(&format!(
            "{{ prefix: /, upstream: u, sign: {{ scheme: user-stamp, token: \"{secret}\" }}, {noise} }}"
        )),
        2 => routes(&format!("{{ prefix: /, upstream: u, payload: {{ x-a: '{secret}' }}, {noise} }}")),
        3 => routes(&format!("prefix: /\n            payload:\n              x-a: {secret}\n              {noise}")),
        4 => format!("clients:\n  a: {{ token: {secret}, {noise} }}\n  {noise}\n"),
        5 => format!("clients:\n  a:\n    token: |\n      {secret}\n      {noise}\n    user: x\n{noise}\n"),
        6 => format!("clients: {{ a: {{ token: \"${{B:-{secret}}}\", {noise} }} }}\n"),
        7 => format!("clients: [{{ token: {secret} }}, {noise}]\n"),
        8 => format!("providers: {{ a: {{ oauth2: {{ client_secret: {secret}, {noise} }} }} }}\n"),
        9 => format!("clients:\n  a: {{ tokne: {secret}, {noise} }}\n"),
        10 => format!("clients:\n  a: {{ token: a, token: {secret}, {noise} }}\n"),
        11 => format!("clients:\n  a: {{ token: \"{secret}\n{noise}\n"),
        _ => format!("clients:\n  a: {{ token: \"pa${secret}\", {noise} }}\n"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let loading = read(&text);
        rendered(&loading);
    }

    #[test]
    fn no_near_configuration_makes_it_panic(text in fragments()) {
        let loading = read(&text);
        rendered(&loading);
        let good = !loading.diagnostics.iter().any(Diagnostic::is_error);
        prop_assert_eq!(good, loading.model.is_some());
    }

    #[test]
    fn a_secret_is_never_shown(
        secret in "[A-Za-z][A-Za-z0-9]{2}[A-Z][a-z0-9]{8,30}Q",
        shape in 0usize..13,
        noise in prop_oneof![
            fragments(),
            Just("authh: x".to_owned()),
            Just("user: [".to_owned()),
            Just("expires: never".to_owned()),
            Just("prefix: nope".to_owned()),
            Just(String::new()),
        ],
    ) {
        let text = with_secret(&secret, shape, &noise);
        let loading = read(&text);
        let shown = rendered(&loading);
        prop_assert!(!shown.contains(&secret), "{}\n---\n{}", text, shown);
    }
}
