use std::future::Future;

use serde_json::{Value, json};

use super::super::testing::issuer::{DISCOVERY, JWKS, Reply, Scripted};
use super::super::testing::{CLIENT, NOW, Signer, claims};
use super::*;

const SECOND: UnixMillis = 1000;
const MINUTE: UnixMillis = 60 * SECOND;
const HOUR: UnixMillis = 60 * MINUTE;
const DAY: UnixMillis = 24 * HOUR;

struct Case {
    scripted: Scripted,
    issuer: Issuer,
    signer: Signer,
}

impl Case {
    async fn new() -> Self {
        let signer = Signer::ec("1", "ES256");
        let scripted = Scripted::start(&[&signer]).await;
        let issuer = Issuer::new(&scripted.url, Vec::new(), None).unwrap();
        Self { scripted, issuer, signer }
    }

    fn verdict(&self, signer: &Signer, now: UnixMillis) -> Verdict {
        let mut claims = claims(&self.scripted.url);
        claims["exp"] = json!(now / 1000 + 600);
        self.issuer.verify(&signer.token(&claims), &Expected::bearer(vec![CLIENT.to_owned()]), now)
    }

    #[track_caller]
    fn assert_valid(&self, signer: &Signer, now: UnixMillis) {
        let verdict = self.verdict(signer, now);
        assert!(matches!(verdict, Verdict::Valid(_)), "{verdict:?}");
    }

    fn asked(&self) -> (usize, usize) {
        (self.scripted.seen(DISCOVERY).len(), self.scripted.seen(JWKS).len())
    }

    async fn fails(&self, now: UnixMillis) -> String {
        self.issuer.learn(now).await.unwrap_err().0
    }
}

/// Until it is so.
async fn until(mut so: impl FnMut() -> bool) {
    let wait = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it never came so");
}

async fn bounded<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), work).await.expect("it takes too long")
}

#[tokio::test]
async fn an_issuer_is_learned_when_it_is_needed() {
    let case = Case::new().await;
    assert_eq!(case.verdict(&case.signer, NOW), Verdict::Unknown);
    assert_eq!(case.asked(), (0, 0));
    case.issuer.learn(NOW).await.unwrap();
    case.assert_valid(&case.signer, NOW);
    assert_eq!(case.asked(), (1, 1));
    case.issuer.learn(NOW).await.unwrap();
    assert_eq!(case.asked(), (1, 1), "it was asked just now");
    let seen = case.scripted.seen(JWKS).remove(0);
    assert_eq!(seen.header("accept"), Some("application/json"));
}

#[tokio::test]
async fn keys_may_be_somewhere_without_a_discovery_document() {
    let case = Case::new().await;
    let keys = Url::parse(&format!("{}/jwks", case.scripted.url)).unwrap();
    let issuer = Issuer::new(&case.scripted.url, Vec::new(), Some(keys)).unwrap();
    issuer.learn(NOW).await.unwrap();
    assert_eq!(case.asked(), (0, 1));
    let expected = Expected::bearer(vec![CLIENT.to_owned()]);
    let token = case.signer.token(&claims(&case.scripted.url));
    assert!(matches!(issuer.verify(&token, &expected, NOW), Verdict::Valid(_)));
    assert!(issuer.metadata(NOW).await.unwrap_err().0.ends_with("known by its keys alone"));
}

#[tokio::test]
async fn the_older_place_of_a_document_is_looked_at_too() {
    let case = Case::new().await;
    case.scripted.answers(DISCOVERY, Reply(404, "", String::new()));
    assert!(case.fails(NOW).await.contains("no discovery document"));
    let place = "GET /.well-known/oauth-authorization-server";
    case.scripted.answers(place, Reply::json(&case.scripted.metadata()));
    case.issuer.learn(NOW + 5 * SECOND).await.unwrap();
    assert_eq!(case.scripted.seen(place).len(), 2);
}

#[tokio::test]
async fn however_many_wait_one_asks() {
    let case = Arc::new(Case::new().await);
    let gate = case.scripted.holds();
    let waiting: Vec<_> = (0..200)
        .map(|_| {
            let case = Arc::clone(&case);
            tokio::spawn(async move { case.issuer.learn(NOW).await })
        })
        .collect();
    until(|| case.asked() == (1, 0)).await;
    // Whoever began it may leave.
    waiting[0].abort();
    gate.add_permits(10);
    let mut done = 0;
    for one in waiting {
        done += usize::from(bounded(one).await.is_ok_and(|learned| learned.is_ok()));
    }
    assert!(done >= 199);
    assert_eq!(case.asked(), (1, 1));
}

