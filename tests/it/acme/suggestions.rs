//! A CA that says when to renew (ARI, RFC 9773). Debian's pebble does not: something in front of it adds the service, and
//! what RFC 9773 §5 has a CA do with `replaces`.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{PATIENCE, ROUTES, host, wait_certificate};
use crate::support::edge::free_address;
use crate::support::nginx::Nginx;
use crate::support::origin::After;
use crate::support::pebble::Pebble;
use crate::support::tls::TlsClient;
use crate::support::{Config, Exchange, Origin, Response, eventually_within};

/// What the service says, and what it has heard.
#[derive(Default)]
struct Service {
    /// In seconds from now.
    window: Mutex<(i64, i64)>,
    asked: Mutex<Vec<String>>,
    replaced: Mutex<Vec<String>>,
}

impl Service {
    fn suggest(&self, from: i64, to: i64) {
        *self.window.lock().unwrap() = (from, to);
    }

    fn document(&self) -> Value {
        let (from, to) = *self.window.lock().unwrap();
        let at = |seconds: i64| {
            let moment = OffsetDateTime::from(SystemTime::now()) + time::Duration::seconds(seconds);
            moment.format(&Rfc3339).expect("a moment")
        };
        json!({ "suggestedWindow": { "start": at(from), "end": at(to) } })
    }
}

/// Pebble, and the service in front of it, in the clear: pebble takes what comes over TLS for its own.
fn in_front_of(pebble: &Pebble, service: &Arc<Service>) -> Origin {
    let front = Origin::start();
    let (address, service) = (pebble.address, Arc::clone(service));
    front.on("/", move |exchange| {
        let target = exchange.target();
        if let Some(name) = target.strip_prefix("/ari/") {
            service.asked.lock().unwrap().push(name.to_owned());
            answer(exchange, 200, &[("retry-after", "1")], &service.document());
            return After::Close;
        }
        let mut body = Vec::new();
        exchange.stream_body(&mut |bytes| body.extend_from_slice(bytes)).expect("a body");
        let replaces = payload(&body)["replaces"].as_str().map(str::to_owned);
        service.replaced.lock().unwrap().extend(replaces.clone());
        let mut wire = TlsClient::curious().connect(address, "127.0.0.1").expect("pebble");
        wire.send([&*exchange.head.raw, &body].concat());
        let authority = exchange.head.fields.get("host").expect("a host").to_owned();
        let method = exchange.head.start.split(' ').next().unwrap_or_default().to_owned();
        let mut said = wire.response_to(&method);
        if target == "/dir" {
            amend(&mut said, "renewalInfo", &format!("https://{authority}/ari"));
        }
        if let Some(replaces) = replaces.filter(|_| said.status == 201) {
            amend(&mut said, "replaces", &replaces);
        }
        pass_on(exchange, &said);
        After::Close
    });
    front
}

/// The payload of a JWS; null for everything else.
fn payload(body: &[u8]) -> Value {
    let jws: Value = serde_json::from_slice(body).unwrap_or_default();
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(jws["payload"].as_str().unwrap_or_default()).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// TLS in front of all that, with pebble's own certificate.
fn secured(pebble: &Pebble, behind: &Origin, directory: &Path) -> Nginx {
    let dir = directory.display();
    std::fs::write(directory.join("cert.pem"), &pebble.certificate).expect("write a certificate");
    std::fs::write(directory.join("key.pem"), &pebble.key).expect("write a key");
    Nginx::start_on(
        "ssl",
        &format!(
            "ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem; \
             location / {{ proxy_pass http://{}; proxy_http_version 1.1; proxy_set_header Host $http_host; }}",
            behind.authority()
        ),
    )
}

fn amend(said: &mut Response, key: &str, value: &str) {
    let mut document = said.json();
    document[key] = value.into();
    said.body = document.to_string().into_bytes();
}

fn answer(exchange: &mut Exchange<'_>, status: u16, headers: &[(&str, &str)], body: &Value) {
    let body = body.to_string();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    exchange.send(format!("HTTP/1.1 {status} Said\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()));
}

fn pass_on(exchange: &mut Exchange<'_>, said: &Response) {
    let framing = ["content-length", "transfer-encoding", "connection"];
    let mut head = format!("HTTP/1.1 {} Said\r\ncontent-length: {}\r\n", said.status, said.body.len());
    for (name, value) in &said.head.fields.0 {
        if !framing.contains(&name.to_ascii_lowercase().as_str()) {
            head.push_str(&format!("{name}: {}\r\n", String::from_utf8_lossy(value)));
        }
    }
    exchange.send([head.as_bytes(), b"\r\n", &said.body].concat());
}

fn moment(text: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(text.as_str().expect("a moment"), &Rfc3339).expect("RFC 3339")
}

#[test]
fn the_cas_suggestion_is_followed_and_the_order_says_what_it_replaces() {
    let data = free_address();
    let pebble = Pebble::asking(data).validity(Duration::from_secs(120)).start();
    let service = Arc::new(Service::default());
    service.suggest(90, 95);
    let front = in_front_of(&pebble.settings, &service);
    let directory = tempfile::tempdir().expect("a directory");
    let nginx = secured(&pebble.settings, &front, directory.path());
    let text = format!("acme: {{ directory: \"https://{{front}}/dir\", ca: ca.pem, hosts: [one.test] }}\n{ROUTES}");
    let config = Config::new(&text).value("front", &nginx.address.to_string());
    let config = config.file("ca.pem", &pebble.settings.certificate).secured_by("tls: {}", TlsClient::curious());
    let edge = config.launch_at(data, free_address());
    edge.wait_ready();
    let first = wait_certificate(&edge, "one.test");
    eventually_within(PATIENCE, "a renewal within the window", || {
        let planned = moment(&host(&edge, "one.test")["next_renewal"]) - OffsetDateTime::from(SystemTime::now());
        // By its age alone it would be renewed after 80 of its 120 seconds.
        (planned.whole_seconds() > 82).then_some(())
    });
    assert!(service.replaced.lock().unwrap().is_empty());
    service.suggest(-20, -10);
    eventually_within(PATIENCE, "a renewal at once", || {
        (host(&edge, "one.test")["not_after"] != first.as_str()).then_some(())
    });
    let (asked, replaced) = (service.asked.lock().unwrap().clone(), service.replaced.lock().unwrap().clone());
    assert_eq!(replaced.first(), asked.first(), "the certificate that was asked about is the one that is replaced");
    assert_eq!(pebble.orders(), 2);
}
