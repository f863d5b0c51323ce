//! From a person who logs in to the request that carries his token: by pasted callback, by device code, by import, by API and by
//! command line; at a certified provider, a scripted one and AWS. The real redirect needs a browser: see `dashboard`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::aws::{Aws, START_URL};
use crate::support::oidc_provider::OidcProvider;
use crate::support::scripted_provider::{CLIENT_ID, ScriptedProvider, Settings, Step};
use crate::support::tokens::{config, document, now, rfc3339};
use crate::support::visitor::Visitor;
use crate::support::{Config, Edge, Origin, PATIENCE, Request, eventually, eventually_within};

/// For what a provider in another process does.
const SLOW: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3600);

/// A provider that certifies, and an edge whose route `/me` asks it who the token belongs to.
fn certified(client: &str, access: Duration) -> (OidcProvider, Edge) {
    let provider = OidcProvider::start(access);
    let text = crate::support::tokens::sections(&format!("oauth2: {}", provider.oauth2(client)), "")
        .replace("prefix: /v1, upstream: \"http://{origin}\"", "prefix: /me, upstream: \"http://{origin}/me\"");
    let edge = Config::new(&text).value("origin", &provider.address.to_string()).start();
    (provider, edge)
}

/// Who the certified provider says that a request through the edge comes from.
fn person(edge: &Edge) -> String {
    let answer = edge.get("/me");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["sub"].as_str().expect("a person").to_owned()
}

fn without_code(url: &str) -> String {
    url.split("code=").next().unwrap_or_default().to_owned()
}

// ---- a certified provider ----

#[test]
fn a_pasted_callback_logs_in_and_rotation_never_uses_a_refresh_token_twice() {
    let (provider, edge) = certified("countersign", HOUR);
    edge.get("/me").expect_error(503, "credential_unavailable");
    let begun = edge.begin_login("sso");
    let url = begun["authorization_url"].as_str().expect("an address");
    assert!(url.starts_with(&format!("{}/auth?", provider.url())), "{url}");
    assert_eq!(begun["redirect_uri"], format!("http://127.0.0.1:{}/oauth/callback", edge.admin.port()));
    assert!(url.contains("code_challenge_method=S256"), "{url}");

    let back = provider.log_in("ada", &format!("{url}&prompt=consent"));
    assert!(back.as_str().starts_with(begun["redirect_uri"].as_str().unwrap()), "{back}");
    let (status, answer) = edge.paste(&format!(" \n\"{back}\"  \n"));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["message"], "Authentication successful! Token has been saved.");
    assert_eq!(answer["token"]["status"], "valid", "{answer}");
    assert_eq!(person(&edge), "ada");

    let id = edge.token_id();
    assert_eq!(answer["token"]["id"], id.as_str());
    for round in 2..=5 {
        let before = edge.token_file(&id);
        let (status, answer) = edge.refresh(&id);
        assert_eq!(status, 200, "{answer}");
        assert_eq!(person(&edge), "ada", "with generation {round}");
        let after = edge.token_file(&id);
        assert_ne!(before["refresh_token"], after["refresh_token"]);
        assert_eq!(after["generation"], round);
    }
    let seen = provider.seen();
    assert_eq!((seen.codes, seen.refreshes, seen.revoked), (1, 4, 0), "{seen:?}");
    assert!(seen.agents.iter().all(|agent| agent.starts_with("countersign/")), "{:?}", seen.agents);
    let file = edge.token_file(&id);
    edge.expect_no_leak(&[file["access_token"].as_str().unwrap(), file["refresh_token"].as_str().unwrap()]);
}

#[test]
fn a_confidential_client_proves_itself_and_its_secret_is_shown_nowhere() {
    let (provider, edge) = certified("confidential", HOUR);
    let back = provider.log_in("ada", &format!("{}&prompt=consent", edge.authorization_url("sso")));
    assert_eq!(edge.paste(back.as_str()).0, 200);
    assert_eq!(person(&edge), "ada");
    assert_eq!(edge.refresh(&edge.token_id()).0, 200);
    edge.expect_no_leak(&[]);
}