#[tokio::test]
async fn a_new_key_is_learned_and_its_predecessor_goes() {
    let case = Case::new().await;
    case.issuer.learn(NOW).await.unwrap();
    let second = Signer::ec("2", "ES256");
    case.scripted.publishes(&[&second]);
    assert_eq!(case.verdict(&second, NOW + 29 * SECOND), Verdict::Refused(Why::UnknownKey), "it was asked just now");
    let later = NOW + 30 * SECOND;
    assert_eq!(case.verdict(&second, later), Verdict::Unknown);
    case.issuer.learn(later).await.unwrap();
    case.assert_valid(&second, later);
    assert_eq!(case.verdict(&case.signer, later), Verdict::Refused(Why::UnknownKey));
}

#[tokio::test]
async fn invented_names_of_keys_make_one_call_in_half_a_minute() {
    let case = Case::new().await;
    case.issuer.learn(NOW).await.unwrap();
    for second in 0..300 {
        let now = NOW + second * SECOND;
        let stranger = Signer::ed(&second.to_string());
        if case.verdict(&stranger, now) == Verdict::Unknown {
            case.issuer.learn(now).await.unwrap();
            assert_eq!(case.verdict(&stranger, now), Verdict::Refused(Why::UnknownKey));
        }
    }
    assert_eq!(case.asked().1, 10);
}

#[tokio::test]
async fn one_key_without_a_name_may_be_another_by_now() {
    let case = Case::new().await;
    let nameless = |signer: &Signer| {
        let mut jwk = signer.jwk();
        jwk.as_object_mut().unwrap().remove("kid");
        case.scripted.answers(JWKS, Reply::json(&json!({ "keys": [jwk] })));
    };
    let verdict = |signer: &Signer, now| {
        let token = signer.token_with(r#"{"alg":"ES256"}"#, claims(&case.scripted.url).to_string());
        case.issuer.verify(&token, &Expected::bearer(vec![CLIENT.to_owned()]), now)
    };
    nameless(&case.signer);
    case.issuer.learn(NOW).await.unwrap();
    let second = Signer::ec("", "ES256");
    assert_eq!(verdict(&second, NOW), Verdict::Refused(Why::Signature));
    nameless(&second);
    assert_eq!(verdict(&second, NOW + MINUTE), Verdict::Unknown);
    case.issuer.learn(NOW + MINUTE).await.unwrap();
    assert!(matches!(verdict(&second, NOW + MINUTE), Verdict::Valid(_)));
}

#[tokio::test]
async fn keys_that_are_due_are_fetched_while_the_old_ones_go_on() {
    let case = Case::new().await;
    case.issuer.learn(NOW).await.unwrap();
    case.assert_valid(&case.signer, NOW + 600 * SECOND - 1);
    assert_eq!(case.asked(), (1, 1), "they are kept for the 600 seconds that were said");
    let second = Signer::ec("2", "ES256");
    case.scripted.publishes(&[&case.signer, &second]);
    let due = NOW + 600 * SECOND;
    case.assert_valid(&case.signer, due);
    until(|| matches!(case.verdict(&second, due), Verdict::Valid(_))).await;
    assert_eq!(case.asked(), (2, 2));
}

#[tokio::test]
async fn old_keys_outlive_failures_for_a_day() {
    let case = Case::new().await;
    case.issuer.learn(NOW).await.unwrap();
    case.scripted.answers(JWKS, Reply(500, "", String::new()));
    assert!(case.fails(NOW + HOUR).await.ends_with("/jwks answered 500 Internal Server Error"));
    assert!(case.fails(NOW + HOUR + 29 * SECOND).await.contains("500"), "the same, without a call");
    assert_eq!(case.asked(), (2, 2));
    let end = NOW + 600 * SECOND + DAY;
    case.assert_valid(&case.signer, end - 1);
    assert_eq!(case.verdict(&case.signer, end), Verdict::Unknown, "nothing is believed for ever");
    until(|| case.asked().1 == 3).await;
    case.scripted.publishes(&[&case.signer]);
    until(|| case.issuer.shared.fetching.lock().running().is_none()).await;
    case.issuer.learn(end + 30 * SECOND).await.unwrap();
    case.assert_valid(&case.signer, end + 30 * SECOND);
}

#[tokio::test]
async fn what_is_no_document_teaches_nothing() {
    let case = Case::new().await;
    let metadata = |name: &str, value: &str| {
        let mut document = case.scripted.metadata();
        document[name] = Value::from(value);
        Reply::json(&document)
    };
    let large = json!({"issuer": case.scripted.url, "filler": "x".repeat(300 * 1024)});
    let elsewhere = "location: http://127.0.0.1:1/\r\n";
    let mut now = NOW;
    for (reply, words) in [
        (
            Reply(200, "content-type: text/html\r\n", "<html>Sign in to the network</html>".to_owned()),
            "no discovery document",
        ),
        (Reply(200, "", String::new()), "no discovery document"),
        (Reply(500, "", "{}".to_owned()), "answered 500"),
        (Reply(204, "", String::new()), "answered 204"),
        (Reply(302, elsewhere, String::new()), "redirects are not followed"),
        (Reply(301, elsewhere, case.scripted.metadata().to_string()), "redirects are not followed"),
        (Reply::json(&large), "length limit exceeded"),
        (metadata("issuer", "https://evil.example"), "of another issuer"),
        (metadata("issuer", &format!("{}/", case.scripted.url)), "of another issuer"),
        (metadata("jwks_uri", "http://evil.example/jwks"), "jwks_uri"),
        (metadata("jwks_uri", "http://127.0.0.1:1/jwks"), "127.0.0.1:1"),
        (metadata("jwks_uri", &format!("{}/nowhere", case.scripted.url)), "answered 404"),
    ] {
        case.scripted.answers(DISCOVERY, reply.clone());
        let why = case.fails(now).await;
        assert!(why.contains(words), "{why}");
        assert_eq!(case.verdict(&case.signer, now), Verdict::Unknown);
        now += 5 * SECOND;
    }
    case.scripted.answers(DISCOVERY, Reply::json(&case.scripted.metadata()));
    for body in ["<html>", "{\"keys\":[]}", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}]}"] {
        case.scripted.answers(JWKS, Reply(200, "", body.to_owned()));
        assert!(case.fails(now).await.contains("/jwks: "));
        now += 5 * SECOND;
    }
    case.scripted.publishes(&[&case.signer]);
    case.issuer.learn(now).await.expect("it was asked again");
}

