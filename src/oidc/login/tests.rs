use std::collections::HashMap;
use std::sync::Arc;

use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::json;

use super::super::testing::issuer::{DISCOVERY, JWKS, Reply, Scripted, TOKEN, USERINFO};
use super::super::testing::{CLIENT, NOW, SECONDS, Signer, claims, settings};
use super::super::{ClaimNames, Issuer, Settings};
use super::*;

const REDIRECT: &str = "https://edge.example.com/.countersign/oidc/callback";
const CODE: &str = "code-that-is-shown-once";
const SESSION: UnixMillis = 8 * 3600 * 1000;

struct Case {
    scripted: Scripted,
    client: Client,
    signer: Arc<Signer>,
    process: Sealer,
}

/// A log-in on its way, and what the issuer was told.
struct Sent {
    begun: Begun,
    query: HashMap<String, String>,
}

impl Sent {
    fn state(&self) -> &str {
        &self.query["state"]
    }

    /// What the browser comes back with.
    fn answer(&self) -> String {
        format!("code={CODE}&state={}", self.state())
    }
}

impl Case {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let signer = Arc::new(Signer::ec("1", "ES256"));
        let scripted = Scripted::start(&[&signer]).await;
        let issuer = Issuer::new(&scripted.url, Vec::new(), None).unwrap();
        let mut settings = settings(Arc::new(issuer));
        change(&mut settings);
        Self { scripted, client: Client::new(settings), signer, process: Sealer::of(&Secret::new("process")) }
    }

    async fn begin(&self, back: &str) -> Sent {
        let begun = self.client.begin(REDIRECT, back, Some(&self.process), NOW).await.unwrap();
        let query = Url::parse(&begun.location).unwrap().query_pairs().into_owned().collect();
        Sent { begun, query }
    }

    async fn finish(&self, query: &str, cookie: &str) -> Result<Finished, Fault> {
        self.client.finish(REDIRECT, query, cookie, Some(&self.process), NOW).await
    }

    /// The issuer exchanges the code for these claims, changed.
    fn exchanges(&self, sent: &Sent, changes: Value) {
        self.exchanges_for(sent, changes, json!({}));
    }

    fn exchanges_for(&self, sent: &Sent, changes: Value, more: Value) {
        let mut claims = claims(&self.scripted.url);
        claims["nonce"] = sent.query["nonce"].clone().into();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        let mut answer = json!({"access_token": "access", "token_type": "Bearer", "expires_in": 600,
            "refresh_token": "refresh-1", "id_token": self.signer.token(&claims)});
        answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.scripted.answers(TOKEN, Reply::json(&answer));
    }

    /// All the way, with a token endpoint that says this.
    async fn comes_to(&self, changes: Value) -> Result<Finished, Fault> {
        let sent = self.begin("/a").await;
        self.exchanges(&sent, changes);
        self.finish(&sent.answer(), &sent.begun.state_cookie).await
    }
}

#[tokio::test]
async fn somebody_logs_in_and_comes_back_to_where_he_was() {
    let case = Case::new().await;
    let sent = case.begin("/a0/list?x=1&y=%2F").await;
    assert!(sent.begun.location.starts_with(&format!("{}/authorize?", case.scripted.url)));
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("redirect_uri", REDIRECT),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(sent.query[name], value);
    }
    assert_eq!(sent.query["scope"], "openid email profile");
    assert_eq!(login_mark(&sent.answer()), Some(sent.begun.mark.clone()));
    case.exchanges(&sent, json!({}));
    let finished = case.finish(&sent.answer(), &sent.begun.state_cookie).await.unwrap();
    assert_eq!(finished.back, "/a0/list?x=1&y=%2F");
    let session = finished.session;
    assert_eq!((&*session.person.user, &*session.person.name), ("wang.fang@example.com", "王芳"));
    assert_eq!((session.signed_in_at, session.check_at, session.ends_at), (NOW, NOW + 600_000, NOW + SESSION));
    let pieces = case.client.seal(Some(&case.process), &session).unwrap();
    let pieces: Vec<_> = pieces.iter().map(String::as_str).collect();
    assert_eq!(case.client.session(Some(&case.process), &pieces, NOW), Some(session));

    let call = case.scripted.seen(TOKEN).remove(0);
    let proof = STANDARD.encode("edge:client+secret%3A+100%25+%26+more");
    assert_eq!(call.header("authorization"), Some(&*format!("Basic {proof}")));
    for (name, value) in [("grant_type", "authorization_code"), ("code", CODE), ("redirect_uri", REDIRECT)] {
        assert_eq!(call.field(name).as_deref(), Some(value));
    }
    assert_eq!((call.field("client_id"), call.field("client_secret")), (None, None));
    let verifier = call.field("code_verifier").unwrap();
    assert_eq!(URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier)), sent.query["code_challenge"]);
    assert_eq!([verifier.len(), sent.state().len(), sent.query["nonce"].len()], [43; 3]);
}

