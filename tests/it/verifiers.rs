//! The verifiers that upstream teams copy: their own tests, each in its language; and in front of each of them the edge, whose
//! signatures they accept under all five schemes, and of which they refuse every changed bit.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use countersign_verify::{Options, Scheme, Verifier};

use crate::support::edge::{BINARY, Reported, free_address};
use crate::support::process::{Process, run_within};
use crate::support::{Config, Edge, Origin, Recorded, Request, Shared, Wire, eventually_within};

/// Compilers and virtual machines begin slowly on a machine with other things to do.
const PATIENCE: Duration = Duration::from_secs(300);

const SERVLET_API: &str = "/usr/share/java/jakarta-servlet-api.jar";

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A place for what is compiled, kept between runs.
fn built(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("verifiers").join(name);
    std::fs::create_dir_all(&directory).expect("a directory for what is compiled");
    directory
}

/// Runs a command to its end; its output.
fn succeeds(command: &mut Command) -> String {
    let done = run_within(PATIENCE, command);
    assert_eq!(done.code, Some(0), "{command:?}\n{}\n{}", done.stdout, done.stderr);
    done.stdout + &done.stderr
}

/// Asks nobody for modules, and nobody's home for a cache.
fn go(arguments: &[&str]) -> Command {
    let mut go = Command::new("go");
    go.args(arguments).env("GOCACHE", built("go-cache")).env("GOPROXY", "off").env("GOFLAGS", "-mod=mod");
    go.env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0");
    go
}

/// The verifier, and what else is given, as classes in a directory.
fn java_classes(name: &str, sources: &[&str]) -> PathBuf {
    assert!(Path::new(SERVLET_API).exists(), "{SERVLET_API} is missing: apt-get install libjakarta-servlet-api-java");
    let directory = built(name);
    let mut javac = Command::new("javac");
    javac.args(["-Xlint:all", "-Werror", "-cp", SERVLET_API, "-d"]).arg(&directory);
    javac.args(sources.iter().map(|source| here(source)));
    succeeds(&mut javac);
    directory
}

const JAVA: [&str; 2] =
    ["verifiers/java/countersign/Countersign.java", "verifiers/java/countersign/CountersignFilter.java"];

#[test]
fn the_python_verifier_passes_its_tests() {
    let said =
        succeeds(Command::new("python3").args(["-B", "-m", "unittest", "discover"]).arg(here("verifiers/python")));
    assert!(said.contains("OK") && !said.contains("Ran 0 tests"), "{said}");
}

#[test]
fn the_node_verifier_passes_its_tests() {
    let said = succeeds(Command::new("node").arg("--test").arg(here("verifiers/node")));
    assert!(said.contains("fail 0") && !said.contains("pass 0"), "{said}");
}

#[test]
fn the_go_verifier_passes_its_tests() {
    let said = succeeds(go(&["test", "-count=1", "-v", "./..."]).current_dir(here("verifiers/go")));
    assert!(said.contains("--- PASS") && !said.contains("--- SKIP"), "{said}");
    succeeds(go(&["vet", "./..."]).current_dir(here("verifiers/go")));
}

#[test]
fn the_php_verifier_passes_its_tests() {
    let said = succeeds(Command::new("php").args(["-d", "error_reporting=-1"]).arg(here("verifiers/php/test.php")));
    assert!(said.contains("checks hold"), "{said}");
}

#[test]
fn the_java_verifier_passes_its_tests() {
    let classes = java_classes("java-tests", &[JAVA[0], JAVA[1], "verifiers/java/countersign/VectorsTest.java"]);
    let path = format!("{}:{SERVLET_API}", classes.display());
    let mut java = Command::new("java");
    java.args(["-cp", &path, "countersign.VectorsTest"]).arg(here("tests/vectors/sign.json"));
    assert!(succeeds(&mut java).contains("checks hold"));
}

#[test]
fn the_vectors_are_what_their_generator_makes_and_their_checker_accepts() {
    succeeds(Command::new("python3").arg("-B").arg(here("tests/vectors/check.py")));
    let directory = tempfile::tempdir().expect("a directory");
    let copy = directory.path().join("generate.py");
    std::fs::copy(here("tests/vectors/generate.py"), &copy).expect("copy the generator");
    succeeds(Command::new("python3").arg("-B").arg(&copy));
    let made = std::fs::read(directory.path().join("sign.json")).expect("what it made");
    assert!(
        made == std::fs::read(here("tests/vectors/sign.json")).expect("the vectors"),
        "sign.json is not what generate.py makes"
    );
}

