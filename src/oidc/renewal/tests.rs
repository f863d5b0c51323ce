use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::super::testing::issuer::{DISCOVERY, JWKS, Reply, Scripted, TOKEN};
use super::super::testing::{self, NOW, Signer, settings};
use super::super::{Client, Issuer};
use super::*;

const SECOND: UnixMillis = 1000;

struct Case {
    scripted: Scripted,
    client: Client,
    signer: Signer,
}

impl Case {
    async fn new() -> Self {
        let signer = Signer::ec("1", "ES256");
        let scripted = Scripted::start(&[&signer]).await;
        let issuer = Arc::new(Issuer::new(&scripted.url, Vec::new(), None).unwrap());
        Self { client: Client::new(settings(issuer)), scripted, signer }
    }

    /// With the first refresh token, and due.
    fn session(&self) -> Session {
        let session = testing::session(&self.client, "wang.fang@example.com", "王芳", NOW - 3_600_000);
        Session { refresh_token: Some(Secret::new("token-0")), subject: "248289761001".to_owned(), ..session }
    }

    /// The issuer rotates: it gives `token-1` for its first call, then `token-2` …
    fn rotates(&self) {
        let calls = AtomicUsize::new(0);
        self.scripted.decides(TOKEN, move |_| {
            let next = calls.fetch_add(1, Ordering::SeqCst) + 1;
            Reply::json(&json!({"access_token": "a", "refresh_token": format!("token-{next}"), "expires_in": 600}))
        });
    }

    fn answers(&self, status: u16, body: &Value) {
        self.scripted.answers(TOKEN, Reply(status, "", body.to_string()));
    }

    fn calls(&self) -> usize {
        self.scripted.seen(TOKEN).len()
    }

    async fn fresh(&self, session: &Session, now: UnixMillis) -> Session {
        match self.client.renew(session, now).await {
            Renewed::Fresh(session) => session,
            other => panic!("{other:?}"),
        }
    }

    /// Renewed with an ID token whose claims are changed.
    async fn with_id_token(&self, changes: Value) -> Renewed {
        let mut claims = testing::claims(&self.scripted.url);
        claims["nonce"] = "nonce".into();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        self.answers(200, &json!({"access_token": "a", "refresh_token": "n", "id_token": self.signer.token(&claims)}));
        // Each time another token: answers are remembered.
        let token = Secret::new(format!("token {changes}"));
        self.client.renew(&Session { refresh_token: Some(token), ..self.session() }, NOW).await
    }
}

fn token(session: &Session) -> &str {
    session.refresh_token.as_ref().unwrap().expose()
}

#[tokio::test]
async fn a_session_goes_on_and_ends_when_it_was_to_end() {
    let case = Case::new().await;
    case.rotates();
    let session = case.session();
    let fresh = case.fresh(&session, NOW).await;
    assert_eq!(token(&fresh), "token-1");
    assert_eq!((fresh.signed_in_at, fresh.ends_at), (session.signed_in_at, session.ends_at));
    assert_eq!((fresh.check_at, &fresh.person), (NOW + 600 * SECOND, &session.person));
    let call = case.scripted.seen(TOKEN).remove(0);
    assert_eq!(call.field("grant_type").as_deref(), Some("refresh_token"));
    assert_eq!(call.field("refresh_token").as_deref(), Some("token-0"));
    assert!(call.header("authorization").unwrap().starts_with("Basic "));
    assert_eq!(token(&case.fresh(&fresh, NOW + 600 * SECOND).await), "token-2");
    assert_eq!(case.client.renew(&fresh, fresh.ends_at).await, Renewed::Ended);
    assert_eq!(case.calls(), 2);
}

#[tokio::test]
async fn however_many_come_one_call_is_made() {
    let case = Arc::new(Case::new().await);
    case.rotates();
    let gate = case.scripted.holds();
    gate.add_permits(2);
    let session = case.session();
    let waiting: Vec<_> = (0..1000)
        .map(|_| {
            let (case, session) = (Arc::clone(&case), session.clone());
            tokio::spawn(async move { case.client.renew(&session, NOW).await })
        })
        .collect();
    let asked = async {
        while case.calls() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), asked).await.unwrap();
    // Whoever asked first may leave: his call goes on.
    waiting[0].abort();
    gate.add_permits(1);
    let mut fresh = Vec::new();
    for one in waiting {
        fresh.extend(one.await.ok());
    }
    assert!(fresh.len() >= 999);
    assert!(fresh.iter().all(|one| matches!(one, Renewed::Fresh(session) if token(session) == "token-1")));
    assert_eq!(case.calls(), 1);
}

#[tokio::test]
async fn whoever_comes_late_gets_the_same_and_later_nothing() {
    let case = Case::new().await;
    case.rotates();
    let session = case.session();
    let fresh = case.fresh(&session, NOW).await;
    assert_eq!(case.fresh(&session, NOW + 59 * SECOND).await, fresh);
    assert_eq!(case.fresh(&session, NOW + 599 * SECOND).await, fresh, "its answer may have been slow, or lost");
    for minutes in [10, 11, 60, 6 * 60] {
        assert_eq!(case.client.renew(&session, NOW + minutes * 60 * SECOND).await, Renewed::Ended, "{minutes}");
    }
    assert_eq!(case.calls(), 1, "a spent token is not sent again");
    // Another configuration, the same issuer.
    let next = Client::new(case.client.settings.clone());
    assert_eq!(next.renew(&session, NOW + 660 * SECOND).await, Renewed::Ended);
    assert_eq!(case.calls(), 1);
}

