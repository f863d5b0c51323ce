//! `conf/kms.yaml`, run as it stands: `/a0/userlist` arrives at `/api/userlist` of the API behind, over TLS, with exactly the fields
//! that the documentation lists; the same prefix leads elsewhere in `dev` and `local`, with another token.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::dns::Dns;
use crate::support::edge::{BINARY, free_address};
use crate::support::leak::check_bytes;
use crate::support::message::Head;
use crate::support::process::{Process, run};
use crate::support::tls::Authority;
use crate::support::{Origin, PATIENCE, Request, Response, Wire, eventually, signature};

const ALICE: &str = "c4n4ry-kms-client-alice-0123456789abcdef";
const CI: &str = "c4n4ry-kms-client-ci-0123456789abcdefabc";
const PRODUCTION: &str = "c4n4ry-kms-sign-production-0123456789";
const DEV: &str = "c4n4ry-kms-sign-dev-0123456789abcdefgh";
const API_TOKEN: &str = "c4n4ry-kms-payload-0123456789";

/// An API that speaks TLS, answers 200, and tells what it got, byte for byte.
struct Api {
    port: u16,
    heads: Receiver<Head>,
}

impl Api {
    fn start(authority: &Authority, name: &str) -> Self {
        let pem = authority.server(&[name]);
        let chain = vec![CertificateDer::from_pem_slice(pem.cert.as_bytes()).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
        let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).expect("a server"));
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind an API");
        let port = listener.local_addr().expect("an address").port();
        let (told, heads) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (config, told) = (Arc::clone(&config), told.clone());
                std::thread::spawn(move || serve(stream, &config, &told));
            }
        });
        Self { port, heads }
    }

    fn head(&self) -> Head {
        self.heads.recv_timeout(PATIENCE).expect("a request at the API")
    }
}

fn serve(stream: TcpStream, config: &Arc<ServerConfig>, told: &Sender<Head>) -> Option<()> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(config)).ok()?, stream);
    loop {
        let mut raw = Vec::new();
        while !raw.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            tls.read_exact(&mut byte).ok()?;
            raw.push(byte[0]);
        }
        told.send(Head::parse(&raw).ok()?).ok()?;
        tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").ok()?;
        tls.flush().ok()?;
    }
}

struct Site {
    production: Api,
    dev: Api,
    local: Origin,
    data: SocketAddr,
    directory: tempfile::TempDir,
    _dns: Dns,
    process: Process,
}

/// The file; only ports and the address that it listens at are the test's.
fn configuration(production: &Api, dev: &Api, local: &Origin) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/kms.yaml");
    let mut text = std::fs::read_to_string(path).expect("conf/kms.yaml");
    for (as_written, here) in [
        ("0.0.0.0:", "127.0.0.1:".to_owned()),
        (
            "upstream: https://test.example.com/api",
            format!("upstream: https://test.example.com:{}/api", production.port),
        ),
        (
            "upstream: https://dev.test.example.com/api",
            format!("upstream: https://dev.test.example.com:{}/api", dev.port),
        ),
        ("upstream: http://127.0.0.1:3000/api", format!("upstream: http://{}/api", local.authority())),
    ] {
        assert_eq!(text.matches(as_written).count(), 1, "{as_written} in conf/kms.yaml");
        text = text.replace(as_written, &here);
    }
    text
}

fn secret(directory: &Path, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = directory.join("conf/secrets").join(name);
    std::fs::write(&path, format!("{text}\n")).expect("write a secret");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("close it");
}

impl Site {
    fn start() -> Self {
        let authority = Authority::default();
        let (production, dev) =
            (Api::start(&authority, "test.example.com"), Api::start(&authority, "dev.test.example.com"));
        let (local, dns) = (Origin::start(), Dns::start(&[("test.example.com", HERE), ("dev.test.example.com", HERE)]));
        let directory = tempfile::Builder::new().prefix("countersign-kms-").tempdir().expect("a directory");
        std::fs::create_dir_all(directory.path().join("conf/secrets")).expect("conf/secrets");
        for (name, text) in
            [("client-alice.token", ALICE), ("client-ci.token", CI), ("a0.token", PRODUCTION), ("a0-dev.token", DEV)]
        {
            secret(directory.path(), name, text);
        }
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("write a file");
        write("ca.pem", &authority.pem);
        write("conf/kms.yaml", &configuration(&production, &dev, &local));
        // A name server and a network of the test's own; the rest is the file's.
        let server = format!(
            "include: [kms.yaml]\nserver: {{ threads: 2, runtime_dir: \"../run\", internal_networks: [127.0.0.0/8], dns: {{ servers: [\"{}\"] }} }}\n",
            dns.address
        );
        write("conf/site.yaml", &server);
        let (data, admin) = (free_address(), free_address());
        let mut command = Command::new(BINARY);
        command.arg("run").arg("-c").arg(directory.path().join("conf/site.yaml"));
        command.env("PORT", data.port().to_string()).env("ADMIN_PORT", admin.port().to_string());
        command.env("A0_API_TOKEN", API_TOKEN).env("SSL_CERT_FILE", directory.path().join("ca.pem"));
        let process = Process::spawn(&mut command);
        eventually("the site is ready", || {
            assert!(process.ended().is_none(), "{}{}", process.stdout(), process.stderr());
            let mut wire = Wire::try_connect(admin).ok()?;
            wire.send(Request::get("/readyz").host(&admin.to_string()).bytes());
            (wire.try_response_to("GET").ok()?.status == 200).then_some(())
        });
        Self { production, dev, local, data, directory, _dns: dns, process }
    }