const SCHEMES: [&str; 5] = ["user-stamp", "user-project-stamp", "user-project-appid-stamp", "hmac-sha256", "rfc9421"];
/// What upstreams expect; during a rotation both.
const NEW: &str = "c4n4ry-verifier-token-new-0123456789";
const OLD: &str = "c4n4ry-verifier-token-old-0123456789";
const UNKNOWN: &str = "c4n4ry-verifier-token-unknown-0123456";
const CLIENT: &str = "c4n4ry-verifier-client-0123456789abcdef";

/// A server of the tests' own in one of the languages.
struct Server {
    language: &'static str,
    address: std::net::SocketAddr,
    _process: Process,
}

impl Server {
    fn start(language: &'static str) -> Self {
        let script = |name: &str| here("tests/it/verifiers").join(name);
        match language {
            "python" => {
                Self::says(language, Command::new("python3").arg("-B").arg(script("server.py")).args([NEW, OLD]))
            }
            "node" => Self::says(language, Command::new("node").arg(script("server.mjs")).args([NEW, OLD])),
            "go" => {
                let binary = built("go-server").join("server");
                succeeds(go(&["build", "-o"]).arg(&binary).arg(".").current_dir(script("go")));
                Self::says(language, Command::new(binary).args([NEW, OLD]))
            }
            "java" => {
                let classes = java_classes("java-server", &[JAVA[0], "tests/it/verifiers/Server.java"]);
                Self::says(language, Command::new("java").arg("-cp").arg(classes).args(["Server", NEW, OLD]))
            }
            "php" => {
                let address = free_address();
                let mut php = Command::new("php");
                php.args(["-d", "display_errors=0", "-S", &address.to_string()]).arg(script("server.php"));
                let process = Process::spawn(php.env("TOKENS", format!("{NEW} {OLD}")));
                eventually_within(PATIENCE, "php listens", || {
                    assert!(process.ended().is_none(), "php: {}", process.stderr());
                    Wire::try_connect(address).ok().map(|_| ())
                });
                Self { language, address, _process: process }
            }
            other => panic!("{other}"),
        }
    }

    /// One that says its port.
    fn says(language: &'static str, command: &mut Command) -> Self {
        let process = Process::spawn(command);
        let port = eventually_within(PATIENCE, "the server says its port", || {
            assert!(process.ended().is_none(), "{command:?}: {}", process.stderr());
            process.stdout().trim().strip_prefix("listening ").and_then(|port| port.parse::<u16>().ok())
        });
        Self { language, address: ([127, 0, 0, 1], port).into(), _process: process }
    }

    /// What it answers to exactly this.
    fn status(&self, method: &str, target: &str, fields: &[(String, String)]) -> u16 {
        let mut request = Request::new(method, target);
        request.fields = fields.to_vec();
        let mut wire = Wire::connect(self.address);
        wire.send(request.bytes());
        wire.response_to(method).status
    }
}

const LANGUAGES: [&str; 5] = ["python", "node", "go", "java", "php"];

struct Rig {
    servers: Vec<Server>,
    edge: Edge,
    origin: Origin,
}

static RIG: Shared<Rig> = Shared::new();

fn rig() -> Arc<Rig> {
    RIG.get(|| {
        let origin = Origin::start();
        let servers: Vec<Server> = LANGUAGES.into_iter().map(Server::start).collect();
        let mut routes = String::new();
        let mut targets: Vec<_> = servers.iter().map(|it| (it.language, it.address.to_string())).collect();
        targets.push(("recorded", origin.authority()));
        for (name, address) in &targets {
            for scheme in SCHEMES {
                for (kind, token) in [("new", "${NEW}"), ("old", "${OLD}"), ("unknown", "${UNKNOWN}")] {
                    routes.push_str(&format!(
                        "- {{ prefix: /{name}/{kind}/{scheme}, upstream: \"http://{address}/{scheme}\", host: users.test, \
                         sign: {{ scheme: {scheme}, token: \"{token}\" }} }}\n"
                    ));
                }
            }
        }
        let text = format!(
            "clients:\n  wang: {{ token: \"${{CLIENT}}\", user: Wang@example.com, name: \"王小明 A~b\" }}\n{}",
            crate::support::edge::project("demo", &routes)
        );
        let edge = Config::new(&text).environment("CLIENT", CLIENT).environment("NEW", NEW);
        let edge = edge.environment("OLD", OLD).environment("UNKNOWN", UNKNOWN).start();
        Rig { servers, edge, origin }
    })
}

