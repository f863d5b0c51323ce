//! What a guarded project may not reach: hundreds of spellings, each refused by `check` with a word for it; and a name server
//! that changes its mind, which never moves a connection to where it may not go.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::dns::Dns;
use crate::support::edge::BINARY;
use crate::support::process::run_within;
use crate::support::{Config, Edge, Origin, Request, eventually_within};

/// Loopback, private, shared, link-local, metadata, this network, broadcast, and a public one: a literal is none of a guarded
/// project's upstreams, wherever it leads.
const ADDRESSES: [[u8; 4]; 12] = [
    [127, 0, 0, 1],
    [127, 255, 255, 254],
    [10, 0, 0, 7],
    [172, 16, 5, 9],
    [192, 168, 1, 1],
    [100, 64, 0, 10],
    [169, 254, 169, 254],
    [169, 254, 170, 2],
    [100, 100, 100, 200],
    [0, 0, 0, 0],
    [255, 255, 255, 255],
    [8, 8, 8, 8],
];

/// The address as resolvers, browsers and the C library may read it.
fn spellings_v4(octets: [u8; 4]) -> Vec<String> {
    let [a, b, c, d] = octets.map(u32::from);
    let whole = u32::from_be_bytes(octets);
    let dotted = format!("{a}.{b}.{c}.{d}");
    let digits = |base: u32| {
        let turned = |c: char| c.to_digit(10).and_then(|digit| char::from_u32(base + digit)).unwrap_or(c);
        dotted.chars().map(turned).collect::<String>()
    };
    let escaped = |all: bool| {
        dotted
            .bytes()
            .map(|b| if all || b == b'.' { format!("%{b:02x}") } else { char::from(b).into() })
            .collect::<String>()
    };
    vec![
        dotted.clone(),
        format!("{dotted}."),
        whole.to_string(),
        format!("{whole}."),
        format!("0x{whole:x}"),
        format!("0X{whole:08X}"),
        format!("0{whole:o}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("00{a:o}.000{b:o}.0{c:o}.{d}"),
        format!("0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"),
        format!("0x{a:02X}.{b}.0{c:o}.{d}"),
        format!("{a}.{}", whole & 0x00ff_ffff),
        format!("{a}.{b}.{}", whole & 0xffff),
        format!("0x{a:x}.0{:o}", whole & 0x00ff_ffff),
        format!("0{a:o}.{b}.0x{:x}", whole & 0xffff),
        digits(0xff10),
        digits(0x1d7ce),
        digits(0x1d7d8),
        dotted.replace('.', "\u{3002}"),
        dotted.replace('.', "\u{ff0e}"),
        dotted.replace('.', "\u{ff61}"),
        dotted.replacen('.', "\u{ad}.", 1),
        format!("{dotted}\u{200b}"),
        escaped(false),
        escaped(true),
    ]
}

fn spellings_v6(octets: [u8; 4]) -> Vec<String> {
    let [a, b, c, d] = octets.map(u16::from);
    let (high, low) = ((a << 8) | b, (c << 8) | d);
    let dotted = Ipv4Addr::from(octets);
    let segments = [
        [0, 0, 0, 0, 0, 0xffff, high, low],
        [0, 0, 0, 0, 0, 0, high, low],
        [0x64, 0xff9b, 0, 0, 0, 0, high, low],
        [0x64, 0xff9b, 1, 0, 0, 0, high, low],
        [0x2002, high, low, 0, 0, 0, 0, 1],
        [0x2001, 0, 1, 2, 3, 4, !high, !low],
        [0xfe80, 0, 0, 0, 0, 0x5efe, high, low],
        [0, 0, 0, 0, 0xffff, 0, high, low],
    ];
    let mut all: Vec<String> = segments.iter().map(|it| format!("[{}]", Ipv6Addr::from(*it))).collect();
    all.push(format!("[::ffff:{dotted}]"));
    all.push(format!("[::{dotted}]"));
    all.push(format!("[64:ff9b::{dotted}]"));
    all.push(format!("[0000:0000:0000:0000:0000:FFFF:{high:04X}:{low:04X}]"));
    all.push(format!("[0:0:0:0:0:ffff:{dotted}]"));
    all
}

const OTHERS: [&str; 92] = [
    // This machine.
    "localhost",
    "LOCALHOST",
    "LocalHost",
    "localhost.",
    "a.localhost",
    "a.b.localhost",
    "A.LOCALHOST.",
    "localhost.localhost",
    "localhost.localdomain",
    "localhost4",
    "localhost6",
    "localhost6.",
    "localhost4.localdomain4.localhost",
    "a.localdomain",
    "ip6-localhost",
    "ip6-loopback",
    "loopback",
    "broadcasthost",
    "IP6-LOCALHOST.",
    "localhos%74",
    "%6cocalhost",
    "%4C%4F%43%41%4C%48%4F%53%54",
    "\u{ff4c}ocalhost",
    "\u{24db}ocalhost",
    "lo\u{ad}calhost",
    "local\u{200b}host",
    "localhost\u{3002}",
    "\u{1d4c1}ocalhost",
    "locAlho\u{17f}t",
    "LOC\u{ff21}LHOST",
    // Cloud metadata.
    "metadata.google.internal",
    "METADATA.google.internal.",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.tencentyun.com",
    "Metadata.Goog.",
    "metadat%61.goog",
    "[fd00:ec2::254]",
    "[FD00:EC2::23]",
    "[fe80::a9fe:a9fe]",
    "[fd20:ce::254]",
    // Addresses of version 6.
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[0:0::1]",
    "[::0001]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fc00::1]",
    "[fd12:3456::1]",
    "[ff02::1]",
    "[2001:db8::1]",
    "[100::1]",
    "[2606:4700::1111]",
    // This proxy.
    "edge.example",
    "EDGE.example",
    "edge.example.",
    "a.wild.example",
    "b.a.wild.example",
    "A.WILD.EXAMPLE.",
    "other.example",
    "%65dge.example",
    "\u{ff45}dge.example",
    "staging.example",
    // Neither names nor addresses.
    "a..b",
    ".example.com",
    "example..com",
    "localhost..",
    "127.0.0.1..",
    "1.2.3.4.5",
    "256.256.256.256",
    "127.0.0.256",
    "4294967296",
    "0x100000000",
    "08",
    "127.0.0.08",
    "foo.1",
    "foo.0x7f",
    "-a.example",
    "a-.example",
    "a!b.example",
    "*.example.com",
    "xn--",
    "xn--a",
    "%",
    "a%2fb",
    "a%00b",
    "a%40b",
    "127.0.0.1%2eexample.com",
    "0x",
];

fn spellings() -> BTreeSet<String> {
    let literal = ADDRESSES.into_iter().flat_map(|it| [spellings_v4(it), spellings_v6(it)].concat());
    literal.chain(OTHERS.map(str::to_owned)).collect()
}

/// A configuration with an upstream of each spelling; which stands in which line.
fn configuration(spelt: &BTreeSet<String>, as_group: bool) -> (String, BTreeMap<u64, String>) {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let mut lines: Vec<String> = START.lines().map(str::to_owned).collect();
    let mut places = BTreeMap::new();
    for (index, host) in spelt.iter().enumerate() {
        let upstream = if as_group { format!("u{index}") } else { format!("https://{}:443/api", quoted(host)) };
        lines.push(format!("          - {{ prefix: /r{index}, upstream: \"{upstream}\", auth: none }}"));
        places.insert(lines.len() as u64, host.clone());
    }
    if as_group {
        lines.push("upstreams:".into());
        for (index, host) in spelt.iter().enumerate() {
            lines
                .push(format!("  u{index}: {{ scheme: https, endpoints: [{{ address: \"{}:443\" }}] }}", quoted(host)));
            places.retain(|_, own| own != host);
            places.insert(lines.len() as u64, host.clone());
        }
    }
    (lines.join("\n") + "\n", places)
}

const START: &str = r#"listeners: { main: { address: "127.0.0.1:8080" } }
projects:
  other:
    hosts: [other.example]
    upstream_policy: open
    environments: { production: { routes: [{ prefix: /, respond: { status: 200 }, auth: none }] } }
  guarded:
    hosts: [edge.example, "*.wild.example"]
    choose_environment: [{ host: staging.example, is: production }]
    environments:
      production:
        routes:
          - { prefix: /fine, upstream: "https://fine.example", auth: none }
"#;

/// What `check` says, by line.
fn check(text: &str) -> (Option<i32>, BTreeMap<u64, Vec<Value>>) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("countersign.yaml");
    std::fs::write(&file, text).expect("write the configuration");
    let done =
        run_within(Duration::from_secs(60), Command::new(BINARY).args(["check", "--format", "json", "-c"]).arg(&file));
    let said: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"));
    let mut lines: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    for diagnostic in said["diagnostics"].as_array().expect("diagnostics") {
        if diagnostic["severity"] == "error" {
            lines.entry(diagnostic["line"].as_u64().expect("a line")).or_default().push(diagnostic.clone());
        }
    }
    (done.code, lines)
}