#[test]
fn tokens_that_live_for_seconds_are_replaced_before_anybody_notices() {
    let (provider, edge) = certified("countersign", Duration::from_secs(2));
    let back = provider.log_in("ada", &format!("{}&prompt=consent", edge.authorization_url("sso")));
    assert_eq!(edge.paste(back.as_str()).0, 200);
    eventually_within(SLOW, "three refreshes by themselves", || {
        assert_eq!(person(&edge), "ada");
        (provider.seen().refreshes >= 3).then_some(())
    });
    assert_eq!(provider.seen().revoked, 0);
    assert!(provider.seen().errors.is_empty(), "{:?}", provider.seen().errors);
}

#[test]
fn a_device_logs_in_by_a_code_that_a_person_types() {
    let (provider, edge) = certified("countersign", HOUR);
    let (status, begun) = edge.post("/api/v1/tokens/login", &json!({ "provider": "sso", "flow": "device" }));
    assert_eq!(status, 200, "{begun}");
    let text = |key: &str| begun[key].as_str().unwrap_or_else(|| panic!("{key} in {begun}")).to_owned();
    provider.approve("grace", &text("verification_uri"), &text("user_code"));
    eventually_within(SLOW, "the device's token", || (!edge.tokens().is_empty()).then_some(()));
    assert_eq!(person(&edge), "grace");
    assert_eq!(provider.seen().devices, 1);
}

#[test]
fn a_refusal_of_the_certified_provider_is_shown_in_its_words() {
    let (provider, edge) = certified("countersign", HOUR);
    let back = provider.abort(&format!("{}&prompt=consent", edge.authorization_url("sso")));
    let (status, answer) = edge.paste(back.as_str());
    assert_eq!((status, &answer["error"]), (400, &json!("Authorization was refused")));
    assert!(answer["detail"].as_str().is_some_and(|detail| detail.contains("access_denied")), "{answer}");
    assert_eq!(edge.paste(back.as_str()).1, json!({ "error": "invalid state" }), "the state is spent");
}

// ---- what a callback may be ----

/// An edge and the provider that lets everybody in.
fn scripted() -> (ScriptedProvider, Origin, Edge) {
    let provider = ScriptedProvider::start(Settings::default());
    let origin = provider.upstream();
    let edge = config(&format!("oauth2: {}", provider.oauth2()), "", &origin).start();
    (provider, origin, edge)
}

/// Logs in at the scripted provider; the address at which the browser ends.
fn redirected(edge: &Edge) -> String {
    Visitor::default().open(&edge.authorization_url("sso")).away().to_string()
}