const TARGETS: [(&str, &str); 5] = [
    ("GET", "/list"),
    ("GET", "/list?x=1&y=%2F"),
    ("POST", "/a%20b/%E4%B8%AD;v=1?q"),
    ("DELETE", "/"),
    ("PUT", "/a/b?"),
];

#[test]
fn every_verifier_accepts_what_the_edge_signs_under_each_scheme_with_both_tokens_of_a_rotation() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    for language in LANGUAGES {
        for scheme in SCHEMES {
            for (kind, status) in [("new", 200), ("old", 200), ("unknown", 401)] {
                for (method, rest) in TARGETS {
                    let target = format!("/{language}/{kind}/{scheme}{rest}");
                    let response = rig.edge.call(&Request::new(method, &target).bearer(CLIENT).body(""));
                    assert_eq!(response.status, status, "{method} {target}: {}", response.text());
                    if status == 200 {
                        let who = response.json();
                        assert_eq!((&who["user"], &who["name"]), (&"wang@example.com".into(), &"王小明 A~b".into()));
                    }
                }
            }
        }
    }
}

/// What the edge sends for that, as an upstream gets it.
fn recorded(rig: &Rig, scheme: &str, method: &str, rest: &str) -> Recorded {
    let target = format!("/recorded/new/{scheme}{rest}");
    let response = rig.edge.call(&Request::new(method, &target).bearer(CLIENT));
    assert_eq!(response.status, 200, "{target}: {}", response.text());
    rig.origin.take(&format!("/{scheme}{rest}"))
}

fn signed_names(scheme: &str) -> &'static [&'static str] {
    match scheme {
        "user-stamp" => &["x-kms-user", "x-kms-stamp", "x-kms-sign"],
        "user-project-stamp" => &["x-kms-user", "x-kms-stamp", "x-kms-sign", "x-kms-project"],
        "user-project-appid-stamp" => &["x-kms-user", "x-kms-stamp", "x-kms-sign", "x-kms-project", "x-kms-appid"],
        "hmac-sha256" => &["x-kms-user", "x-kms-username", "x-kms-stamp", "x-kms-sign", "x-kms-project", "x-kms-appid"],
        _ => &[
            "x-kms-user",
            "x-kms-username",
            "x-kms-stamp",
            "x-kms-project",
            "x-kms-appid",
            "signature-input",
            "signature",
            "host",
        ],
    }
}

/// A request that is not what the edge has sent.
struct Changed {
    what: String,
    method: String,
    target: String,
    fields: Vec<(String, String)>,
}

/// Everything that a sender may change, one bit or one word at a time.
fn changed(scheme: &str, sent: &Recorded) -> Vec<Changed> {
    let fields = fields_of(sent);
    let (method, target) = line_of(sent);
    let with = |what: String, fields| Changed { what, method: method.clone(), target: target.clone(), fields };
    let mut all = Vec::new();
    for name in signed_names(scheme) {
        let at = fields.iter().position(|(own, _)| own == name).unwrap_or_else(|| panic!("no {name}"));
        // Every character of short values, a dozen of long ones.
        let length = fields[at].1.len();
        for place in (0..length).step_by(length.div_ceil(12).max(1)) {
            let mut bytes = fields[at].1.clone().into_bytes();
            bytes[place] ^= 1;
            let mut fields = fields.clone();
            fields[at].1 = String::from_utf8(bytes).expect("ASCII");
            all.push(with(format!("{name} at {place}"), fields));
        }
        let mut without = fields.clone();
        without.remove(at);
        if *name != "host" {
            all.push(with(format!("without {name}"), without));
        }
    }
    if matches!(scheme, "hmac-sha256" | "rfc9421") {
        all.push(Changed { method: "PUT".into(), ..with("method".into(), fields.clone()) });
        for other in [target.replace("list", "lisp"), target.replace("x=1", "x=2"), target.replace("?x=1", "/x=1")] {
            all.push(Changed { target: other.clone(), ..with(other, fields.clone()) });
        }
    }
    all
}

