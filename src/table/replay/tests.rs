use super::super::testing::{self, *};
use super::*;
use crate::config::Model;
use crate::config::model::{self, SignScheme};
use crate::policy::request_gate::RequestView;

/// `/a` signed, for clients; `/b` to another place in production and in `dev`.
fn base() -> Model {
    let mut signed = route("/a", "https://u.example.com/api");
    signed.auth = model::Auth::Required;
    signed.sign = sign(SignScheme::UserStamp);
    let mut model = model(vec![project("demo", &["a.test"], vec![signed, route("/b", "https://b.example.com")])]);
    let dev = environment("dev", vec![route("/b", "https://dev.example.com")]);
    model.projects[0].environments.push(dev);
    model.projects[0].choose_environment =
        vec![rule(by_header("x-environment"), None, None), rule(by_host("dev.a.test", "dev"), None, None)];
    model.projects[0].hosts.push(pattern("dev.a.test"));
    model.clients = vec![testing::client("laptop", Some("d@example.com")), testing::client("robot", None)];
    model
}

fn asked(path: &'static str) -> Asked<'static> {
    Asked {
        method: "GET",
        host: "a.test",
        path,
        environment: None,
        client: "laptop",
        user: "d@example.com",
        source: "client",
        from: [192, 0, 2, 9].into(),
    }
}

fn changes(asked: &Asked<'_>, edit: impl FnOnce(&mut Model)) -> Vec<Change> {
    let mut model = base();
    edit(&mut model);
    let (old, new) = (table(base()), table(model));
    old.replay(asked, NOW).unwrap().changes(&new.replay(asked, NOW).unwrap())
}

fn first(model: &mut Model) -> &mut model::Route {
    &mut model.projects[0].environments[0].routes[0]
}

#[test]
fn every_kind_of_difference_is_named() {
    use Change::*;
    let a = asked("/a/x");
    assert_eq!(changes(&a, |_| {}), []);
    assert_eq!(changes(&a, |model| *first(model) = route("/other", "https://u.example.com/api")), [Becomes404]);
    assert_eq!(changes(&a, |model| first(model).methods = Some(vec![Method::POST])), [Becomes405]);
    assert_eq!(changes(&a, |model| first(model).access_deny = vec!["192.0.2.0/24".parse().unwrap()]), [Becomes403]);
    assert_eq!(changes(&a, |model| model.clients[0] = testing::client("other", Some("o@x.co"))), [Becomes401]);
    assert_eq!(changes(&a, |model| first(model).auth = model::Auth::Optional), [LosesAuthentication]);
    assert_eq!(changes(&a, |model| first(model).auth = model::Auth::None), [LosesAuthentication, OtherIdentity]);
    assert_eq!(changes(&a, |model| model.clients[0].user = Some(text("new@example.com"))), [OtherIdentity]);
    let elsewhere = |model: &mut Model| first(model).action = route("/a", "https://u.example.com/v2").action;
    assert_eq!(changes(&a, elsewhere), [GoesElsewhere]);
    assert_eq!(changes(&a, |model| first(model).sign = None), [OtherSignature, OtherSignToken]);
    assert_eq!(changes(&a, |model| first(model).sign = sign(SignScheme::None)), [OtherSignature]);
    let token = |model: &mut Model| {
        let other = crate::secret::Secret::new("f".repeat(40));
        first(model).sign.as_mut().unwrap().token = Some(crate::diagnostic::Spanned::new(other, at(4)));
    };
    assert_eq!(changes(&a, token), [OtherSignToken]);
    assert_eq!(changes(&a, |model| first(model).request_headers.set = vec![field("x-a", "b")]), [OtherHeaders]);
    assert_eq!(changes(&a, |model| first(model).timeouts.idle = std::time::Duration::from_secs(1)), [OtherSettings]);
    let b = Asked { client: "", user: "", source: "", ..asked("/b/x") };
    let required = |model: &mut Model| model.projects[0].environments[0].routes[1].auth = model::Auth::Required;
    assert_eq!(changes(&b, required), [Becomes401]);
    assert_eq!(changes(&Asked { client: "laptop", ..b }, required), [GainsAuthentication, OtherIdentity]);
    let switch = |model: &mut Model| model.projects[0].environment = text("dev");
    assert_eq!(changes(&b, switch), [OtherEnvironment, GoesElsewhere]);
    assert_eq!(changes(&a, switch), [Becomes404]);
    let nowhere = asked("/nowhere");
    assert_eq!(changes(&nowhere, |model| first(model).prefix = text("/nowhere")), [BecomesServed]);
    assert_eq!(changes(&nowhere, |model| model.projects[0].hosts.truncate(0)), []);
    assert_eq!(changes(&nowhere, |model| drop(model.projects[0].hosts.remove(0))), [OtherRefusal]);
}

#[test]
fn a_request_that_named_its_environment_goes_on_naming_it() {
    let b = Asked { client: "", user: "", source: "", ..asked("/b/x") };
    let switch = |model: &mut Model| model.projects[0].environment = text("dev");
    assert_eq!(changes(&Asked { environment: Some("production"), ..b }, switch), []);
    assert_eq!(changes(&Asked { environment: Some("dev"), ..b }, switch), []);
    // Its host means an environment, whichever is the default.
    assert_eq!(changes(&Asked { host: "dev.a.test", ..b }, switch), []);
    let gone = |model: &mut Model| {
        model.projects[0].environments.truncate(1);
        model.projects[0].choose_environment.clear();
    };
    assert_eq!(changes(&Asked { environment: Some("dev"), ..b }, gone), [Change::Becomes404]);
}

/// With the very head that was sent: whoever is assumed is who would have been found out.
#[test]
fn a_replay_decides_as_the_request_itself_was_decided() {
    let table = table(base());
    for (client, environment) in
        [("laptop", None), ("robot", None), ("", None), ("laptop", Some("dev")), ("", Some("dev"))]
    {
        for path in ["/a/x", "/b/x", "/nowhere", "/a/../b", "/.countersign/routes.json"] {
            let mut real = Request::get("a.test", path);
            if !client.is_empty() {
                real = real.with("authorization", &format!("Bearer {client}-token"));
            }
            if let Some(environment) = environment {
                real = real.with("x-environment", environment);
            }
            let view: RequestView<'_> = real.view();
            let (decision, canonical) = table.decide(&view, NOW, &mut NoTrace);
            let source = if client.is_empty() { "" } else { "client" };
            let user = if client == "laptop" { "d@example.com" } else { "" };
            let replayed = table.replay(&Asked { client, user, source, environment, ..asked(path) }, NOW).unwrap();
            let real = Outcome::of(decision, canonical.as_ref());
            assert_eq!(
                (&replayed.answer, &replayed.user),
                (&real.answer, &real.user),
                "{client} {environment:?} {path}"
            );
            assert_eq!(replayed.route_name(), real.route_name(), "{client} {environment:?} {path}");
        }
    }
}

#[test]
fn a_person_is_believed_where_the_source_is_still_asked() {
    let mut model = base();
    model.identity.sources = vec![model::IdentitySource::Client, model::IdentitySource::Header];
    let user = http::HeaderName::from_static("x-auth-user");
    model.identity.header = Some(model::HeaderIdentity { user, name: None });
    let (with, without) = (table(model), table(base()));
    let person = Asked { client: "", user: "p@example.com", source: "header", ..asked("/a/x") };
    let before = with.replay(&person, NOW).unwrap();
    assert_eq!(
        (before.answer.clone(), &*before.user),
        (Answer::Served("https://u.example.com:443/api/x".to_owned()), "p@example.com")
    );
    assert_eq!(before.changes(&without.replay(&person, NOW).unwrap()), [Change::Becomes401]);
}

#[test]
fn what_cannot_have_come_is_not_replayed() {
    let table = table(base());
    for asked in [Asked { method: "G T", ..asked("/a") }, Asked { host: "a\nb", ..asked("/a") }] {
        assert!(table.replay(&asked, NOW).is_none());
    }
    let odd = table.replay(&Asked { host: "", ..asked("/a") }, NOW).unwrap();
    assert!(matches!(odd.answer, Answer::Refused { status: 400, .. }));
}