/// Fails unless it says what is wrong, and what to do.
fn helpful(host: &str, said: &Value) {
    let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
    let codes = ["upstream_not_allowed", "invalid_url", "invalid_host", "invalid_address"];
    assert!(codes.contains(&&*text("code")), "{host}: {said}");
    assert!(text("message").len() > 20 && !text("message").chars().any(char::is_control), "{host}: {said}");
    assert!(!text("hint").is_empty(), "{host}: {said}");
}

#[test]
fn check_refuses_every_spelling_of_a_forbidden_host_with_a_word_for_it() {
    assert!(spellings().len() >= 400, "{}", spellings().len());
    for as_group in [false, true] {
        let mut left = spellings();
        // What is no address at all is said first, and only when that is mended what is one that is forbidden.
        for _ in 0..3 {
            if left.is_empty() {
                break;
            }
            let (text, places) = configuration(&left, as_group);
            let (code, said) = check(&text);
            assert_eq!(code, Some(1), "{said:?}");
            assert!(said.keys().all(|line| places.contains_key(line)), "something else is wrong: {said:?}");
            for (line, diagnostics) in &said {
                diagnostics.iter().for_each(|it| helpful(&places[line], it));
                left.remove(&places[line]);
            }
        }
        assert!(left.is_empty(), "allowed as {}: {left:?}", if as_group { "groups" } else { "URLs" });
    }
}