fn fields_of(sent: &Recorded) -> Vec<(String, String)> {
    let own = |name: &str| name.starts_with("x-kms-") || name.starts_with("signature") || name == "host";
    let all = sent.head.fields.0.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    let own = all.filter(|(name, _)| own(name));
    own.map(|(name, value)| (name, String::from_utf8(value).expect("ASCII"))).collect()
}

fn line_of(sent: &Recorded) -> (String, String) {
    let mut words = sent.head.start.split(' ').map(str::to_owned);
    (words.next().expect("a method"), words.next().expect("a target"))
}

#[test]
fn every_verifier_refuses_every_changed_bit_of_what_the_edge_signs() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    for scheme in SCHEMES {
        let sent = recorded(&rig, scheme, "GET", "/list?x=1");
        let (method, target) = line_of(&sent);
        for server in &rig.servers {
            let at = server.language;
            assert_eq!(server.status(&method, &target, &fields_of(&sent)), 200, "{at} {scheme}: unchanged");
            for Changed { what, method, target, fields } in changed(scheme, &sent) {
                let status = server.status(&method, &target, &fields);
                // Servers of the languages refuse some of the bytes themselves.
                assert!(matches!(status, 400 | 401), "{at} {scheme}: {what} changed: {status} {fields:?}");
            }
        }
        assert!(rust_accepts(scheme, &method, &target, &fields_of(&sent)), "rust {scheme}: unchanged");
        for Changed { what, method, target, fields } in changed(scheme, &sent) {
            assert!(!rust_accepts(scheme, &method, &target, &fields), "rust {scheme}: {what} changed");
        }
    }
}

/// What the Rust verifier says.
fn rust_accepts(scheme: &str, method: &str, target: &str, fields: &[(String, String)]) -> bool {
    let scheme = match scheme {
        "user-stamp" => Scheme::UserStamp,
        "user-project-stamp" => Scheme::UserProjectStamp,
        "user-project-appid-stamp" => Scheme::UserProjectAppidStamp,
        "hmac-sha256" => Scheme::HmacSha256,
        "rfc9421" => Scheme::Rfc9421,
        other => panic!("{other}"),
    };
    let options = Options {
        project: Some("demo".into()),
        app_id: Some("1001".into()),
        ..Options::new(scheme, vec![OLD.into(), NEW.into()])
    };
    let mut request = http::Request::builder().method(method).uri(target);
    for (name, value) in fields {
        request = request.header(name, value);
    }
    // What is no request is not accepted either.
    let Ok(request) = request.body(()) else { return false };
    Verifier::new(options).expect("good options").verify(&request.into_parts().0).is_ok()
}

#[test]
fn a_clients_own_message_signature_does_not_reach_an_upstream_beside_ours() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    for name in ["signature", "Signature-Input", "signature_input", "SIGNATURE", "Signature.Input"] {
        let request = Request::get("/recorded/new/rfc9421/forged").bearer(CLIENT).header(name, "forged=:AAAA:");
        assert_eq!(rig.edge.call(&request).status, 200);
        let sent = rig.origin.take("/rfc9421/forged");
        assert!(!sent.contains("forged="), "{name}: {}", String::from_utf8_lossy(&sent.head.raw));
        for name in ["signature", "signature-input"] {
            let values = sent.head.fields.all(name);
            assert!(values.len() == 1 && values[0].starts_with("countersign="), "{name}: {values:?}");
        }
        assert!(!sent.head.fields.has("x-kms-sign"), "{:?}", sent.head.fields.names());
    }
    let request = Request::get("/recorded/new/hmac-sha256/own").bearer(CLIENT).header("signature", "theirs=:AAAA:");
    assert_eq!(rig.edge.call(&request).status, 200);
    let sent = rig.origin.take("/hmac-sha256/own");
    assert_eq!(sent.header("signature"), Some("theirs=:AAAA:"), "other schemes leave it alone");
}

#[test]
fn each_request_has_a_nonce_of_its_own() {
    let rig = rig();
    let _report = Reported(&rig.edge);
    let input = |rest: &str| {
        let sent = recorded(&rig, "rfc9421", "GET", rest);
        sent.header("signature-input").expect("signature-input").to_owned()
    };
    let nonce =
        |input: String| input.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned);
    let (first, second) = (nonce(input("/nonce1")), nonce(input("/nonce2")));
    assert!(first.as_ref().is_some_and(|nonce| nonce.len() == 32) && first != second, "{first:?} {second:?}");
}