#[tokio::test]
async fn several_log_ins_are_apart() {
    let case = Case::new().await;
    let (one, two) = (case.begin("/one").await, case.begin("/two").await);
    for name in ["state", "nonce", "code_challenge"] {
        assert_ne!(one.query[name], two.query[name], "{name}");
    }
    assert_ne!(one.begun.mark, two.begun.mark);
    assert_eq!(case.finish(&one.answer(), &two.begun.state_cookie).await.unwrap_err(), Fault::State);
    for (sent, back) in [(&two, "/two"), (&one, "/one")] {
        case.exchanges(sent, json!({}));
        assert_eq!(case.finish(&sent.answer(), &sent.begun.state_cookie).await.unwrap().back, back);
    }
}

#[tokio::test]
async fn without_its_state_nothing_is_looked_at() {
    let case = Case::new().await;
    let sent = case.begin("/a").await;
    case.exchanges(&sent, json!({}));
    let (state, cookie) = (sent.state(), &sent.begun.state_cookie);
    for query in [
        String::new(),
        format!("code={CODE}"),
        format!("code={CODE}&state="),
        format!("code={CODE}&state={state}x"),
        format!("code={CODE}&state={}", &state[1..]),
        format!("code={CODE}&state={}", state.to_uppercase()),
        format!("code={CODE}&state={state}&state={state}"),
        format!("code={CODE}&state=x&state={state}"),
        format!("code={CODE}&code=other&state={state}"),
        format!("code={CODE}&state={state}&iss=a&iss=b"),
        format!("error=access_denied&error=x&state={state}"),
        format!("error=access_denied&state=x{state}"),
        format!("code={CODE}&state={state}&x={}", "x".repeat(17_000)),
    ] {
        assert_eq!(case.finish(&query, cookie).await.unwrap_err(), Fault::State, "{query}");
    }
    for foreign in ["", "x", &cookie[1..], &format!("{cookie}A")] {
        assert_eq!(case.finish(&sent.answer(), foreign).await.unwrap_err(), Fault::State);
    }
    assert!(case.scripted.seen(TOKEN).is_empty(), "no code was shown to anybody");
    case.finish(&sent.answer(), cookie).await.unwrap();
}

#[tokio::test]
async fn a_log_in_is_of_one_client_one_address_and_ten_minutes() {
    let case = Case::new().await;
    let sent = case.begin("/a").await;
    case.exchanges(&sent, json!({}));
    let (answer, cookie) = (sent.answer(), &sent.begun.state_cookie);
    let process = Some(&case.process);
    let elsewhere = "https://other.example.com/.countersign/oidc/callback";
    assert_eq!(case.client.finish(elsewhere, &answer, cookie, process, NOW).await.unwrap_err(), Fault::State);
    assert_eq!(case.client.finish(REDIRECT, &answer, cookie, process, NOW + LIFE).await.unwrap_err(), Fault::State);
    assert_eq!(case.client.finish(REDIRECT, &answer, cookie, None, NOW).await.unwrap_err(), Fault::State);
    let mut settings = case.client.settings.clone();
    settings.client_id = "another".to_owned();
    let other = Client::new(settings);
    assert_eq!(other.finish(REDIRECT, &answer, cookie, process, NOW).await.unwrap_err(), Fault::State);
    assert!(case.scripted.seen(TOKEN).is_empty());
    case.client.finish(REDIRECT, &answer, cookie, process, NOW + LIFE - 1).await.unwrap();
}

#[tokio::test]
async fn a_client_with_a_key_of_its_own_uses_no_other() {
    let case = Case::with(|settings| settings.sealer = Some(Sealer::of(&Secret::new("own")))).await;
    let sent = case.begin("/a").await;
    assert!(case.process.open(PURPOSE, &sent.begun.state_cookie).is_none());
    case.exchanges(&sent, json!({}));
    case.finish(&sent.answer(), &sent.begun.state_cookie).await.unwrap();
    let without = Case::new().await;
    assert_eq!(without.client.begin(REDIRECT, "/", None, NOW).await.unwrap_err(), Fault::Unsealed);
}