/// `server.internal_networks` allows this one alone.
const ALLOWED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const FORBIDDEN: [Ipv4Addr; 3] = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 3), Ipv4Addr::new(127, 0, 0, 4)];

/// Listeners on one port: of the address that is allowed, and of those that are not.
fn listeners() -> (Origin, Vec<Origin>) {
    let first = Origin::start();
    let at = |address: Ipv4Addr| Origin::start_at(&SocketAddr::from((address, first.port())).to_string());
    let (allowed, rest) = (at(ALLOWED), [at(FORBIDDEN[1]), at(FORBIDDEN[2])]);
    (allowed, std::iter::once(first).chain(rest).collect())
}

const FLIPPING: &str = r#"
upstreams:
  group: { endpoints: [{ address: "group.internal:{port}" }], keepalive: { idle: 0s } }
  kept: { endpoints: [{ address: "kept.internal:{port}" }], keepalive: { idle: 55s } }
  checked: { endpoints: [{ address: "checked.internal:{port}" }], health: { path: /healthz, interval: 100ms } }
clients: { laptop: { token: "guard-client-token-0123456789abcdef", user: dev@example.com } }
projects:
  demo:
    environments:
      production:
        routes:
          - { prefix: /url, upstream: "http://url.internal:{port}/url", auth: none, retry: { attempts: 3, on: [connect, reset, 503] } }
          - { prefix: /group, upstream: group, auth: none, retry: { attempts: 3, on: [connect, reset, 503] } }
          - { prefix: /kept, upstream: kept, auth: none }
          - { prefix: /checked, upstream: checked, auth: none }
          - { prefix: /mixed, upstream: "http://mixed.internal:{port}/mixed", auth: none }
          - { prefix: /signed, upstream: "http://signed.internal:{port}/signed", sign: { scheme: user-stamp, token: "guard-sign-token-0123456789-abcdefgh" } }
"#;

/// How a route answered, over and over.
#[derive(Default, Debug)]
struct Answers {
    passed: usize,
    refused: usize,
}

#[test]
fn a_name_server_that_flips_moves_no_connection_to_where_it_may_not_go() {
    let (allowed, forbidden) = listeners();
    let dns = Dns::start(&[]);
    let names = ["url", "group", "kept", "checked", "mixed", "signed"];
    for (index, name) in names.into_iter().enumerate() {
        let host: &'static str = Box::leak(format!("{name}.internal").into_boxed_str());
        let other = FORBIDDEN[index % FORBIDDEN.len()];
        // One forbidden address among good ones is enough.
        let bad: &[Ipv4Addr] = if name == "mixed" { &[ALLOWED, other] } else { &[other] };
        dns.turns(host, &[&[ALLOWED], bad]);
    }
    let edge = Config::new(FLIPPING)
        .server("internal_networks: [127.0.0.2/32], dns: { servers: [\"{dns}\"], timeout: 2s }")
        .value("dns", &dns.address.to_string())
        .value("port", &allowed.port().to_string())
        .start();
    let mut answers: BTreeMap<&str, Answers> = names.into_iter().map(|name| (name, Answers::default())).collect();
    eventually_within(Duration::from_secs(60), "every name has flipped several times", || {
        for (name, seen) in &mut answers {
            ask(&edge, name, seen);
        }
        let flipped = |name: &&str| dns.asked(&format!("{name}.internal")) >= 6;
        let both = |seen: &Answers| seen.passed > 2 && seen.refused > 2;
        (names.iter().all(flipped) && answers.values().all(both)).then_some(())
    });
    for listener in &forbidden {
        assert_eq!(listener.connections(), 0, "a connection reached {}", listener.authority());
    }
    let arrived = allowed.requests().iter().filter(|request| request.target() != "/healthz").count();
    let passed: usize = answers.values().map(|seen| seen.passed).sum();
    assert_eq!(arrived, passed, "whatever was answered was answered by the address that is allowed: {answers:?}");
}

fn ask(edge: &Edge, name: &str, seen: &mut Answers) {
    let response = edge.call(&Request::get(&format!("/{name}/x")).bearer("guard-client-token-0123456789abcdef"));
    match (response.status, name) {
        (200, _) => seen.passed += 1,
        (503, "checked") => seen.refused += 1,
        _ => {
            response.expect_error(503, "upstream_forbidden");
            seen.refused += 1;
        }
    }
}