fn cli(arguments: &[&str]) -> crate::support::process::Finished {
    run_within(PATIENCE, Command::new(BINARY).args(arguments).env("SIGN_TOKEN", NEW))
}

#[test]
fn the_command_line_signs_and_verifies_both_schemes_that_bind_the_request() {
    let url = "https://users.test/api/a%20b?x=1";
    for scheme in ["hmac-sha256", "rfc9421"] {
        let common = ["--scheme", scheme, "--token-env", "SIGN_TOKEN", "--method", "POST", "--url", url];
        let signed = cli(&[
            &["sign", "--user", "Wang@example.com", "--name", "王", "--project", "demo", "--app-id", "1001"],
            &common[..],
        ]
        .concat());
        assert_eq!(signed.code, Some(0), "{signed:?}");
        let fields: Vec<(String, String)> = signed
            .stdout
            .lines()
            .map(|line| {
                let (name, value) = line.split_once(": ").unwrap_or((line.trim_end_matches(':'), ""));
                (name.to_owned(), value.to_owned())
            })
            .collect();
        let mut sent = fields.clone();
        sent.push(("host".into(), "users.test".into()));
        assert!(rust_accepts(scheme, "POST", "/api/a%20b?x=1", &sent), "{signed:?}");
        let verify = |fields: &[(String, String)], common: &[&str]| {
            let lines: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            let lines = lines.iter().flat_map(|line| ["-H", line]);
            cli(&[&["verify"], common, &lines.collect::<Vec<_>>()].concat())
        };
        assert_eq!(verify(&fields, &common).code, Some(0), "{:?}", verify(&fields, &common));
        for at in 0..fields.len() {
            let mut other = fields.clone();
            let changed = if other[at].1.ends_with('1') { "2" } else { "1" };
            other[at].1.push_str(changed);
            assert_eq!(verify(&other, &common).code, Some(1), "{other:?}");
        }
        for (place, value) in
            [(5, "PUT"), (7, "https://users.test/api/a%20b?x=2"), (7, "https://users.test/api/ab?x=1")]
        {
            let mut common = common;
            common[place] = value;
            assert_eq!(verify(&fields, &common).code, Some(1), "{value}");
        }
        let incomplete =
            cli(&["sign", "--user", "", "--project", "demo", "--scheme", scheme, "--token-env", "SIGN_TOKEN"]);
        assert!(incomplete.code == Some(2) && incomplete.stderr.contains("--method"), "{incomplete:?}");
    }
}

#[test]
fn explain_shows_what_is_signed_and_never_with_what() {
    let rig = rig();
    let explain = |scheme: &str| {
        let mut command = Command::new(BINARY);
        let url = format!("http://demo.test/recorded/new/{scheme}/list?x=1");
        command.args(["explain", "--json", "-c"]).arg(rig.edge.file()).args(["POST", &url, "--client", "wang"]);
        command.args(["-H", "signature: forged=:AAAA:"]);
        let done =
            run_within(PATIENCE, command.envs([("NEW", NEW), ("OLD", OLD), ("UNKNOWN", UNKNOWN), ("CLIENT", CLIENT)]));
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(!done.stdout.contains("c4n4ry"), "{}", done.stdout);
        serde_json::from_str::<serde_json::Value>(&done.stdout).expect("JSON")
    };
    let said = explain("hmac-sha256");
    assert_eq!(said["sign"]["scheme"], "hmac-sha256");
    let base = said["sign"]["base"].as_str().expect("a base");
    let start = "countersign-hmac-sha256-1\n4:POST\n17:/hmac-sha256/list\n3:x=1\n16:wang@example.com\n";
    assert!(base.starts_with(start), "{base}");
    assert_eq!(said["headers"]["set"]["x-kms-sign"], "***");
    let said = explain("rfc9421");
    let base = said["sign"]["base"].as_str().expect("a base");
    let start = "\"@method\": POST\n\"@authority\": users.test\n\"@path\": /rfc9421/list\n\"@query\": ?x=1\n";
    assert!(base.starts_with(start), "{base}");
    let set = &said["headers"]["set"];
    assert_eq!(set["signature"], "***");
    assert!(
        set["signature-input"].as_str().is_some_and(|input| input.starts_with("countersign=(\"@method\"")),
        "{set}"
    );
    assert!(set.get("x-kms-sign").is_none(), "{set}");
}
