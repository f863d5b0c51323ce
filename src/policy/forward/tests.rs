use super::*;

fn networks(list: &[&str]) -> Networks {
    Networks::new(&list.iter().map(|net| net.parse().unwrap()).collect::<Vec<_>>())
}

fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
    values.iter().map(|v| (HeaderName::from_static(name), HeaderValue::from_bytes(v.as_bytes()).unwrap())).collect()
}

fn client(peer: &str, values: &[&str]) -> String {
    let trusted = networks(&["10.0.0.0/8", "fd00::/8"]);
    client_address(peer.parse().unwrap(), &headers("x-forwarded-for", values), &trusted).to_string()
}

#[test]
fn strangers_are_not_believed() {
    assert_eq!(client("198.51.100.7", &["1.2.3.4"]), "198.51.100.7");
    assert_eq!(client("::ffff:198.51.100.7", &["1.2.3.4"]), "198.51.100.7");
    let nobody = Networks::default();
    assert_eq!(
        client_address("10.0.0.1".parse().unwrap(), &headers("x-forwarded-for", &["1.2.3.4"]), &nobody).to_string(),
        "10.0.0.1"
    );
}

#[test]
fn a_chain_is_read_from_its_near_end() {
    for (values, expected) in [
        (&["203.0.113.9"][..], "203.0.113.9"),
        (&["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
        (&["6.6.6.6, 203.0.113.9, 10.2.0.1"], "203.0.113.9"),
        (&["6.6.6.6", "203.0.113.9", "10.2.0.1, 10.3.0.1"], "203.0.113.9"),
        (&["10.4.0.1, 10.2.0.1"], "10.4.0.1"),
        (&[], "10.0.0.1"),
        (&[""], "10.0.0.1"),
        (&[" , ,203.0.113.9 ,, "], "203.0.113.9"),
        (&["203.0.113.9:4711"], "203.0.113.9"),
        (&["2001:db8::9"], "2001:db8::9"),
        (&["[2001:db8::9]"], "2001:db8::9"),
        (&["[2001:db8::9]:443"], "2001:db8::9"),
        (&["::ffff:203.0.113.9"], "203.0.113.9"),
        (&["6.6.6.6, ::ffff:10.9.9.9"], "6.6.6.6"),
        (&["6.6.6.6, [fd00::2]:80"], "6.6.6.6"),
    ] {
        assert_eq!(client("10.0.0.1", values), expected, "{values:?}");
    }
}

#[test]
fn what_is_no_address_ends_the_walk() {
    for garbage in [
        "unknown",
        "_hidden",
        "1.2.3",
        "1.2.3.4.5",
        "0x7f.1",
        "a.test",
        "[::1",
        "1.2.3.4:x",
        "\"1.2.3.4\"",
        "1.2.3.4 5.6.7.8",
        "\u{ff11}.2.3.4",
        "127.1",
    ] {
        assert_eq!(client("10.0.0.1", &[garbage]), "10.0.0.1", "{garbage:?}");
        assert_eq!(client("10.0.0.1", &[&format!("6.6.6.6, {garbage}, 10.7.0.1")]), "10.7.0.1", "{garbage:?}");
    }
}

#[test]
fn the_upstream_is_told_the_chain_that_is_known() {
    let trusted = networks(&["10.0.0.0/8"]);
    let told = |peer: &str, values: &[&str]| {
        x_forwarded_for(peer.parse().unwrap(), &headers("x-forwarded-for", values), &trusted)
    };
    assert_eq!(told("198.51.100.7", &["1.2.3.4"]), "198.51.100.7");
    assert_eq!(told("10.0.0.1", &["1.2.3.4"]), "1.2.3.4, 10.0.0.1");
    assert_eq!(told("10.0.0.1", &["6.6.6.6, 1.2.3.4", " 10.2.0.1 "]), "6.6.6.6, 1.2.3.4, 10.2.0.1, 10.0.0.1");
    assert_eq!(told("10.0.0.1", &["", "\u{4e2d}"]), "10.0.0.1");
    assert_eq!(told("10.0.0.1", &[]), "10.0.0.1");
    assert_eq!(told("2001:db8::1", &[]), "2001:db8::1");
    assert_eq!(told("::ffff:198.51.100.7", &[]), "198.51.100.7");
}

#[test]
fn the_scheme_is_the_listeners_unless_a_trusted_peer_says_otherwise() {
    let trusted = networks(&["10.0.0.0/8"]);
    let told = |tls, peer: &str, values: &[&str]| {
        x_forwarded_proto(tls, peer.parse().unwrap(), &headers("x-forwarded-proto", values), &trusted)
    };
    assert_eq!(told(false, "198.51.100.7", &["https"]), "http");
    assert_eq!(told(true, "198.51.100.7", &["http"]), "https");
    assert_eq!(told(false, "10.0.0.1", &["HTTPS"]), "https");
    assert_eq!(told(true, "10.0.0.1", &["http"]), "http");
    assert_eq!(told(false, "10.0.0.1", &["http", "https"]), "https");
    assert_eq!(told(false, "10.0.0.1", &["http, https "]), "https");
    assert_eq!(told(true, "10.0.0.1", &["gopher"]), "https");
    assert_eq!(told(false, "10.0.0.1", &[]), "http");
}

#[test]
fn hop_by_hop_and_forwarding_names() {
    for name in [
        "connection",
        "te",
        "transfer-encoding",
        "trailer",
        "upgrade",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x_forwarded_for",
        "x-forwarded_proto",
        "x-forwarded-user",
        "x-real-ip",
        "x_real_ip",
        "http2-settings",
        "transfer_encoding",
    ] {
        assert!(is_hop_by_hop(name), "{name}");
    }
    for name in [
        "host",
        "content-length",
        "cookie",
        "authorization",
        "x-forwarded",
        "x-forwarde-for",
        "tea",
        "t",
        "",
        "expect",
        "via",
        "max-forwards",
        "x-kms-user",
    ] {
        assert!(!is_hop_by_hop(name), "{name}");
    }
}

#[test]
fn forwarded_is_read_where_a_trusted_peer_sends_it_alone() {
    let trusted = networks(&["10.0.0.0/8", "fd00::/8"]);
    let both = |peer: &str, fields: &[(&'static str, &'static str)]| {
        let fields =
            fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let (peer, headers) = (peer.parse().unwrap(), fields.collect::<HeaderMap>());
        let address = client_address(peer, &headers, &trusted).to_string();
        (address, x_forwarded_for(peer, &headers, &trusted), x_forwarded_proto(false, peer, &headers, &trusted))
    };
    let row = |address: &str, chain: &str, proto| (address.to_owned(), chain.to_owned(), proto);
    let chain = ("forwarded", "for=6.6.6.6, for=203.0.113.9;proto=http, for=\"[fd00::2]:80\";proto=https");
    assert_eq!(both("10.0.0.1", &[chain]), row("203.0.113.9", "6.6.6.6, 203.0.113.9, fd00::2, 10.0.0.1", "https"));
    assert_eq!(both("198.51.100.7", &[chain]), row("198.51.100.7", "198.51.100.7", "http"), "a stranger");
    let with_other = [chain, ("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "http")];
    assert_eq!(
        both("10.0.0.1", &with_other),
        row("192.0.2.1", "192.0.2.1, 10.0.0.1", "http"),
        "the other has the word"
    );
    let hidden = ("forwarded", "for=6.6.6.6, for=_hidden, for=10.2.0.1");
    assert_eq!(both("10.0.0.1", &[hidden]), row("10.2.0.1", "6.6.6.6, unknown, 10.2.0.1, 10.0.0.1", "http"));
    let broken = ("forwarded", "for=6.6.6.6, for=\"");
    assert_eq!(both("10.0.0.1", &[broken]), row("10.0.0.1", "10.0.0.1", "http"));
}