#[test]
fn every_pasted_form_of_a_callback_is_taken() {
    let (provider, _origin, edge) = scripted();
    let query = |url: &str| url.split_once('?').expect("a query").1.to_owned();
    let pair = |url: &str| {
        let url = url::Url::parse(url).expect("an address");
        let field = |name: &str| url.query_pairs().find(|(own, _)| own == name).expect("a field").1.into_owned();
        format!("{}#{}", field("code"), field("state"))
    };
    type Form<'f> = &'f dyn Fn(&str) -> String;
    let forms: [(&str, Form<'_>); 6] = [
        ("the whole address", &|url| url.to_owned()),
        ("its query", &query),
        ("its query with the mark", &|url| format!("?{}", query(url))),
        ("code#state", &pair),
        ("quoted, with spaces", &|url| format!("  '{url}' ")),
        ("broken by a mail program", &|url| format!("<{}\n{}>", &url[..60], &url[60..])),
    ];
    for (count, (what, form)) in forms.iter().enumerate() {
        let (status, answer) = edge.paste(&form(&redirected(&edge)));
        assert_eq!(status, 200, "{what}: {answer}");
        assert_eq!(edge.tokens().len(), count + 1, "{what}");
    }
    assert_eq!(provider.calls().len(), forms.len());
    assert_eq!(edge.asks(), 200);
    edge.expect_no_leak(&[]);
}

#[test]
fn what_is_no_callback_says_so_and_asks_nobody() {
    let (provider, _origin, edge) = scripted();
    const MISSING: &str = "Callback URL missing code or state parameter";
    let good = redirected(&edge);
    let state = good.split("state=").nth(1).expect("a state").to_owned();
    let elsewhere = |from: &str, to: &str| good.replacen(from, to, 1);
    let port = edge.admin.port();
    let rows: Vec<(String, &str)> = vec![
        (format!("http://127.0.0.1:{port}/oauth/callback"), MISSING),
        (format!("http://127.0.0.1:{port}/oauth/callback?code=x"), MISSING),
        (format!("http://127.0.0.1:{port}/oauth/callback?state={state}"), MISSING),
        (format!("http://127.0.0.1:{port}/oauth/callback?code=&state={state}"), MISSING),
        (format!("http://127.0.0.1:{port}/oauth/callback?code=x&state={}", "A".repeat(43)), "invalid state"),
        (elsewhere("127.0.0.1", "localhost"), "invalid state"),
        (elsewhere(&port.to_string(), "1"), "invalid state"),
        (elsewhere("/oauth/callback", "/oauth/other"), "invalid state"),
        (elsewhere("http://", "https://"), "invalid state"),
    ];
    for (pasted, error) in rows {
        let (status, answer) = edge.paste(&pasted);
        assert_eq!((status, answer["error"].as_str().unwrap_or_default()), (400, error), "{pasted}: {answer}");
    }
    for pasted in ["", "hello", &format!("{good}&code=again"), &format!("{good}&state={state}"), &"x".repeat(9000)] {
        let (status, answer) = edge.paste(pasted);
        assert!(status == 400 && answer["error"].is_string(), "{pasted:.90}: {status} {answer}");
    }
    assert_eq!(provider.calls().len(), 0, "nothing was exchanged");
    assert_eq!(edge.paste(&good).0, 200, "and the state has outlived it all");
    let (status, answer) = edge.paste(&good);
    assert_eq!((status, answer), (400, json!({ "error": "invalid state" })), "once");
    assert_eq!(provider.calls().len(), 1);
    let pasted = without_code(&good);
    assert!(
        !edge.output().contains("code-") && !edge.output().contains(&state),
        "a code or state in the log; {pasted}"
    );
}

#[test]
fn an_exchange_that_fails_is_a_502_with_the_reason_and_spends_the_state() {
    let (provider, _origin, edge) = scripted();
    let html = "content-type: text/html\r\n";
    let json = "content-type: application/json\r\n";
    let steps = [
        (Step::Say(400, json, r#"{"error":"invalid_grant","error_description":"code was spent"}"#), "code was spent"),
        (Step::Say(500, html, "<h1>Internal Server Error</h1>"), "500"),
        (Step::Say(200, html, "<!doctype html><p>Welcome"), ""),
        (Step::Say(302, "location: https://elsewhere.example/\r\n", ""), ""),
        (Step::CommitThenClose, ""),
        (Step::CommitThenCut(10), ""),
    ];
    for (step, detail) in steps {
        provider.then([step]);
        let pasted = redirected(&edge);
        let (status, answer) = edge.paste(&pasted);
        assert_eq!((status, &answer["error"]), (502, &json!("Failed to exchange code for token")), "{answer}");
        let said = answer["detail"].as_str().expect("a detail");
        assert!(!said.is_empty() && said.contains(detail) && !said.contains('<'), "{said}");
        assert_eq!(edge.paste(&pasted), (400, json!({ "error": "invalid state" })));
    }
    assert_eq!(edge.tokens(), Vec::<Value>::new());
    edge.expect_no_leak(&[]);
}

#[test]
fn a_state_is_spent_once_however_many_submit_it() {
    let (provider, _origin, edge) = scripted();
    let pasted = redirected(&edge);
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..12).map(|_| scope.spawn(|| edge.paste(&pasted).0)).collect();
        asking.into_iter().map(|one| one.join().expect("an answer")).collect()
    });
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|status| **status == 400).count(), 11, "{answers:?}");
    assert_eq!((provider.calls().len(), edge.tokens().len()), (1, 1));
}