#[tokio::test]
async fn nobody_is_sent_elsewhere_after_a_log_in() {
    let case = Case::new().await;
    for back in ["//evil.example", "https://evil.example", "/\\evil.example", "/%2fevil.example", "/\tevil", ""] {
        let sent = case.begin(back).await;
        case.exchanges(&sent, json!({}));
        assert_eq!(case.finish(&sent.answer(), &sent.begun.state_cookie).await.unwrap().back, "/", "{back}");
    }
}

#[tokio::test]
async fn an_answer_is_of_the_issuer_that_was_asked() {
    let case = Case::new().await;
    let sent = case.begin("/a").await;
    case.exchanges(&sent, json!({}));
    let ours = url::form_urlencoded::byte_serialize(case.scripted.url.as_bytes()).collect::<String>();
    for other in ["https%3A%2F%2Fevil.example", "", &format!("{ours}%2F")] {
        let query = format!("{}&iss={other}", sent.answer());
        assert_eq!(case.finish(&query, &sent.begun.state_cookie).await.unwrap_err(), Fault::Issuer);
        let query = format!("error=access_denied&state={}&iss={other}", sent.state());
        assert_eq!(case.finish(&query, &sent.begun.state_cookie).await.unwrap_err(), Fault::Issuer);
    }
    assert!(case.scripted.seen(TOKEN).is_empty());
    case.finish(&format!("{}&iss={ours}", sent.answer()), &sent.begun.state_cookie).await.unwrap();
}

#[tokio::test]
async fn an_issuer_that_names_itself_always_does() {
    let case = Case::new().await;
    let mut document = case.scripted.metadata();
    document["authorization_response_iss_parameter_supported"] = json!(true);
    case.scripted.answers(DISCOVERY, Reply::json(&document));
    let sent = case.begin("/a").await;
    case.exchanges(&sent, json!({}));
    assert_eq!(case.finish(&sent.answer(), &sent.begun.state_cookie).await.unwrap_err(), Fault::Issuer);
    let query = format!("{}&iss={}", sent.answer(), case.scripted.url);
    case.finish(&query, &sent.begun.state_cookie).await.unwrap();
}

#[tokio::test]
async fn a_no_is_told_without_what_it_quotes() {
    let case = Case::new().await;
    let sent = case.begin("/a").await;
    let cookie = &sent.begun.state_cookie;
    for (answer, words) in [
        ("error=access_denied", "access_denied"),
        ("error=access_denied&code=x", "access_denied"),
        (
            "error=access_denied&error_description=Not%0d%0aassigned%1b[2J+to+this",
            "access_denied (Not assigned [2J to this)",
        ),
        ("error=%3Cscript%3E", "for a reason of its own"),
        ("error=", "for a reason of its own"),
    ] {
        let query = format!("{answer}&state={}", sent.state());
        assert_eq!(case.finish(&query, cookie).await.unwrap_err(), Fault::Refused(words.to_owned()));
    }
    let quoting = format!("error=server_error&error_description=state+{0}&state={0}", sent.state());
    assert_eq!(case.finish(&quoting, cookie).await.unwrap_err(), Fault::Refused("server_error".to_owned()));
    for none in [format!("state={}", sent.state()), format!("code=&state={}", sent.state())] {
        assert!(matches!(case.finish(&none, cookie).await.unwrap_err(), Fault::Exchange(_)));
    }
}

#[tokio::test]
async fn a_code_that_is_not_exchanged_lets_nobody_in() {
    let case = Case::new().await;
    let sent = case.begin("/a").await;
    for (reply, words) in [
        (Reply(400, "", json!({"error": "invalid_grant", "error_description": CODE}).to_string()), "invalid_grant"),
        (Reply(401, "", json!({"error": "invalid_client"}).to_string()), "invalid_client"),
        (Reply(400, "", json!({"error": format!("bad {CODE}")}).to_string()), "a reason of its own"),
        (Reply(500, "", String::new()), "500"),
        (Reply(302, "location: /\r\n", String::new()), "302"),
        (Reply(200, "", format!("<html>{CODE}</html>")), "without a token"),
        (Reply::json(&json!({"access_token": "a"})), "no ID token"),
        (Reply::json(&json!({"access_token": "a", "id_token": ""})), "no ID token"),
    ] {
        case.scripted.answers(TOKEN, reply);
        let fault = case.finish(&sent.answer(), &sent.begun.state_cookie).await.unwrap_err();
        let shown = format!("{fault} {fault:?}");
        assert!(matches!(fault, Fault::Exchange(_)) && shown.contains(words), "{shown}");
        assert!(!shown.contains(CODE), "{shown}");
    }
}

