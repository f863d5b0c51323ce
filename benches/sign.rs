//! What every request pays before it is routed, and what a signed one pays on top: `cargo bench --bench sign`.

use std::hint::black_box;
use std::net::IpAddr;

use countersign::policy::request_gate::{RequestView, judge};
use countersign::policy::sign::{Claims, Message, Scheme, percent_encode, signature};
use countersign::policy::{auth, head, path};
use countersign::secret::Secret;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method, Version};

const HEAD: &str = "GET /a0/userlist?page=1&size=20 HTTP/1.1\r\nHost: demo.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9\r\nAccept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br\r\nAuthorization: Bearer 0123456789abcdef0123456789abcdef\r\n\
    Connection: keep-alive\r\nContent-Length: 0\r\n\r\n";

fn signing(c: &mut Criterion) {
    let token = Secret::new("0123456789abcdef0123456789abcdef0123456789a");
    let claims = Claims { user: "dev@example.com", project: "demo", app_id: "1001", stamp: 1_700_000_000_000 };
    let (path, query, prefix, nonce) =
        ("/api/userlist", "page=1&size=20", "x-kms-", "0123456789abcdef0123456789abcdef");
    let message =
        Message { method: "GET", authority: "users.example.com", path, query, username: "Dev", prefix, nonce };
    for scheme in Scheme::ALL {
        c.bench_function(scheme.name(), |b| {
            b.iter(|| signature(scheme, black_box(&claims), black_box(&message), Some(&token)))
        });
    }
    c.bench_function("percent_encode", |b| b.iter(|| percent_encode(black_box("\u{5f20}\u{4e09} Zhang San"))));
}

fn gates(c: &mut Criterion) {
    let limits = head::Limits { max_head: 32 * 1024, max_target: 8 * 1024, max_fields: 100 };
    c.bench_function("head", |b| b.iter(|| head::scan(black_box(HEAD.as_bytes()), 0, &limits)));
    c.bench_function("path", |b| {
        b.iter(|| path::canonical(black_box("/a0/userlist/some/longer/path-name.html")).is_ok())
    });
    let headers = HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static("demo.example.com"))]);
    let request = RequestView {
        method: &Method::GET,
        target: "/a0/userlist?page=1&size=20",
        authority: None,
        headers: &headers,
        version: Version::HTTP_11,
        peer: IpAddr::from([198, 51, 100, 7]),
        tls: false,
        certificate: None,
    };
    c.bench_function("request_gate", |b| b.iter(|| judge(black_box(&request))));
}

fn clients(c: &mut Criterion) {
    let clients = auth::Clients::new((0..1000).map(|n| auth::digest(&format!("token-{n}"))).collect());
    let bearer = HeaderValue::from_static("Bearer token-500");
    let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, bearer)]);
    c.bench_function("one_client_of_1000", |b| b.iter(|| clients.present(black_box(&headers))));
}

criterion_group!(benches, signing, gates, clients);
criterion_main!(benches);