#[test]
fn a_login_survives_a_restart_between_its_two_halves() {
    let (_provider, _origin, mut edge) = scripted();
    let pasted = redirected(&edge);
    edge.stop();
    edge.relaunch();
    let (status, answer) = edge.paste(&pasted);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(edge.asks(), 200);
}

// ---- AWS ----

fn aws_edge(aws: &Aws, further: &str, origin: &Origin) -> Edge {
    let kind = format!(
        "aws_sso_oidc: {{ region: us-east-1, start_url: \"{START_URL}\", scopes: [\"sso:account:access\"], \
         endpoint: \"{}\"{further} }}",
        aws.url()
    );
    config(&kind, "", origin).start()
}

/// The access token that the upstream gets.
fn carried(edge: &Edge, origin: &Origin) -> String {
    origin.forget();
    assert_eq!(edge.asks(), 200);
    let request = origin.request_for("/");
    let value = request.header("authorization").expect("a credential");
    value.strip_prefix("Bearer ").expect("a bearer").to_owned()
}

#[test]
fn aws_registers_logs_in_and_refreshes_with_fields_that_it_knows() {
    for parameter in ["scope", "scopes"] {
        let (aws, origin) = (Aws::start(HOUR).scope_parameter(parameter), Origin::start());
        let edge = aws_edge(&aws, &format!(", scope_parameter: {parameter}"), &origin);
        let back = Visitor::default().open(&edge.authorization_url("sso")).away();
        let (status, answer) = edge.paste(back.as_str());
        assert_eq!(status, 200, "{answer}; {:?}", aws.refused());
        let first = carried(&edge, &origin);
        assert_eq!(edge.refresh(&edge.token_id()).0, 200, "{:?}", aws.refused());
        let second = carried(&edge, &origin);
        assert!(aws.knows(&first) && aws.knows(&second) && first != second);
        assert_eq!(aws.refused(), Vec::<String>::new());
        assert_eq!(aws.calls("/client/register").len(), 1);
        edge.expect_no_leak(&[]);
    }
}

#[test]
fn aws_has_the_device_flow() {
    let (aws, origin) = (Aws::start(HOUR), Origin::start());
    let edge = aws_edge(&aws, "", &origin);
    let (status, begun) = edge.post("/api/v1/tokens/login", &json!({ "provider": "sso", "flow": "device" }));
    assert_eq!(status, 200, "{begun}");
    assert_eq!(begun["user_code"], "BCDF-GHJK");
    aws.approve_devices();
    eventually_within(SLOW, "the device's token", || (!edge.tokens().is_empty()).then_some(()));
    assert!(aws.knows(&carried(&edge, &origin)));
    assert_eq!(aws.refused(), Vec::<String>::new());
}

// ---- import ----

#[test]
fn a_document_of_our_own_is_imported_and_refreshed() {
    let (provider, _origin, edge) = scripted();
    let (access, refresh) = provider.login();
    let id = edge.import(&document(&access, &refresh, HOUR));
    assert_eq!(edge.asks(), 200);
    assert_eq!(edge.refresh(&id).0, 200);
    assert_eq!((edge.asks(), provider.refreshes()), (200, 1));
    assert!(provider.takes(edge.token_file(&id)["refresh_token"].as_str().unwrap()));
}

#[test]
fn awss_own_cache_and_lists_of_refresh_tokens_are_imported() {
    let (aws, origin) = (Aws::start(HOUR), Origin::start());
    let (client, secret, refresh) = aws.elsewhere();
    let cache = json!({ "startUrl": START_URL, "region": "us-east-1", "accessToken": "c4n4ry-of-the-cache", "expiresAt": rfc3339(now() - 60),
        "clientId": client, "clientSecret": secret, "registrationExpiresAt": rfc3339(now() + 80_000), "refreshToken": refresh });
    let (client, secret, refresh) = aws.elsewhere();
    let list = json!([{ "auth": "IdC", "refreshToken": refresh, "clientId": client, "clientSecret": secret }]);
    for document in [cache, list] {
        let edge = aws_edge(&aws, "", &origin);
        let file = edge.directory().join("import.json");
        std::fs::write(&file, document.to_string()).expect("write the document");
        let done = edge.command(&["token", "import"], &[&file.display().to_string()]);
        assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
        assert!(aws.knows(&carried(&edge, &origin)), "refreshed before it is used");
        edge.expect_no_leak(&[]);
    }
    assert_eq!(aws.refused(), Vec::<String>::new());
}

