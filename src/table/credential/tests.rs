//! Where a credential goes, and where it does not.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::config::model::Scheme;
use crate::credential::vault::{Choice, Spec};
use crate::secret::Secret;

use super::super::route::{Action, Forward, HostChoice, Route};
use super::super::testing::*;
use super::super::{Admitted, Decision, NoTrace, Table, Upstream, rewrite};
use super::{Credential, Destination, Source, Withheld};

fn fixed(secret: &str) -> Source {
    Source::Secret(Secret::new(secret))
}

fn pool() -> Source {
    let spec = Spec { provider: "sso".into(), choice: Choice::InOrder, rest_after_429: Duration::from_secs(60) };
    Source::Pool { spec, refresh_before: Duration::from_secs(300) }
}

fn credential(source: Source, header: &'static str, before: &str) -> Arc<Credential> {
    let header = HeaderName::from_static(header);
    Arc::new(Credential { name: "main".into(), source, header, before: before.to_owned(), after: String::new() })
}

fn forward(upstream: &Arc<Upstream>, credential: Option<Arc<Credential>>) -> Forward {
    Forward {
        upstream: Arc::clone(upstream),
        base_path: None,
        host: HostChoice::Endpoint,
        guarded: false,
        sensitive: true,
        credential,
    }
}

fn two_upstreams() -> Table {
    let mut model = model(vec![project("demo", &[], vec![route("/a", "one"), route("/b", "two")])]);
    let pair = [("u1.example.com", 443, 1), ("u2.example.com", 443, 1)];
    // The same names and ports: what tells them apart is whose they are.
    model.upstreams = vec![group("one", Scheme::Https, &pair), group("two", Scheme::Https, &pair)];
    table(model)
}

#[test]
fn a_credential_goes_to_every_endpoint_of_its_upstream_and_to_no_other() {
    let table = two_upstreams();
    let [one, two] = table.upstreams.as_slice() else { panic!("two upstreams") };
    for source in [fixed("s3cret"), pool()] {
        let forward = forward(one, Some(credential(source, "authorization", "Bearer ")));
        let leased = Secret::new("s3cret");
        for endpoint in &one.endpoints {
            let destination = Destination::of(&forward, endpoint, Some(&leased)).unwrap();
            let (name, value) = destination.carried.unwrap();
            assert_eq!((name.as_str(), value.to_str().unwrap()), ("authorization", "Bearer s3cret"));
            assert!(value.is_sensitive());
        }
        for endpoint in &two.endpoints {
            assert_eq!(Destination::of(&forward, endpoint, Some(&leased)).unwrap_err(), Withheld::Elsewhere);
        }
    }
}

#[test]
fn without_its_credential_a_request_has_no_destination() {
    let table = two_upstreams();
    let upstream = &table.upstreams[0];
    let of = |source, leased: Option<&str>| {
        let forward = forward(upstream, Some(credential(source, "x-api-key", "")));
        let leased = leased.map(Secret::new);
        Destination::of(&forward, &upstream.endpoints[0], leased.as_ref()).map(|it| it.carried.is_some())
    };
    assert_eq!(of(pool(), None), Err(Withheld::NoToken));
    assert_eq!(of(pool(), Some("")), Err(Withheld::NotAHeader));
    assert_eq!(of(pool(), Some("a\r\nx: y")), Err(Withheld::NotAHeader));
    assert_eq!(of(pool(), Some("a\0")), Err(Withheld::NotAHeader));
    assert_eq!(of(fixed(""), None), Err(Withheld::NotAHeader));
    assert_eq!(of(fixed("s"), None), Ok(true), "a fixed secret is leased from nobody");
    assert_eq!(of(pool(), Some("t")), Ok(true));
    let plain = forward(upstream, None);
    assert!(Destination::of(&plain, &upstream.endpoints[0], None).unwrap().carried.is_none());
    let other = &table.upstreams[1].endpoints[0];
    let unused = Secret::new("unused");
    assert!(Destination::of(&plain, other, Some(&unused)).unwrap().carried.is_none(), "nothing is put in unasked");
}

#[test]
fn what_is_printed_of_a_destination_is_no_secret() {
    let table = two_upstreams();
    let upstream = &table.upstreams[0];
    let forward = forward(upstream, Some(credential(fixed("s3cret"), "x-api-key", "")));
    let printed = format!("{:?}", Destination::of(&forward, &upstream.endpoints[0], None).unwrap());
    assert!(printed.contains("x-api-key") && !printed.contains("s3cret"), "{printed}");
}

/// The request as admitted by one table, with a route of its own.
fn admitted(request: &Request, credential: Arc<Credential>) -> Admitted {
    let table = two_upstreams();
    let (decision, _) = table.decide(&request.view(), NOW, &mut NoTrace);
    let Decision::Admit(mut admitted) = decision else { panic!("it should be admitted: {decision:?}") };
    drop(table);
    let mut route: Route = Arc::into_inner(admitted.route).expect("the table is gone");
    if let Action::Forward(forward) = &mut route.action {
        forward.credential = Some(credential);
    }
    admitted.route = Arc::new(route);
    admitted
}

fn planned(request: &Request, credential: Arc<Credential>) -> rewrite::Plan {
    let table = two_upstreams();
    let (_, canonical) = table.decide(&request.view(), NOW, &mut NoTrace);
    let admitted = admitted(request, credential);
    let forward = admitted.route.forward().unwrap();
    let destination = Destination::of(forward, &forward.upstream.endpoints[0], None).unwrap();
    rewrite::plan(&table, &admitted, &request.view(), &canonical.unwrap(), destination, NOW, "request-1")
}

#[test]
fn it_is_put_in_last_and_what_the_client_sent_by_that_name_goes_in_every_spelling() {
    for (header, spellings) in [
        ("x-api-key", &["x-api-key", "x_api_key", "x-api_key", "x.api.key", "x_api.key"][..]),
        ("authorization", &["authorization"][..]),
    ] {
        let mut request = Request::get("a.test", "/a/x").with("x-api-keys", "stays").with("x-api", "stays");
        for name in spellings {
            request.headers.append(HeaderName::from_static(name), HeaderValue::from_static("forged"));
        }
        let plan = planned(&request, credential(fixed("s3cret"), header, ""));
        for name in spellings {
            assert!(plan.remove.contains(&HeaderName::from_static(name)), "{name} survives");
        }
        assert!(plan.remove.iter().all(|name| !name.as_str().starts_with("x-api-keys") && name != "x-api"));
        let (name, value) = plan.set.last().unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap(), value.is_sensitive()), (header, "s3cret", true));
        assert_eq!(plan.set.iter().filter(|(name, _)| name == header).count(), 1);
    }
}
