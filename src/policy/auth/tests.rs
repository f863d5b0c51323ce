use super::{ClientIndex, Clients, Presented, digest};
use http::{HeaderMap, HeaderName, HeaderValue};

fn present(fields: &[(&str, &str)]) -> Presented {
    let clients = Clients::new(["laptop-token", "ci-token", "Third Token"].map(digest).to_vec());
    let headers: HeaderMap = fields
        .iter()
        .map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        })
        .collect();
    clients.present(&headers)
}

const NOTHING: Presented = Presented::Nothing;
const WRONG: Presented = Presented::Wrong;

fn client(index: usize) -> Presented {
    Presented::Client(ClientIndex(index))
}

#[test]
fn tokens_are_found_in_either_header() {
    for (fields, expected) in [
        (&[][..], NOTHING),
        (&[("authorization", "Bearer laptop-token")], client(0)),
        (&[("authorization", "bearer ci-token")], client(1)),
        (&[("authorization", "BEARER   ci-token ")], client(1)),
        (&[("authorization", "Bearer Third Token")], client(2)),
        (&[("x-api-key", "ci-token")], client(1)),
        (&[("x-api-key", " ci-token ")], client(1)),
        (&[("authorization", "Bearer nobody")], WRONG),
        (&[("authorization", "Bearer")], WRONG),
        (&[("authorization", "Bearer ")], WRONG),
        (&[("authorization", "Bearer CI-TOKEN")], WRONG),
        (&[("authorization", "Bearer ci-toke")], WRONG),
        (&[("authorization", "Bearer ci-token,x")], WRONG),
        (&[("authorization", "Bearer \u{e4}")], WRONG),
        (&[("x-api-key", "")], WRONG),
        (&[("x-api-key", "Bearer ci-token")], WRONG),
        (&[("authorization", "Basic Y2ktdG9rZW4=")], NOTHING),
        (&[("authorization", "Bearerci-token")], NOTHING),
        (&[("authorization", "ci-token")], NOTHING),
        (&[("authorization", "")], NOTHING),
        (&[("authorization", "Basic eDp5"), ("x-api-key", "ci-token")], client(1)),
        (&[("authorization", "Basic eDp5"), ("x-api-key", "nobody")], WRONG),
        (&[("authorization", "Bearer ci-token"), ("x-api-key", "ci-token")], client(1)),
        (&[("authorization", "Bearer ci-token"), ("x-api-key", "laptop-token")], WRONG),
        (&[("authorization", "Bearer ci-token"), ("x-api-key", "")], WRONG),
        (&[("authorization", "Bearer "), ("x-api-key", "ci-token")], WRONG),
        (&[("authorization", "Bearer ci-token"), ("authorization", "Bearer ci-token")], WRONG),
        (&[("authorization", "Basic eDp5"), ("authorization", "Bearer ci-token")], WRONG),
        (&[("x-api-key", "ci-token"), ("x-api-key", "ci-token")], WRONG),
    ] {
        assert_eq!(present(fields), expected, "{fields:?}");
    }
}

#[test]
fn without_clients_every_token_is_wrong() {
    let headers = HeaderMap::from_iter([(HeaderName::from_static("x-api-key"), HeaderValue::from_static("x"))]);
    assert_eq!(Clients::default().present(&headers), WRONG);
}

#[test]
fn every_one_of_many_is_found() {
    let clients = Clients::new((0..5000).map(|n| digest(&format!("token-{n}"))).collect());
    for n in 0..5000 {
        let value = HeaderValue::from_str(&format!("Bearer token-{n}")).unwrap();
        assert_eq!(clients.present(&HeaderMap::from_iter([(http::header::AUTHORIZATION, value)])), client(n));
    }
}

#[test]
fn digests_are_sha256_and_not_shown() {
    let clients = Clients::new(vec![digest("test")]);
    assert_eq!(hex::encode(digest("test")), "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08");
    let shown = format!("{clients:?}");
    assert!(shown.contains("***") && !shown.contains("159, 134"), "{shown}");
}