#[tokio::test]
async fn an_id_token_that_is_not_of_this_log_in_lets_nobody_in() {
    let case = Case::new().await;
    for (changes, why) in [
        (json!({"nonce": "another"}), Why::Nonce),
        (json!({"nonce": null}), Why::Nonce),
        (json!({"aud": "another"}), Why::Audience),
        (json!({"iss": "https://evil.example"}), Why::Issuer),
        (json!({"exp": SECONDS - 100}), Why::Expired),
        (json!({"iat": SECONDS + 100}), Why::NotYet),
        (json!({"sub": null}), Why::Claim("sub")),
        (json!({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}), Why::AccessTokenHash),
        (json!({"at_hash": 1}), Why::Claim("at_hash")),
    ] {
        assert_eq!(case.comes_to(changes).await.unwrap_err(), Fault::Token(why));
    }
    let sent = case.begin("/a").await;
    let stranger = Signer::ec("1", "ES256").token(&claims(&case.scripted.url));
    case.exchanges_for(&sent, json!({}), json!({ "id_token": stranger }));
    let fault = case.finish(&sent.answer(), &sent.begun.state_cookie).await.unwrap_err();
    assert_eq!(fault, Fault::Token(Why::Signature));
}

#[tokio::test]
async fn an_access_token_belongs_to_its_id_token() {
    let case = Case::new().await;
    let half = URL_SAFE_NO_PAD.encode(&Sha256::digest("access")[..16]);
    case.comes_to(json!({ "at_hash": half })).await.unwrap();
}

#[tokio::test]
async fn a_key_that_is_new_is_learned_on_the_way() {
    let mut case = Case::new().await;
    // Half a minute after the issuer was asked for the last time.
    case.client.issuer().learn(NOW - 30_000).await.unwrap();
    case.signer = Arc::new(Signer::ed("2"));
    case.scripted.publishes(&[&case.signer]);
    case.comes_to(json!({})).await.unwrap();
    assert_eq!(case.scripted.seen(JWKS).len(), 2);
}

#[tokio::test]
async fn whoever_has_no_verified_mail_address_is_nobody() {
    let case = Case::new().await;
    let fault = case.comes_to(json!({"email_verified": false})).await.unwrap_err();
    assert_eq!(fault, Fault::Person(NoPerson::NotVerified));
    assert!(case.scripted.seen(USERINFO).is_empty());
    assert_eq!(case.comes_to(json!({"email": null})).await.unwrap_err(), Fault::Person(NoPerson::NoMail));
    assert_eq!(case.scripted.seen(USERINFO).len(), 1, "it was asked, and knows nothing");
}

#[tokio::test]
async fn what_the_id_token_lacks_may_be_asked_for() {
    let case = Case::new().await;
    let (subject, bare) = ("248289761001", json!({"email": null, "email_verified": null, "name": null}));
    case.scripted.answers(USERINFO, Reply::json(&json!({"sub": subject, "email": "A@B.c", "name": "甲"})));
    let session = case.comes_to(bare.clone()).await.unwrap().session;
    assert_eq!((&*session.person.user, &*session.person.name), ("a@b.c", "甲"));
    let call = case.scripted.seen(USERINFO).remove(0);
    assert_eq!(call.header("authorization"), Some("Bearer access"));
    for (more, fault) in [
        (json!({"sub": "somebody else", "email": "a@b.c"}), Fault::Token(Why::Claim("sub"))),
        (json!({"email": "a@b.c"}), Fault::Token(Why::Claim("sub"))),
        (json!({"sub": subject, "email": "a@b.c", "email_verified": false}), Fault::Person(NoPerson::NotVerified)),
        (json!({"sub": subject, "email": "nobody"}), Fault::Person(NoPerson::NoMail)),
        (json!([subject]), Fault::Person(NoPerson::NoMail)),
    ] {
        case.scripted.answers(USERINFO, Reply::json(&more));
        assert_eq!(case.comes_to(bare.clone()).await.unwrap_err(), fault, "{more}");
    }
    case.comes_to(json!({})).await.unwrap();
    assert_eq!(case.scripted.seen(USERINFO).len(), 6, "it is not asked for what is known");
}

#[tokio::test]
async fn claims_may_have_other_names() {
    let names = ClaimNames { user: "mail".to_owned(), name: "cn".to_owned() };
    let case = Case::with(|settings| settings.claims = names).await;
    let session = case.comes_to(json!({"mail": "X@Y.z", "cn": "欧阳娜娜"})).await.unwrap().session;
    assert_eq!((&*session.person.user, &*session.person.name), ("x@y.z", "欧阳娜娜"));
}