#[tokio::test]
async fn a_token_that_stays_is_sent_again() {
    let case = Case::new().await;
    case.answers(200, &json!({"access_token": "a", "expires_in": 1}));
    let session = case.session();
    let fresh = case.fresh(&session, NOW).await;
    assert_eq!((token(&fresh), fresh.check_at), ("token-0", NOW + 60 * SECOND));
    let _ = case.fresh(&session, NOW + 59 * SECOND).await;
    assert_eq!(case.calls(), 1);
    let _ = case.fresh(&fresh, NOW + 60 * SECOND).await;
    assert_eq!(case.calls(), 2);
}

#[tokio::test]
async fn a_no_is_for_good() {
    let case = Case::new().await;
    case.answers(400, &json!({"error": "invalid_grant"}));
    let session = case.session();
    assert_eq!(case.client.renew(&session, NOW).await, Renewed::Ended);
    case.rotates();
    for later in [1, 61, 3600] {
        assert_eq!(case.client.renew(&session, NOW + later * SECOND).await, Renewed::Ended);
    }
    assert_eq!(case.calls(), 1);
}

#[tokio::test]
async fn what_is_no_answer_changes_nothing_and_is_not_asked_at_every_turn() {
    for (status, body) in [
        (500, json!({"error": "invalid_grant"})),
        (503, json!({})),
        (429, json!({"error": "temporarily_unavailable"})),
        (401, json!({"error": "invalid_client"})),
        (200, json!("<html>")),
        (302, json!({})),
    ] {
        let case = Case::new().await;
        case.answers(status, &body);
        let session = case.session();
        assert_eq!(case.client.renew(&session, NOW).await, Renewed::Later, "{status}");
        case.rotates();
        assert_eq!(case.client.renew(&session, NOW + 119 * SECOND).await, Renewed::Later, "{status}");
        assert_eq!(case.calls(), 1);
        assert_eq!(token(&case.fresh(&session, NOW + 120 * SECOND).await), "token-1", "{status}");
    }
    let unreachable = Case::new().await;
    unreachable.scripted.answers(DISCOVERY, Reply(500, "", String::new()));
    assert_eq!(unreachable.client.renew(&unreachable.session(), NOW).await, Renewed::Later);
    assert_eq!(unreachable.calls(), 0);
}

#[tokio::test]
async fn a_session_of_somebody_elses_client_is_none() {
    let case = Case::new().await;
    case.rotates();
    let mut settings = case.client.settings.clone();
    settings.client_id = "another".to_owned();
    assert_eq!(Client::new(settings).renew(&case.session(), NOW).await, Renewed::Ended);
    let without = Session { refresh_token: None, ..case.session() };
    assert_eq!(case.client.renew(&without, NOW).await, Renewed::Later, "there is nothing to ask with");
    assert_eq!(case.calls(), 0);
}

#[tokio::test]
async fn a_new_id_token_is_of_the_same_person_and_log_in() {
    let case = Case::new().await;
    let Renewed::Fresh(fresh) = case.with_id_token(json!({"name": "王芳（市场部）", "email": "W.F@Example.com"})).await
    else {
        panic!("it is right");
    };
    assert_eq!((&*fresh.person.user, &*fresh.person.name), ("w.f@example.com", "王芳（市场部）"));
    assert!(fresh.id_token.is_some());
    for sound in [json!({"nonce": null}), json!({"email": null, "email_verified": null})] {
        assert!(matches!(case.with_id_token(sound.clone()).await, Renewed::Fresh(_)), "{sound}");
    }
    for wrong in [
        json!({"sub": "somebody else"}),
        json!({"nonce": "of another log-in"}),
        json!({"aud": "another"}),
        json!({"iss": "https://evil.example"}),
        json!({"exp": 1}),
        json!({"email_verified": false}),
    ] {
        assert_eq!(case.with_id_token(wrong.clone()).await, Renewed::Ended, "{wrong}");
    }
}

#[tokio::test]
async fn where_a_key_cannot_be_had_the_grant_counts() {
    let mut case = Case::new().await;
    case.client.issuer().learn(NOW - 60 * SECOND).await.unwrap();
    case.signer = Signer::ec("new", "ES256");
    case.scripted.answers(JWKS, Reply(500, "", String::new()));
    let Renewed::Fresh(fresh) = case.with_id_token(json!({"email": "x@y.z"})).await else { panic!("it goes on") };
    assert_eq!(&*fresh.person.user, "wang.fang@example.com", "but what nobody could check is not believed");
}

#[tokio::test]
async fn what_is_old_is_forgotten_but_for_what_was_spent() {
    let case = Case::new().await;
    case.answers(200, &json!({"access_token": "a"}));
    let kept = |case: &Case| case.client.issuer().renewals.0.lock().renewals.len();
    for at in 0..50 {
        let token = Secret::new(format!("stays-{at}"));
        let _ = case.fresh(&Session { refresh_token: Some(token), ..case.session() }, NOW).await;
    }
    case.rotates();
    let spent = Session { refresh_token: Some(Secret::new("spent")), ..case.session() };
    let _ = case.fresh(&spent, NOW).await;
    assert_eq!(kept(&case), 51);
    let _ = case.fresh(&case.session(), NOW + 61 * SECOND).await;
    assert_eq!(kept(&case), 2);
    let long_after = spent.ends_at;
    let other = Session { signed_in_at: NOW, ends_at: long_after + SECOND, ..case.session() };
    let other = Session { refresh_token: Some(Secret::new("other")), ..other };
    let _ = case.fresh(&other, long_after).await;
    assert_eq!(kept(&case), 1, "their sessions have ended");
}
