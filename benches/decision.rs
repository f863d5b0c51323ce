//! What deciding costs, and that it costs the same at ten routes and at a hundred thousand.
//!
//! `lookup`: path -> route. `decision`: a whole request, signed route, client token included. `plan`: the upstream head
//! with its signature. `compile`: a read configuration -> a table.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a benchmark may stop at a mistake of its own")]

use std::fmt::Write;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use countersign::config::{Loading, Model, load_text};
use countersign::policy::request_gate::RequestView;
use countersign::table::compile::{Stamp, compile};
use countersign::table::credential::Destination;
use countersign::table::{Action, Decision, NoTrace, Table, rewrite};
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

const SIZES: [usize; 3] = [10, 1_000, 100_000];
const NOW: u64 = 1_700_000_000_000;

fn yaml(routes: usize) -> String {
    let mut text = String::from(
        "listeners: { http: { address: \"127.0.0.1:8080\" } }\n\
         clients: { dev: { token: a-token-of-a-good-length-0123456789, user: dev@example.com } }\n\
         projects:\n  demo:\n    hosts: [demo.example.com]\n    environments:\n      production:\n        routes:\n",
    );
    for route in 0..routes {
        let (area, service) = (route % 100, route / 100);
        writeln!(
            text,
            "          - {{ prefix: /area{area}/service{service}, upstream: \"https://u{}.example.net/api/{route}\", \
             sign: {{ scheme: user-stamp, token: 0123456789abcdef0123456789abcdef }} }}",
            route % 1000
        )
        .unwrap();
    }
    text
}

fn read(routes: usize) -> Loading {
    load_text("bench.yaml", &yaml(routes), Path::new("."), &|_| None)
}

fn stamp() -> Stamp {
    Stamp { generation: 1, sha256: [0; 32], now: NOW }
}

fn table(routes: usize) -> Table {
    let Loading { sources, model, diagnostics, .. } = read(routes);
    let model = model.unwrap_or_else(|| panic!("{diagnostics:#?}"));
    compile(model, &sources, stamp(), None).table.unwrap()
}

/// What a browser sends, with a client token.
fn headers() -> HeaderMap {
    [
        ("host", "demo.example.com"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-language", "en-US,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("cookie", "theme=dark; session=0123456789abcdef"),
        ("authorization", "Bearer a-token-of-a-good-length-0123456789"),
    ]
    .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
    .into_iter()
    .collect()
}

fn view<'a>(method: &'a Method, target: &'a str, headers: &'a HeaderMap) -> RequestView<'a> {
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    RequestView {
        method,
        target,
        authority: None,
        headers,
        version: Version::HTTP_11,
        peer,
        tls: false,
        certificate: None,
    }
}

const PATH: &str = "/area3/service0/users/7/orders";
const TARGET: &str = "/area3/service0/users/7/orders?from=2026-01-01&to=2026-12-31";

fn lookup(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lookup");
    for size in SIZES {
        let table = table(size);
        let (project, _) = table.matcher.project("demo.example.com").unwrap();
        let routes = &project.environment("production").unwrap().routes;
        group.bench_with_input(BenchmarkId::from_parameter(size), routes, |bencher, routes| {
            bencher.iter(|| black_box(routes.find(black_box(PATH)).is_some()));
        });
    }
    group.finish();
}

fn decision(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decision");
    let (method, headers) = (Method::GET, headers());
    for size in SIZES {
        let table = table(size);
        group.bench_with_input(BenchmarkId::from_parameter(size), &table, |bencher, table| {
            bencher.iter(|| {
                let request = view(&method, black_box(TARGET), &headers);
                let (decision, _) = table.decide(&request, NOW, &mut NoTrace);
                assert!(matches!(black_box(decision), Decision::Admit(_)));
            });
        });
    }
    group.finish();
}

fn plan(criterion: &mut Criterion) {
    let (method, headers, table) = (Method::GET, headers(), table(1_000));
    let request = view(&method, TARGET, &headers);
    let (Decision::Admit(admitted), Some(canonical)) = table.decide(&request, NOW, &mut NoTrace) else {
        panic!("it should be admitted")
    };
    let Action::Forward(forward) = &admitted.route.action else { panic!("it should be forwarded") };
    let endpoint = forward.upstream.endpoints.first().unwrap();
    criterion.bench_function("plan", |bencher| {
        bencher.iter(|| {
            let destination = Destination::of(forward, endpoint, None).unwrap();
            black_box(rewrite::plan(&table, &admitted, &request, &canonical, destination, NOW, "0123456789abcdef"))
        });
    });
}

fn compiling(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compile");
    group.sample_size(10).measurement_time(Duration::from_secs(8));
    for size in SIZES {
        let Loading { sources, model, .. } = read(size);
        let model = model.unwrap();
        let copy = || -> Model { model.clone() };
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            let build = |model| compile(model, &sources, stamp(), None);
            bencher.iter_batched(copy, |model| assert!(build(model).table.is_some()), BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, lookup, decision, plan, compiling);
criterion_main!(benches);
