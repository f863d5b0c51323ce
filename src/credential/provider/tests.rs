use http::HeaderName;
use http::header::{AUTHORIZATION, RETRY_AFTER};
use serde_json::{Value, json};

use super::*;

const NOW: UnixMillis = 1_795_313_758_000;

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn provider(kind: Kind) -> Provider {
    Provider { name: "p".into(), kind, anchors: Vec::new() }
}

fn oauth2() -> OAuth2 {
    OAuth2 {
        authorization_url: url("https://sso.example.com/authorize?prompt=consent"),
        token_url: url("https://sso.example.com/token"),
        device_authorization_url: Some(url("https://sso.example.com/device")),
        client_id: "counter sign".into(),
        client_secret: None,
        scopes: vec!["openid".into(), "offline_access".into()],
        redirect_url: None,
        issuer: None,
    }
}

fn public() -> Provider {
    provider(Kind::OAuth2(oauth2()))
}

fn confidential() -> Provider {
    provider(Kind::OAuth2(OAuth2 { client_secret: Some(Secret::new("s3cr:t +%é")), ..oauth2() }))
}

fn aws() -> Provider {
    provider(Kind::AwsSsoOidc(AwsSsoOidc {
        region: "us-east-1".into(),
        start_url: "https://view.awsapps.com/start".into(),
        scopes: vec!["sso:account:access".into(), "x:y".into()],
        scope_parameter: "scopes".into(),
        scope_separator: ",".into(),
        endpoint: url("https://oidc.us-east-1.amazonaws.com"),
        redirect_url: None,
    }))
}

fn machine() -> Provider {
    provider(Kind::ClientCredentials(ClientCredentials {
        token_url: url("https://sso.example.com/token"),
        client_id: "edge".into(),
        client_secret: Secret::new("machine-secret"),
        scopes: vec!["api".into(), "more".into()],
    }))
}

fn registration() -> Registration {
    Registration { client_id: "cid".into(), client_secret: Secret::new("registered-secret"), expires_at: None }
}

fn code() -> Grant {
    Grant::Code {
        code: Secret::new("the code/+&"),
        verifier: Secret::new("the-verifier"),
        redirect_uri: "http://127.0.0.1:8081/oauth/callback".into(),
    }
}

fn refresh() -> Grant {
    Grant::Refresh { refresh_token: Secret::new("refresh-token-0123456789") }
}

fn device() -> Grant {
    Grant::Device { device_code: Secret::new("the-device-code") }
}

/// A call as it goes out: line, `authorization` if there is one, body.
fn wire(call: Call) -> String {
    let content_type = call.headers[0].1.to_str().unwrap().to_owned();
    let request = call.request().unwrap();
    let accept = request.headers()[http::header::ACCEPT].to_str().unwrap().to_owned();
    assert_eq!(accept, "application/json");
    let is_json = content_type == "application/json";
    assert!(is_json || content_type == "application/x-www-form-urlencoded", "{content_type}");
    let mut wire = format!("{} {}", request.method(), request.uri());
    if let Some(value) = request.headers().get(AUTHORIZATION) {
        assert!(value.is_sensitive());
        wire.push_str(&format!(" [{}]", value.to_str().unwrap()));
    }
    format!("{wire} {}", std::str::from_utf8(request.body()).unwrap())
}

fn sent_json(call: Call) -> (String, Value) {
    let wire = wire(call);
    let (line, body) = wire.split_once(" {").unwrap();
    (line.to_owned(), serde_json::from_str(&format!("{{{body}")).unwrap())
}

const FORM_CODE: &str = "grant_type=authorization_code&code=the+code%2F%2B%26\
    &redirect_uri=http%3A%2F%2F127.0.0.1%3A8081%2Foauth%2Fcallback&code_verifier=the-verifier";

#[test]
fn a_public_client_names_itself_in_the_form() {
    let provider = public();
    let of = |grant: &Grant| wire(provider.token(grant, None).unwrap());
    assert_eq!(of(&code()), format!("POST https://sso.example.com/token {FORM_CODE}&client_id=counter+sign"));
    assert_eq!(
        of(&refresh()),
        "POST https://sso.example.com/token grant_type=refresh_token&refresh_token=refresh-token-0123456789&client_id=counter+sign"
    );
    assert_eq!(
        of(&device()),
        "POST https://sso.example.com/token grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code\
         &device_code=the-device-code&client_id=counter+sign"
    );
    assert_eq!(
        wire(provider.device_authorization(None).unwrap()),
        "POST https://sso.example.com/device scope=openid+offline_access&client_id=counter+sign"
    );
    assert!(provider.token(&Grant::ClientCredentials, None).is_none());
    assert!(provider.register("http://127.0.0.1/").is_none());
}

