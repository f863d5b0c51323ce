use serde_json::json;

use super::*;

/// What was read, on one line: `PROVIDER ACCESS REFRESH EXPIRES CLIENT/SECRET/ENDS FURTHER`, `-` for what is not there.
fn told(document: &str) -> String {
    match parse(document.as_bytes()) {
        Ok(tokens) => tokens.iter().map(line).collect::<Vec<_>>().join("; "),
        Err(ImportError(why)) => format!("!{why}"),
    }
}

fn line(token: &Imported) -> String {
    let secret = |secret: &Option<Secret>| secret.as_ref().map_or("-", Secret::expose).to_owned();
    let time = |at: Option<UnixMillis>| at.map_or("-".to_owned(), |at| at.to_string());
    let registration = token.registration.as_ref().map_or("-".to_owned(), |own| {
        format!("{}/{}/{}", own.client_id, own.client_secret.expose(), time(own.expires_at))
    });
    let words = [
        token.provider.clone().unwrap_or("-".to_owned()),
        secret(&token.access_token),
        secret(&token.refresh_token),
        time(token.expires_at),
        registration,
        serde_json::to_string(&token.further).unwrap(),
    ];
    words.join(" ")
}

/// A document, and what is read from it.
const TABLE: &[(&str, &str)] = &[
    // The API's body.
    (
        r#"{"provider":"p","access_token":"a","refresh_token":"r","expires_at":"2026-11-22T02:15:58Z"}"#,
        "p a r 1795313758000 - {}",
    ),
    (r#"{"access_token":"a"}"#, "- a - - - {}"),
    (r#"{"refresh_token":"r"}"#, "- - r - - {}"),
    (r#"{"provider":null,"access_token":"a","refresh_token":null,"expires_at":null}"#, "- a - - - {}"),
    (r#"{"provider":"","access_token":"a","refresh_token":"","expires_at":""}"#, "- a - - - {}"),
    (r#"{"provider":" p ","access_token":" a\n"}"#, "p a - - - {}"),
    // Times.
    (r#"{"access_token":"a","expires_at":1795313758}"#, "- a - 1795313758000 - {}"),
    (r#"{"access_token":"a","expires_at":1795313758120}"#, "- a - 1795313758120 - {}"),
    (r#"{"access_token":"a","expires_at":1795313758.5}"#, "- a - 1795313758500 - {}"),
    (r#"{"access_token":"a","expires_at":"1795313758"}"#, "- a - 1795313758000 - {}"),
    (r#"{"access_token":"a","expires_at":"1795313758120"}"#, "- a - 1795313758120 - {}"),
    (r#"{"access_token":"a","expires_at":"2026-11-22T02:15:58.120Z"}"#, "- a - 1795313758120 - {}"),
    (r#"{"access_token":"a","expires_at":"2026-11-22T03:15:58+01:00"}"#, "- a - 1795313758000 - {}"),
    (r#"{"access_token":"a","expires_at":"2026-11-22T02:15:58UTC"}"#, "- a - 1795313758000 - {}"),
    (r#"{"access_token":"a","expires_at":"2026-11-22T02:15:58"}"#, "- a - 1795313758000 - {}"),
    (r#"{"access_token":"a","expires_at":0}"#, "- a - - - {}"),
    (r#"{"access_token":"a","expires_at":1e300}"#, "- a - 253402300799999 - {}"),
    (r#"{"access_token":"a","expires_at":-1}"#, "!`expires_at` is no time: RFC 3339, or seconds since 1970"),
    (r#"{"access_token":"a","expiresAt":"soon"}"#, "!`expiresAt` is no time: RFC 3339, or seconds since 1970"),
    (r#"{"access_token":"a","expires_at":"nan"}"#, "!`expires_at` is no time: RFC 3339, or seconds since 1970"),
    (r#"{"access_token":"a","expires_at":true}"#, "!`expires_at` is no time: RFC 3339, or seconds since 1970"),
    (r#"{"access_token":"a","expires_at":{}}"#, "!`expires_at` is no time: RFC 3339, or seconds since 1970"),
    // Our own files: what they are is not taken over, what else they say is.
    (
        r#"{"v":1,"id":"p-abc","provider":"p","generation":7,"access_token":"a","refresh_token":"r","token_type":"Bearer",
            "scope":"x","created_at":"2026-01-01T00:00:00Z","obtained_at":"2026-01-01T00:00:00Z","expires_at":"2026-11-22T02:15:58Z",
            "refresh_expires_at":"2027-01-01T00:00:00Z","lineage":"l","prev":{"generation":6,"rt_sha256":"x"},"state":"needs_login",
            "reason":"invalid_grant","last_error":"e","crc32c":"00000000","note":"kept",
            "registration":{"client_id":"c","client_secret":"s","expires_at":"2026-11-22T02:15:58Z"}}"#,
        r#"p a r 1795313758000 c/s/1795313758000 {"note":"kept"}"#,
    ),
    (
        r#"{"v":1,"id":"p-abc","provider":"p","generation":7,"sealed":"AAAA"}"#,
        "!it is encrypted: import it where its key is, or put the file into tokens_dir there",
    ),
    (r#"{"access_token":"a","registration":{"client_id":"c","client_secret":"s"}}"#, "- a - - c/s/- {}"),
    (
        r#"{"access_token":"a","registration":{"client_id":"c"}}"#,
        "!`registration` has no `client_id` and `client_secret`",
    ),
    (r#"{"access_token":"a","registration":"c"}"#, "!`registration` is no object"),
    // AWS's cache, and what Kiro keeps there.
    (
        r#"{"startUrl":"https://x.awsapps.com/start","region":"us-east-1","accessToken":"a","expiresAt":"2026-11-22T02:15:58Z",
            "clientId":"c","clientSecret":"s","registrationExpiresAt":"2026-11-22T02:15:59Z","refreshToken":"r"}"#,
        r#"- a r 1795313758000 c/s/1795313759000 {"region":"us-east-1","startUrl":"https://x.awsapps.com/start"}"#,
    ),
    (
        r#"{"accessToken":"a","refreshToken":"r","expiresAt":"2026-11-22T02:15:58.000Z","authMethod":"social","provider":"Google",
            "profileArn":"arn:aws:x"}"#,
        r#"- a r 1795313758000 - {"authMethod":"social","identityProvider":"Google","profileArn":"arn:aws:x"}"#,
    ),
    (
        r#"{"accessToken":"a","refreshToken":"r","authMethod":"IdC","provider":"BuilderId","region":"us-east-1","clientIdHash":"h"}"#,
        r#"- a r - - {"authMethod":"IdC","clientIdHash":"h","identityProvider":"BuilderId","region":"us-east-1"}"#,
    ),
    (
        r#"{"clientId":"c","clientSecret":"s","expiresAt":"2026-11-22T02:15:58Z","scopes":["x"]}"#,
        "!it is the registration of a client, and has no token: `accessToken` or `refreshToken`",
    ),
    (r#"{"provider":"p","accessToken":"a"}"#, "p a - - - {}"),
    (
        r#"{"accessToken":"a","clientSecretExpiresAt":1795313758,"clientId":"c","clientSecret":"s"}"#,
        "- a - - c/s/1795313758000 {}",
    ),
    (r#"{"accessToken":"a","clientId":"c"}"#, "- a - - - {}"),
    (r#"{"accessToken":"a","clientSecret":"s"}"#, "!`clientSecret` is there without `clientId`"),
    // Lists.
    (
        r#"[{"auth":"Social","refreshToken":"r1"},{"auth":"IdC","refreshToken":"r2","clientId":"c","clientSecret":"s"}]"#,
        r#"- - r1 - - {"auth":"Social"}; - - r2 - c/s/- {"auth":"IdC"}"#,
    ),
    (r#"{"auth":"IdC","refreshToken":"r","clientId":"c","clientSecret":"s"}"#, r#"- - r - c/s/- {"auth":"IdC"}"#),
    (r#"[{"Auth":"Social","RefreshToken":"r"}]"#, r#"- - r - - {"Auth":"Social"}"#),
    (r#"[{"refreshToken":"r1","disabled":false},{"refreshToken":"r2","disabled":true}]"#, "- - r1 - - {}"),
    (
        r#"[{"refreshToken":"r","x":1},{"refreshToken":"r","x":2},{"refreshToken":"q"}]"#,
        r#"- - r - - {"x":1}; - - q - - {}"#,
    ),
    (r#"[{"accessToken":"a"},{"accessToken":"a"}]"#, "- a - - - {}"),
    (
        r#"[{"refreshToken":"r"},{"auth":"IdC","refreshToken":"r2"}]"#,
        "!entry 2: it cannot be refreshed without `clientId` and `clientSecret` (in ~/.aws/sso/cache they are in the file that `clientIdHash` names): add them to it",
    ),
    (r#"[{"refreshToken":"r"},7]"#, "!entry 2: it is no JSON object"),
    (r#"[[{"refreshToken":"r"}]]"#, "!entry 1: it is no JSON object"),
    (
        r#"[{"refreshToken":"r"},{"x":"y"}]"#,
        "!entry 2: it has no token: one of `access_token`, `refresh_token`, `accessToken`, `refreshToken` was looked for",
    ),
    ("[]", "!the document has no token that is not disabled"),
    (r#"{"refreshToken":"r","disabled":true}"#, "!the document has no token that is not disabled"),
    // What else is there.
    (
        r#"{"access_token":"a","label":"mine","n":{"x":[1,{"y":null}]},"email":"e@example.com"}"#,
        r#"- a - - - {"email":"e@example.com","label":"mine","n":{"x":[1,{"y":null}]}}"#,
    ),
    (
        r#"{"access_token":"a","id_token":"SECRET","idToken":null,"password":"SECRET","x":{"session_token":"SECRET","y":[{"apiKey":"SECRET","z":1}]},
            "aws_secret_access_key":"SECRET","csrfToken":"SECRET","Authorization":"SECRET","code_verifier":"SECRET"}"#,
        "!`idtoken` is there twice",
    ),
    (
        r#"{"access_token":"a","id_token":"SECRET","password":"SECRET","x":{"session_token":"SECRET","y":[{"apiKey":"SECRET","z":1}]},
            "aws_secret_access_key":"SECRET","csrfToken":"SECRET","Authorization":"SECRET","code_verifier":"SECRET"}"#,
        r#"- a - - - {"x":{"y":[{"z":1}]}}"#,
    ),
    (r#"{"access_token":"a","deep":[[[[[[[[[1]]]]]]]]],"flat":[1]}"#, r#"- a - - - {"flat":[1]}"#),
    // What is wrong.
    (r#"{"access_token":7}"#, "!`access_token` is no text"),
    (r#"{"accessToken":["a"]}"#, "!`accessToken` is no text"),
    (r#"{"access_token":"a","refresh_token":{}}"#, "!`refresh_token` is no text"),
    (r#"{"access_token":"a","provider":7}"#, "!`provider` is no text"),
    (r#"{"access_token":"a\u0000b"}"#, "!`access_token` holds characters that no token has"),
    (r#"{"access_token":"a\nb"}"#, "!`access_token` holds characters that no token has"),
    (r#"{"access_token":"ä"}"#, "!`access_token` holds characters that no token has"),
    (r#"{"access_token":"a","accessToken":"b"}"#, "!`accesstoken` is there twice"),
    ("{}", "!it has no token: one of `access_token`, `refresh_token`, `accessToken`, `refreshToken` was looked for"),
    ("7", "!the document is neither a JSON object nor a list of them"),
    ("null", "!the document is neither a JSON object nor a list of them"),
    ("\"a\"", "!the document is neither a JSON object nor a list of them"),
    ("", "!the document is not JSON: EOF while parsing a value at line 1 column 0"),
    ("hello", "!the document is not JSON: expected value at line 1 column 1"),
    (r#"{"access_token":"a"} x"#, "!the document is not JSON: trailing characters at line 1 column 22"),
    (r#"{"access_token":"a","#, "!the document is not JSON: EOF while parsing a value at line 1 column 20"),
    ("\u{feff}{\"access_token\":\"a\"}", "- a - - - {}"),
];

#[test]
fn what_is_read_from_a_document() {
    let wrong: Vec<String> = TABLE
        .iter()
        .filter(|(document, expected)| told(document) != *expected)
        .map(|(document, expected)| format!("{document}:\n  {}\n  not\n  {expected}", told(document)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_too_much_is_not_read() {
    let token = |length: usize| json!({ "access_token": "a".repeat(length) }).to_string();
    assert!(parse(token(16 * 1024).as_bytes()).is_ok());
    assert_eq!(told(&token(16 * 1024 + 1)), "!`access_token` is longer than 16 KiB");
    let beside = |length: usize| json!({ "access_token": "a", "note": "n".repeat(length) }).to_string();
    assert!(parse(beside(8000).as_bytes()).is_ok());
    assert_eq!(told(&beside(9000)), "!there is more than 8 KiB beside its tokens");
    let list =
        |length: usize| json!((0..length).map(|n| json!({ "refresh_token": format!("r{n}") })).collect::<Vec<_>>());
    assert_eq!(parse(list(1000).to_string().as_bytes()).unwrap().len(), 1000);
    assert_eq!(told(&list(1001).to_string()), "!the document has more than 1000 entries");
    assert_eq!(told(&" ".repeat(LARGEST + 1)), "!the document is larger than 1 MiB");
    assert!(told(&"[".repeat(100_000)).starts_with("!the document is not JSON: recursion limit exceeded"));
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    assert!(parse(b"{\"access_token\":\"\xff\"}").unwrap_err().0.starts_with("the document is not JSON"));
}

#[test]
fn no_complaint_and_no_debug_output_quotes_a_secret() {
    for document in [
        r#"{"access_token":"SECRET","refresh_token":"SECRET","client_secret":"SECRET"}"#,
        r#"{"access_token":"SECRET","expires_at":"SECRET"}"#,
        r#"{"access_token":"SECRET","x":SECRET}"#,
        r#"{"access_token":"SECRET\u0000"}"#,
        r#"["SECRET"]"#,
        r#""SECRET""#,
        r#"{"access_token":"SECRET" "#,
    ] {
        assert!(!told(document).contains("SECRET"), "{document}: {}", told(document));
    }
    let read = parse(br#"{"access_token":"SECRET","refresh_token":"SECRET","client_id":"c","client_secret":"SECRET"}"#)
        .unwrap();
    assert!(!format!("{read:?}").contains("SECRET"));
}