// ---- the command line ----

#[test]
fn the_command_line_does_what_the_page_of_tokens_does() {
    let (provider, _origin, edge) = scripted();
    let token = |arguments: &[&str]| {
        let done = edge.command(&["token", arguments[0]], &arguments[1..]);
        crate::support::leak::check_bytes("a command's output", format!("{}{}", done.stdout, done.stderr).as_bytes());
        done
    };
    let begun = token(&["login", "sso"]);
    assert_eq!(begun.code, Some(0), "{}", begun.stderr);
    let said = format!("{}{}", begun.stdout, begun.stderr);
    let url = said.split_whitespace().find(|word| word.contains("/authorize?")).expect("an address to open");
    let back = Visitor::default().open(url).away().to_string();
    let done = token(&["callback", &back]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(edge.asks(), 200);
    assert_ne!(token(&["callback", &back]).code, Some(0), "a callback is good once");

    let id = edge.token_id();
    let list = token(&["list"]);
    assert!(list.code == Some(0) && list.stdout.contains(&id) && list.stdout.contains("valid"), "{list:?}");
    assert_eq!(token(&["refresh", &id]).code, Some(0));
    assert_eq!(provider.refreshes(), 1);
    assert_ne!(token(&["refresh", "nobody"]).code, Some(0));
    assert_eq!(token(&["remove", &id]).code, Some(0));
    assert_eq!(edge.tokens(), Vec::<Value>::new());
    assert!(!edge.tokens_dir().join(format!("{id}.json")).exists());
    edge.get("/v1/x").expect_error(503, "credential_unavailable");
}

#[test]
fn the_api_knows_what_it_does_not_have() {
    let (provider, _origin, edge) = scripted();
    assert_eq!(edge.refresh("nobody").0, 404);
    assert_eq!(edge.admin("DELETE", "/api/v1/tokens/nobody").status, 404);
    assert!(matches!(edge.post("/api/v1/tokens/login", &json!({ "provider": "nobody" })).0, 400 | 404));
    assert_eq!(edge.post("/api/v1/tokens/import", &json!({ "hello": "world" })).0, 400);
    let (access, refresh) = provider.login();
    let id = edge.import(&document(&access, &refresh, HOUR));
    let fields = [
        "id",
        "provider",
        "status",
        "expires_at",
        "created_at",
        "last_refresh",
        "last_used",
        "requests",
        "fingerprint",
    ];
    let token = edge.the_token();
    for field in fields {
        assert!(token.get(field).is_some(), "{field} in {token}");
    }
    assert_eq!(edge.asks(), 200);
    eventually("the request is counted", || (edge.the_token()["requests"] == 1).then_some(()));
    assert_eq!(edge.admin("DELETE", &format!("/api/v1/tokens/{id}")).status, 204);
    assert_eq!(edge.tokens(), Vec::<Value>::new());
}

#[test]
fn a_machine_gets_its_token_without_a_person() {
    let provider = ScriptedProvider::start(Settings { confidential: true, ..Settings::default() });
    let origin = provider.upstream();
    let kind = format!(
        "client_credentials: {{ token_url: \"{}/token\", client_id: {CLIENT_ID}, client_secret: \"{}\", scopes: [api] }}",
        provider.url(),
        crate::support::scripted_provider::CLIENT_SECRET
    );
    let edge = config(&kind, "", &origin).start();
    eventually_within(PATIENCE, "a request that is served", || (edge.asks() == 200).then_some(()));
    let calls = provider.calls_of("client_credentials");
    assert_eq!(calls.len(), 1, "{calls:?}");
    let answer = edge.call(&Request::get("/v1/x").bearer("of-the-client"));
    assert_eq!(answer.status, 200, "the client's own is replaced");
    edge.expect_no_leak(&[]);
}