#[test]
fn a_client_with_a_secret_proves_itself_by_basic_and_nowhere_else() {
    // `counter+sign:s3cr%3At+%2B%25%C3%A9` (RFC 6749 §2.3.1).
    const BASIC: &str = "[Basic Y291bnRlcitzaWduOnMzY3IlM0F0KyUyQiUyNSVDMyVBOQ==]";
    let provider = confidential();
    let of = |grant: &Grant| wire(provider.token(grant, None).unwrap());
    assert_eq!(of(&code()), format!("POST https://sso.example.com/token {BASIC} {FORM_CODE}"));
    assert_eq!(
        of(&refresh()),
        format!(
            "POST https://sso.example.com/token {BASIC} grant_type=refresh_token&refresh_token=refresh-token-0123456789"
        )
    );
    assert_eq!(
        wire(provider.device_authorization(None).unwrap()),
        format!("POST https://sso.example.com/device {BASIC} scope=openid+offline_access")
    );
}

#[test]
fn client_credentials_are_all_there_is_to_ask_with() {
    assert_eq!(
        wire(machine().token(&Grant::ClientCredentials, None).unwrap()),
        "POST https://sso.example.com/token [Basic ZWRnZTptYWNoaW5lLXNlY3JldA==] grant_type=client_credentials&scope=api+more"
    );
    for grant in [code(), refresh(), device()] {
        assert!(machine().token(&grant, None).is_none());
    }
    let without = |ask| (machine().authorization_url(ask).is_none(), machine().device_authorization(None).is_none());
    assert_eq!(without(&ask(None)), (true, true));
    assert!(!machine().has_login() && !machine().has_device_flow() && !machine().registers());
}

fn ask(registration: Option<&Registration>) -> Ask<'_> {
    Ask {
        state: "the-state",
        challenge: "the-challenge",
        redirect_uri: "http://127.0.0.1:8081/oauth/callback",
        registration,
    }
}

#[test]
fn a_browser_is_sent_with_state_and_challenge() {
    assert_eq!(
        public().authorization_url(&ask(None)).unwrap().as_str(),
        "https://sso.example.com/authorize?prompt=consent&response_type=code&client_id=counter%20sign\
         &redirect_uri=http%3A%2F%2F127.0.0.1%3A8081%2Foauth%2Fcallback&scope=openid%20offline_access\
         &state=the-state&code_challenge=the-challenge&code_challenge_method=S256"
    );
    let plain = OAuth2 { authorization_url: url("https://sso.example.com/a"), scopes: Vec::new(), ..oauth2() };
    let made = provider(Kind::OAuth2(plain)).authorization_url(&ask(None)).unwrap();
    let names: Vec<_> = made.query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert_eq!(
        names,
        ["response_type", "client_id", "redirect_uri", "state", "code_challenge", "code_challenge_method"]
    );
    let own = registration();
    assert_eq!(
        aws().authorization_url(&ask(Some(&own))).unwrap().as_str(),
        "https://oidc.us-east-1.amazonaws.com/authorize?response_type=code&client_id=cid\
         &redirect_uri=http%3A%2F%2F127.0.0.1%3A8081%2Foauth%2Fcallback&scopes=sso%3Aaccount%3Aaccess%2Cx%3Ay\
         &state=the-state&code_challenge=the-challenge&code_challenge_method=S256"
    );
    assert!(aws().authorization_url(&ask(None)).is_none(), "no client, no browser");
}