    fn call(&self, request: &Request) -> Response {
        let mut wire = Wire::connect(self.data);
        wire.send(request.bytes());
        wire.response_to(&request.method)
    }
}

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- {}\n{}\n{}", self.directory.path().display(), self.process.stdout(), self.process.stderr());
        }
        check_bytes("the output of the process", self.process.stdout().as_bytes());
        check_bytes("the log of the process", self.process.stderr().as_bytes());
    }
}

/// Every name that the API may get, sorted; docs/signing.md, docs/http.md and the file itself name them.
const DOCUMENTED: [&str; 18] = [
    "accept",
    "host",
    "traceparent",
    "user-agent",
    "via",
    "x-api-token",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-kms-appid",
    "x-kms-project",
    "x-kms-sign",
    "x-kms-stamp",
    "x-kms-user",
    "x-kms-username",
    "x-real-ip",
    "x-request-id",
];

#[test]
fn the_userlist_of_the_page_arrives_with_exactly_the_documented_fields() {
    let site = Site::start();
    let request = Request::get("/a0/userlist?x=1").host("api.example.com").bearer(ALICE);
    let request = request.header("accept", "application/json").header("user-agent", "kms-test/1");
    let request =
        request.header("x-kms-user", "forged@example.com").header("X_KMS_Admin", "1").header("x-api-token", "forged");
    let response = site.call(&request);
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    let head = site.production.head();
    assert_eq!(head.start, "GET /api/userlist?x=1 HTTP/1.1");
    let mut names = head.fields.names();
    names.sort();
    assert_eq!(names, DOCUMENTED, "each once, and no other");
    assert_eq!(signature::verify(&head.fields, "user-stamp", PRODUCTION), "alice@example.com");
    let host = format!("test.example.com:{}", site.production.port);
    for (name, value) in [
        ("host", host.as_str()),
        ("accept", "application/json"),
        ("user-agent", "kms-test/1"),
        ("x-api-token", API_TOKEN),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "api.example.com"),
        ("x-forwarded-proto", "http"),
        ("x-real-ip", "127.0.0.1"),
        ("x-kms-username", "%E7%88%B1%E4%B8%BD%E4%B8%9D"),
        ("x-kms-appid", "1001"),
        ("x-kms-project", "kms"),
    ] {
        assert_eq!(head.fields.get(name), Some(value), "{name}");
    }
    assert!(head.fields.get("x-kms-stamp").is_some_and(|stamp| stamp.len() == 13));
}

#[test]
fn the_same_prefix_leads_elsewhere_in_dev_and_local_with_another_token() {
    let site = Site::start();
    let call =
        |environment: &str| site.call(&Request::get("/a0/userlist").bearer(CI).header("x-environment", environment));
    assert_eq!(call("dev").status, 200);
    let head = site.dev.head();
    assert_eq!(head.start, "GET /api/userlist HTTP/1.1");
    assert_eq!(signature::verify(&head.fields, "user-stamp", DEV), "ci@example.com");
    assert!(!head.fields.has("x-api-token"), "{:?}", head.fields.names());
    assert_eq!(call("local").status, 200);
    let sent = site.local.take("/api/userlist");
    assert_eq!(signature::verify(&sent.head.fields, "user-stamp", DEV), "ci@example.com");
    call("staging").expect_error(404, "environment_unavailable");
    assert!(site.production.heads.try_recv().is_err(), "production heard of none of it");
    site.call(&Request::get("/a0/userlist")).expect_error(401, "authentication_required");
    site.call(&Request::get("/a0/userlist").bearer(DEV)).expect_error(401, "invalid_credentials");
    site.call(&Request::get("/a1/userlist").bearer(CI)).expect_error(404, "route_not_found");
}

#[test]
fn a_project_has_production_local_and_five_environments_more() {
    let check = |count: usize| {
        let directory = tempfile::tempdir().expect("a directory");
        let extra: String = (0..count)
            .map(|index| format!("      e{index}: {{ routes: [{{ prefix: /a0, upstream: \"https://e{index}.example.com\", auth: none }}] }}\n"))
            .collect();
        let text = format!(
            "listeners: {{ main: {{ address: \"127.0.0.1:8080\" }} }}\nprojects:\n  kms:\n    environments:\n      \
             production: {{ routes: [{{ prefix: /a0, upstream: \"https://test.example.com\", auth: none }}] }}\n      \
             local: {{ routes: [{{ prefix: /a0, upstream: \"http://127.0.0.1:3000\", auth: none }}] }}\n{extra}"
        );
        let file = directory.path().join("countersign.yaml");
        std::fs::write(&file, text).expect("write the configuration");
        run(Command::new(BINARY).args(["check", "-c"]).arg(&file))
    };
    assert_eq!(check(5).code, Some(0), "{:?}", check(5));
    let six = check(6);
    assert!(six.code == Some(1) && six.stdout.contains("too_many_environments"), "{six:?}");
}