#[tokio::test]
async fn nobody_there_is_told_at_once_and_not_asked_at_every_turn() {
    let issuer = Issuer::new("http://127.0.0.1:1", Vec::new(), None).unwrap();
    let why = issuer.learn(NOW).await.unwrap_err();
    assert!(why.0.contains("127.0.0.1:1"), "{why}");
    assert_eq!(issuer.learn(NOW + 4 * SECOND).await.unwrap_err(), why);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_never_answers_is_given_up() {
    let case = Case::new().await;
    let _gate = case.scripted.holds();
    assert!(case.fails(NOW).await.ends_with("no answer within 10 seconds"));
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_stop_us() {
    let case = Case::new().await;
    case.scripted.answers(DISCOVERY, Reply(500, "", String::new()));
    let _ = case.fails(NOW).await;
    case.scripted.answers(DISCOVERY, Reply::json(&case.scripted.metadata()));
    case.issuer.learn(NOW - DAY).await.unwrap();
}

#[test]
fn a_document_lives_as_long_as_it_says_within_bounds() {
    let of = |values: &[&'static str]| {
        let headers = values.iter().map(|value| (CACHE_CONTROL, http::HeaderValue::from_static(value)));
        lifetime(&headers.collect()).as_secs()
    };
    assert_eq!(of(&[]), 3600);
    assert_eq!(of(&["public, max-age=900, must-revalidate"]), 900);
    assert_eq!(of(&["public", "MAX-AGE=\"901\""]), 901);
    assert_eq!(of(&["max-age=0"]), 300);
    assert_eq!(of(&["no-store"]), 3600);
    assert_eq!(of(&["max-age=99999999"]), 86_400);
    assert_eq!(of(&["max-age=-1", "max-age=x"]), 3600);
}