#[tokio::test]
async fn a_secret_is_shown_in_the_way_that_is_taken() {
    let case = Case::new().await;
    let mut document = case.scripted.metadata();
    document["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]);
    case.scripted.answers(DISCOVERY, Reply::json(&document));
    case.comes_to(json!({})).await.unwrap();
    let call = case.scripted.seen(TOKEN).remove(0);
    assert_eq!(call.header("authorization"), None);
    assert_eq!(call.field("client_id").as_deref(), Some(CLIENT));
    assert_eq!(call.field("client_secret").as_deref(), Some("client secret: 100% & more"));

    let public = Case::with(|settings| settings.client_secret = None).await;
    public.comes_to(json!({})).await.unwrap();
    let call = public.scripted.seen(TOKEN).remove(0);
    assert_eq!((call.header("authorization"), call.field("client_secret")), (None, None));
    assert_eq!(call.field("client_id").as_deref(), Some(CLIENT));

    let unable = Case::new().await;
    document = unable.scripted.metadata();
    document["token_endpoint_auth_methods_supported"] = json!(["private_key_jwt"]);
    unable.scripted.answers(DISCOVERY, Reply::json(&document));
    assert!(unable.comes_to(json!({})).await.unwrap_err().to_string().contains("neither client_secret_basic"));
    assert!(unable.scripted.seen(TOKEN).is_empty());
}

#[tokio::test]
async fn an_issuer_that_cannot_be_asked_begins_no_log_in() {
    let case = Case::new().await;
    case.scripted.answers(DISCOVERY, Reply(503, "", String::new()));
    let fault = case.client.begin(REDIRECT, "/", Some(&case.process), NOW).await.unwrap_err();
    assert!(matches!(&fault, Fault::Unreachable(why) if why.0.contains("503")), "{fault}");
    let mut document = case.scripted.metadata();
    document.as_object_mut().unwrap().remove("authorization_endpoint");
    case.scripted.answers(DISCOVERY, Reply::json(&document));
    let fault = case.client.begin(REDIRECT, "/", Some(&case.process), NOW + 5000).await.unwrap_err();
    assert!(fault.to_string().ends_with("no place to log in"), "{fault}");
}

#[tokio::test]
async fn an_address_to_log_in_keeps_what_it_has() {
    let case = Case::with(|settings| settings.scopes = ["openid", "offline_access"].map(str::to_owned).into()).await;
    let mut document = case.scripted.metadata();
    document["authorization_endpoint"] = json!(format!("{}/authorize?tenant=a%26b", case.scripted.url));
    case.scripted.answers(DISCOVERY, Reply::json(&document));
    let sent = case.begin("/").await;
    assert_eq!((&*sent.query["tenant"], &*sent.query["scope"]), ("a&b", "openid offline_access"));
}

#[tokio::test]
async fn somebody_logs_out_at_the_issuer_too() {
    let case = Case::new().await;
    let session = case.comes_to(json!({})).await.unwrap().session;
    let back = "https://edge.example.com/";
    let location = case.client.logout_location(&session, Some(back), NOW).unwrap();
    let url = Url::parse(&location).unwrap();
    let query: HashMap<_, _> = url.query_pairs().into_owned().collect();
    assert!(location.starts_with(&format!("{}/logout?", case.scripted.url)));
    assert_eq!((&*query["client_id"], &*query["post_logout_redirect_uri"]), (CLIENT, back));
    assert_eq!(query["id_token_hint"].split('.').count(), 3);
    let plain = case.client.logout_location(&Session { id_token: None, ..session.clone() }, None, NOW).unwrap();
    assert!(plain.ends_with("/logout?client_id=edge"));

    let revoked = Arc::new(Mutex::new(None));
    let told = Arc::clone(&revoked);
    case.scripted.decides("POST /revoke", move |seen| {
        *told.lock() = Some((seen.field("token"), seen.field("token_type_hint")));
        Reply(200, "", String::new())
    });
    case.client.revoke(&session, NOW).await;
    assert_eq!(*revoked.lock(), Some((Some("refresh-1".to_owned()), Some("refresh_token".to_owned()))));

    let unknown = Client::new(settings(Arc::new(Issuer::new(&case.scripted.url, Vec::new(), None).unwrap())));
    assert_eq!(unknown.logout_location(&session, None, NOW), None, "it was never asked");
}

#[test]
fn an_answer_has_the_mark_of_its_log_in() {
    assert_eq!(login_mark("state=abc").unwrap(), "ba7816bf8f01cfea");
    assert_eq!(login_mark("code=x&state=%61bc"), login_mark("state=abc"));
    for none in ["", "code=x", "state=a&state=a", "states=a"] {
        assert_eq!(login_mark(none), None, "{none}");
    }
}