#[test]
fn aws_is_spoken_to_in_camel_case() {
    let at = |path: &str| format!("POST https://oidc.us-east-1.amazonaws.com/{path}");
    let own = registration();
    let device_grant = "urn:ietf:params:oauth:grant-type:device_code";
    let cases = [
        (
            aws().register("http://127.0.0.1:8081/oauth/callback"),
            "client/register",
            json!({
                "clientName": "countersign", "clientType": "public", "scopes": ["sso:account:access", "x:y"],
                "grantTypes": ["authorization_code", "refresh_token", device_grant],
                "redirectUris": ["http://127.0.0.1:8081/oauth/callback"], "issuerUrl": "https://view.awsapps.com/start",
            }),
        ),
        (
            aws().token(&code(), Some(&own)),
            "token",
            json!({
                "clientId": "cid", "clientSecret": "registered-secret", "grantType": "authorization_code", "code": "the code/+&",
                "codeVerifier": "the-verifier", "redirectUri": "http://127.0.0.1:8081/oauth/callback",
            }),
        ),
        (
            aws().token(&refresh(), Some(&own)),
            "token",
            json!({
                "clientId": "cid", "clientSecret": "registered-secret", "grantType": "refresh_token",
                "refreshToken": "refresh-token-0123456789",
            }),
        ),
        (
            aws().token(&device(), Some(&own)),
            "token",
            json!({
                "clientId": "cid", "clientSecret": "registered-secret", "grantType": device_grant, "deviceCode": "the-device-code",
            }),
        ),
        (
            aws().device_authorization(Some(&own)),
            "device_authorization",
            json!({ "clientId": "cid", "clientSecret": "registered-secret", "startUrl": "https://view.awsapps.com/start" }),
        ),
    ];
    for (call, path, document) in cases {
        assert_eq!(sent_json(call.unwrap()), (at(path), document));
    }
    assert!(aws().token(&refresh(), None).is_none() && aws().device_authorization(None).is_none());
    assert!(aws().token(&Grant::ClientCredentials, Some(&own)).is_none());
}

#[test]
fn an_endpoint_may_have_a_path_of_its_own() {
    let Kind::AwsSsoOidc(own) = aws().kind else { unreachable!() };
    for endpoint in ["http://127.0.0.1:9/fake", "http://127.0.0.1:9/fake/"] {
        let fake = provider(Kind::AwsSsoOidc(AwsSsoOidc {
            endpoint: url(endpoint),
            region: own.region.clone(),
            start_url: own.start_url.clone(),
            scopes: Vec::new(),
            scope_parameter: "scope".into(),
            scope_separator: " ".into(),
            redirect_url: None,
        }));
        let (line, _) = sent_json(fake.token(&refresh(), Some(&registration())).unwrap());
        assert_eq!(line, "POST http://127.0.0.1:9/fake/token");
        assert!(!fake.authorization_url(&ask(Some(&registration()))).unwrap().as_str().contains("scope"));
    }
}

#[test]
fn a_redirect_comes_back_to_the_admin_listener_unless_told_otherwise() {
    assert_eq!(public().redirect_uri(8081), "http://127.0.0.1:8081/oauth/callback");
    assert_eq!(aws().redirect_uri(9), "http://127.0.0.1:9/oauth/callback");
    let told = OAuth2 { redirect_url: Some(url("https://edge.example.com/oauth/callback")), ..oauth2() };
    assert_eq!(provider(Kind::OAuth2(told)).redirect_uri(8081), "https://edge.example.com/oauth/callback");
}

#[test]
fn an_issuer_that_is_known_must_be_said() {
    let strict = provider(Kind::OAuth2(OAuth2 { issuer: Some("https://sso.example.com".into()), ..oauth2() }));
    assert!(strict.takes_issuer(Some("https://sso.example.com")));
    assert!(!strict.takes_issuer(Some("https://sso.example.com/")) && !strict.takes_issuer(None));
    assert!(public().takes_issuer(None) && public().takes_issuer(Some("x")) && aws().takes_issuer(None));
}

#[test]
fn nothing_secret_is_in_the_debug_output() {
    let call = confidential().token(&code(), None).unwrap();
    let shown = format!("{call:?} {:?} {:?}", code(), confidential());
    for secret in ["the code", "the+code", "the-verifier", "s3cr", "Y291bnRlcitzaWdu"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

/// An answer, on one line.
fn line(answer: &Answer) -> String {
    match answer {
        Answer::Granted(own) => {
            let refresh = own.refresh_token.as_ref().map_or("-", Secret::expose);
            let ends = own.refresh_expires_in.map_or("-".to_owned(), |life| life.as_secs().to_string());
            let (scope, note) = (own.scope.as_deref().unwrap_or("-"), if own.note.is_some() { " noted" } else { "" });
            format!(
                "granted {} {refresh} {} {scope} {} {ends}{note}",
                own.access_token.expose(),
                own.token_type,
                own.expires_in.as_secs()
            )
        }
        Answer::Pending { slow_down } => format!("pending {slow_down}"),
        Answer::Refused(own) => format!("{:?} {own}", own.kind),
        Answer::Busy { retry_after } => {
            format!("busy {}", retry_after.map_or("-".to_owned(), |wait| wait.as_secs().to_string()))
        }
        Answer::Unknown(why) => format!("unknown: {why}"),
    }
}

fn answered(provider: &Provider, status: u16, headers: &[(HeaderName, &str)], body: &str) -> String {
    let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
    line(&provider.answer(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes(), NOW))
}

#[test]
fn a_yes_has_a_token_that_can_be_used() {
    const TEN_YEARS: u64 = 10 * 365 * 24 * 3600;
    let bounded = format!("granted a - Bearer - {TEN_YEARS} -");
    let cases = [
        (
            r#"{"access_token":"a","token_type":"Bearer","expires_in":3600,"refresh_token":"r","scope":"x y"}"#,
            "granted a r Bearer x y 3600 -",
        ),
        (r#"{"access_token":"a","token_type":"bearer","expires_in":3600}"#, "granted a - bearer - 3600 -"),
        (r#"{"access_token":"a","token_type":"BEARER","expires_in":"3600"}"#, "granted a - BEARER - 3600 -"),
        (r#"{"access_token":"a","expires_in":3600.9}"#, "granted a - Bearer - 3600 -"),
        (r#"{"access_token":"a","token_type":"Bearer"}"#, "granted a - Bearer - 300 - noted"),
        (r#"{"access_token":"a","token_type":"Bearer","expires_in":null}"#, "granted a - Bearer - 300 - noted"),
        (r#"{"access_token":"a","token_type":"Bearer","expires_in":0}"#, "granted a - Bearer - 300 - noted"),
        (r#"{"access_token":"a","token_type":"Bearer","expires_in":-5}"#, "granted a - Bearer - 300 - noted"),
        (r#"{"access_token":"a","token_type":"Bearer","expires_in":"soon"}"#, "granted a - Bearer - 300 - noted"),
        (r#"{"access_token":"a","token_type":"Bearer","expires_in":{}}"#, "granted a - Bearer - 300 - noted"),
        (r#"{"access_token":"a","token_type":"Bearer","expires_in":99999999999999999999}"#, &bounded),
        (r#"{"access_token":"a","token_type":"Bearer","expires_in":1e300}"#, &bounded),
        (r#"{"access_token":"a","expires_in":9,"refresh_token":""}"#, "granted a - Bearer - 9 -"),
        (r#"{"access_token":"a","expires_in":9,"refresh_token":7}"#, "granted a - Bearer - 9 -"),
        (r#"{"access_token":"a","expires_in":9,"refresh_expires_in":1800}"#, "granted a - Bearer - 9 1800"),
        (r#"{"access_token":"a","expires_in":9,"refresh_token_expires_in":1800}"#, "granted a - Bearer - 9 1800"),
        (r#"{"access_token":"a","expires_in":9,"refresh_expires_in":0}"#, "granted a - Bearer - 9 -"),
        (r#"{"access_token":"a","expires_in":9,"error":"never mind"}"#, "granted a - Bearer - 9 -"),
        (r#"{"access_token":"a","expires_in":9,"scope":"x\u001b\ny"}"#, "granted a - Bearer x y 9 -"),
    ];
    for (body, expected) in cases {
        assert_eq!(answered(&public(), 200, &[], body), expected, "{body}");
    }
    assert_eq!(answered(&public(), 201, &[], r#"{"access_token":"a","expires_in":9}"#), "granted a - Bearer - 9 -");
}

#[test]
fn what_is_no_yes_and_no_no_leaves_us_not_knowing() {
    let large = format!(r#"{{"access_token":"a","x":"{}"}}"#, "x".repeat(LARGEST));
    let cases = [
        (200, "", "200 OK with what is not JSON"),
        (200, "<html>", "200 OK with what is not JSON"),
        (200, r#"["access_token"]"#, "200 OK with what is not JSON"),
        (200, r#"{"access_token":"a""#, "200 OK with what is not JSON"),
        (200, &large, "200 OK with more than 64 KiB"),
        (400, &large, "400 Bad Request with more than 64 KiB"),
        (400, "<html>", "400 Bad Request with an error without a reason"),
        (401, "", "401 Unauthorized with an error without a reason"),
        (404, "<html>", "404 Not Found with an error without a reason"),
        (400, "{}", "400 Bad Request with an error without a reason"),
        (400, r#"{"error":{"code":400}}"#, "400 Bad Request with an error without a reason"),
        (400, r#"{"error":""}"#, "400 Bad Request with an error without a reason"),
        (400, r#"{"access_token":"a"}"#, "400 Bad Request with an error without a reason"),
        (500, "", "500 Internal Server Error with an error without a reason"),
        (500, r#"{"error":"invalid_grant"}"#, "500 Internal Server Error with an error without a reason"),
        (502, "<html>", "502 Bad Gateway with an error without a reason"),
        (503, "", "503 Service Unavailable with an error"),
        (504, "", "504 Gateway Timeout with an error without a reason"),
    ];
    for (status, body, expected) in cases {
        assert_eq!(
            answered(&public(), status, &[], body),
            format!("unknown: the provider answered {expected}"),
            "{status}"
        );
    }
    let no_token = "unknown: the provider's answer has no access token";
    for body in [
        "{}",
        r#"{"access_token":""}"#,
        r#"{"access_token":null}"#,
        r#"{"access_token":7}"#,
        r#"{"access_token":"a\nb"}"#,
        r#"{"access_token":"ä"}"#,
        r#"{"access_token":" a"}"#,
        r#"{"accessToken":"a"}"#,
        r#"{"access_token":"","error":"x"}"#,
    ] {
        assert_eq!(answered(&public(), 200, &[], body), no_token, "{body}");
    }
    for kind in ["mac", "DPoP", "N_A"] {
        let body = json!({ "access_token": "a", "token_type": kind, "expires_in": 9 }).to_string();
        assert_eq!(answered(&public(), 200, &[], &body), "unknown: the provider's token is not a bearer token");
    }
}

#[test]
fn a_no_says_what_follows_from_it() {
    let cases = [
        (400, "invalid_grant", "Grant invalid_grant"),
        (401, "invalid_grant", "Grant invalid_grant"),
        (400, "expired_token", "Grant expired_token"),
        (400, "access_denied", "Grant access_denied"),
        (403, "access_denied", "Grant access_denied"),
        (400, "invalid_client", "Client invalid_client"),
        (401, "invalid_client", "Client invalid_client"),
        (400, "unauthorized_client", "Client unauthorized_client"),
        (400, "invalid_scope", "Other invalid_scope"),
        (400, "invalid_request", "Other invalid_request"),
        (400, "unsupported_grant_type", "Other unsupported_grant_type"),
        (200, "bad_verification_code", "Other bad_verification_code"),
        (400, "authorization_pending", "pending false"),
        (200, "authorization_pending", "pending false"),
        (428, "authorization_pending", "pending false"),
        (400, "slow_down", "pending true"),
        (429, "slow_down", "pending true"),
        (400, "temporarily_unavailable", "busy -"),
        (429, "rate_limited", "busy -"),
    ];
    for (status, code, expected) in cases {
        assert_eq!(
            answered(&public(), status, &[], &json!({ "error": code }).to_string()),
            expected,
            "{status} {code}"
        );
    }
    for status in [301, 302, 303, 307, 308] {
        let told = answered(&public(), status, &[], r#"{"error":"invalid_grant"}"#);
        assert!(told.starts_with(&format!("Client redirect (the provider answered {status} ")), "{told}");
    }
}

#[test]
fn a_provider_that_asks_for_time_gets_it() {
    let after = |text| [(RETRY_AFTER, text)];
    assert_eq!(answered(&public(), 429, &after("7"), ""), "busy 7");
    assert_eq!(answered(&public(), 429, &[], "<html>"), "busy -");
    assert_eq!(answered(&public(), 503, &after("120"), "<html>"), "busy 120");
    assert_eq!(answered(&public(), 503, &after("Sun, 22 Nov 2026 02:16:28 GMT"), ""), "busy 30");
    assert_eq!(
        answered(&public(), 503, &after("soon"), ""),
        "unknown: the provider answered 503 Service Unavailable with an error"
    );
    assert_eq!(
        answered(&public(), 500, &after("7"), ""),
        "unknown: the provider answered 500 Internal Server Error with an error without a reason"
    );
}

#[test]
fn aws_answers_in_its_own_words() {
    let aws = aws();
    let kind = HeaderName::from_static("x-amzn-errortype");
    assert_eq!(
        answered(&aws, 200, &[], r#"{"accessToken":"a","tokenType":"Bearer","expiresIn":28800,"refreshToken":"r"}"#),
        "granted a r Bearer - 28800 -"
    );
    assert!(answered(&aws, 200, &[], r#"{"access_token":"a","expires_in":28800}"#).starts_with("unknown"));
    assert_eq!(
        answered(&aws, 400, &[], r#"{"error":"invalid_grant","error_description":"Invalid refresh token provided"}"#),
        "Grant invalid_grant (Invalid refresh token provided)"
    );
    assert_eq!(
        answered(&aws, 400, &[], r#"{"__type":"com.amazonaws.ssooidc#InvalidGrantException","message":"no"}"#),
        "Grant invalid_grant (no)"
    );
    assert_eq!(answered(&aws, 400, &[], r#"{"__type":"AuthorizationPendingException"}"#), "pending false");
    assert_eq!(answered(&aws, 400, &[(kind.clone(), "SlowDownException:http://x/")], "{}"), "pending true");
    assert_eq!(
        answered(&aws, 401, &[(kind.clone(), "InvalidClientException")], r#"{"Message":"m"}"#),
        "Client invalid_client (m)"
    );
    assert_eq!(answered(&aws, 400, &[], r#"{"__type":"ExpiredTokenException"}"#), "Grant expired_token");
    assert_eq!(answered(&aws, 400, &[], r#"{"__type":"ThrottlingException"}"#), "busy -");
    assert!(answered(&aws, 500, &[], r#"{"__type":"InternalServerException"}"#).starts_with("unknown"));
    assert!(answered(&aws, 400, &[(kind, "#")], "{}").starts_with("unknown"));
}

#[test]
fn nobody_gets_a_refresh_token_for_client_credentials() {
    let body = r#"{"access_token":"a","expires_in":9,"refresh_token":"r"}"#;
    assert_eq!(answered(&machine(), 200, &[], body), "granted a - Bearer - 9 -");
}

#[test]
fn what_a_provider_quotes_of_what_we_sent_is_not_shown() {
    let body = json!({
        "error": "invalid_grant",
        "error_description": "token refresh-token-0123456789 (…0123456789) of machine-secret is gone; see <b>\u{1b}[31m",
    })
    .to_string();
    let answer = machine().answer(StatusCode::BAD_REQUEST, &HeaderMap::new(), body.as_bytes(), NOW);
    assert_eq!(
        line(&answer),
        "Grant invalid_grant (token refresh-token-0123456789 (…0123456789) of *** is gone; see <b> [31m)"
    );
    let answer = answer.without(&refresh().secrets());
    assert_eq!(line(&answer), "Grant invalid_grant (token *** (…***) of *** is gone; see <b> [31m)");
    // One that is cut by the bound on what is shown.
    let long = json!({ "error": "x", "error_description": format!("{}refresh-token-0123456789", "y".repeat(185)) })
        .to_string();
    let answer = public().answer(StatusCode::BAD_REQUEST, &HeaderMap::new(), long.as_bytes(), NOW);
    assert_eq!(line(&answer.without(&refresh().secrets())), format!("Other x ({}***…)", "y".repeat(185)));
    let body = json!({ "error": "machine-secret" }).to_string();
    assert_eq!(line(&machine().answer(StatusCode::BAD_REQUEST, &HeaderMap::new(), body.as_bytes(), NOW)), "Other ***");
}

#[test]
fn a_registration_is_read() {
    let of = |status: u16, body: &str| aws().registered(StatusCode::from_u16(status).unwrap(), body.as_bytes());
    let full = r#"{"clientId":"c","clientSecret":"s","clientIdIssuedAt":1,"clientSecretExpiresAt":1795313758}"#;
    let expected = Registration { client_id: "c".into(), client_secret: Secret::new("s"), expires_at: Some(NOW) };
    assert_eq!(of(200, full).unwrap(), expected);
    let endless = r#"{"clientId":"c","clientSecret":"s","clientSecretExpiresAt":0}"#;
    assert_eq!(of(200, endless).unwrap(), Registration { expires_at: None, ..expected });
    let far = r#"{"clientId":"c","clientSecret":"s","clientSecretExpiresAt":1e300}"#;
    assert_eq!(of(200, far).unwrap().expires_at, Some(u64::MAX));
    for (status, body, why) in [
        (200, "{}", "the provider's answer has no clientId"),
        (200, r#"{"clientId":"c"}"#, "the provider's answer has no clientSecret"),
        (200, "<html>", "the provider answered 200 OK with what is not JSON"),
        (
            400,
            r#"{"error":"invalid_redirect_uri","error_description":"no"}"#,
            "the provider answered 400 Bad Request: invalid_redirect_uri (no)",
        ),
        (500, "{}", "the provider answered 500 Internal Server Error without a reason"),
        (302, "", "redirect (the provider answered 302 Found: its URL is another one)"),
    ] {
        assert_eq!(of(status, body).unwrap_err(), why);
    }
}

#[test]
fn a_device_code_is_read() {
    let of = |body: &str| public().device_code(StatusCode::OK, body.as_bytes());
    let full = r#"{"device_code":"d","user_code":"ABCD-EFGH","verification_uri":"https://sso.example.com/device",
        "verification_uri_complete":"https://sso.example.com/device?user_code=ABCD-EFGH","expires_in":1800,"interval":1}"#;
    let read = of(full).unwrap();
    assert_eq!((read.device_code.expose(), read.user_code.as_str()), ("d", "ABCD-EFGH"));
    assert_eq!(read.verification_uri, "https://sso.example.com/device");
    assert_eq!(read.verification_uri_complete.unwrap(), "https://sso.example.com/device?user_code=ABCD-EFGH");
    assert_eq!((read.expires_in.as_secs(), read.interval.as_secs()), (1800, 1));
    let least = of(r#"{"device_code":"d","user_code":"u","verification_url":"https://a/"}"#).unwrap();
    assert_eq!((least.expires_in.as_secs(), least.interval.as_secs()), (600, 5));
    assert!(least.verification_uri_complete.is_none());
    let script = r#"{"device_code":"d","user_code":"u","verification_uri":"https://a/","verification_uri_complete":"javascript:alert(1)"}"#;
    assert!(of(script).unwrap().verification_uri_complete.is_none(), "a link that runs a script is none");
    let absurd =
        r#"{"device_code":"d","user_code":"u","verification_uri":"https://a/","expires_in":1e12,"interval":1e12}"#;
    assert_eq!(of(absurd).map(|read| (read.expires_in.as_secs(), read.interval.as_secs())).unwrap(), (86_400, 300));
    for (body, why) in [
        (r#"{"user_code":"u","verification_uri":"https://a/"}"#, "the provider's answer has no device code"),
        (r#"{"device_code":"d","verification_uri":"https://a/"}"#, "the provider's answer has no user code"),
        (r#"{"device_code":"d","user_code":"u"}"#, "the provider's answer has no address for the user"),
        (
            r#"{"device_code":"d","user_code":"u","verification_uri":"javascript:alert(1)"}"#,
            "the provider's answer has no address for the user",
        ),
        (r#"{"error":"invalid_client"}"#, "the provider answered 200 OK: invalid_client"),
    ] {
        assert_eq!(of(body).unwrap_err(), why);
    }
    let camel = r#"{"deviceCode":"d","userCode":"u","verificationUri":"https://a/","verificationUriComplete":"https://a/?u","expiresIn":9,"interval":2}"#;
    let read = aws().device_code(StatusCode::OK, camel.as_bytes()).unwrap();
    assert_eq!((read.verification_uri_complete.as_deref(), read.expires_in.as_secs()), (Some("https://a/?u"), 9));
    let quoting = r#"{"error":"invalid_client","error_description":"s3cr:t +%é is wrong"}"#;
    let why = confidential().device_code(StatusCode::UNAUTHORIZED, quoting.as_bytes()).unwrap_err();
    assert_eq!(why, "the provider answered 401 Unauthorized: invalid_client (*** is wrong)");
}
