//! What is imported was in the document, can be sent, and comes back from our own form; what else is kept holds no secret of
//! a telling name; and no complaint quotes a value.

use countersign::credential::import::{Imported, parse};
use countersign::secret::Secret;
use serde_json::{Map, Value};

pub fn check(data: &[u8]) {
    let document: Option<Value> = serde_json::from_slice(data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data)).ok();
    match parse(data) {
        Ok(tokens) => {
            let document = document.expect("JSON");
            assert!(!tokens.is_empty() && tokens.len() <= document.as_array().map_or(1, Vec::len));
            let mut texts = Vec::new();
            collect(&document, &mut texts);
            tokens.iter().for_each(|token| check_token(token, &texts));
        }
        Err(error) => {
            let why = error.to_string();
            assert!(!why.is_empty() && why.len() < 1000 && !why.chars().any(char::is_control), "{why:?}");
            let mut texts = Vec::new();
            document.iter().for_each(|document| collect(document, &mut texts));
            assert!(texts.iter().all(|text| text.len() < 24 || !why.contains(text)), "{why:?} quotes the document");
        }
    }
}

/// Every text that is a value.
fn collect<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => texts.push(text.trim()),
        Value::Array(values) => values.iter().for_each(|value| collect(value, texts)),
        Value::Object(members) => members.values().for_each(|value| collect(value, texts)),
        _ => {}
    }
}

fn check_token(token: &Imported, texts: &[&str]) {
    let tokens: Vec<&Secret> = [&token.access_token, &token.refresh_token].into_iter().flatten().collect();
    assert!(!tokens.is_empty());
    let of_client = token.registration.as_ref().map(|own| &own.client_secret);
    for secret in tokens.into_iter().chain(of_client) {
        assert!(secret.expose().bytes().all(|byte| (0x20..0x7f).contains(&byte)) && !secret.is_empty());
        assert!(texts.contains(&secret.expose()), "a secret that is not in the document");
    }
    check_further(&token.further, 0);
    let again = parse(own_form(token).to_string().as_bytes()).expect("our own form");
    let [again] = again.as_slice() else { panic!("one token is {}", again.len()) };
    assert_eq!(again.access_token, token.access_token);
    assert_eq!(again.refresh_token, token.refresh_token);
    assert_eq!(again.expires_at, token.expires_at);
    assert_eq!(again.registration, token.registration);
    assert_eq!(again.further, token.further);
}

/// As the API takes it, with the registration as our files have it.
fn own_form(token: &Imported) -> Value {
    let mut members = token.further.clone();
    let text = |secret: &Option<Secret>| secret.as_ref().map(Secret::expose).into();
    members.insert("access_token".into(), text(&token.access_token));
    members.insert("refresh_token".into(), text(&token.refresh_token));
    members.insert("expires_at".into(), token.expires_at.map(written).into());
    if let Some(own) = &token.registration {
        let mut registration = Map::new();
        registration.insert("client_id".into(), own.client_id.clone().into());
        registration.insert("client_secret".into(), own.client_secret.expose().into());
        registration.insert("expires_at".into(), own.expires_at.map(written).into());
        members.insert("registration".into(), registration.into());
    }
    members.into()
}

/// A number of seconds, as milliseconds before 1973 would be taken for.
fn written(millis: u64) -> Value {
    if millis < 100_000_000_000 {
        #[expect(clippy::cast_precision_loss, reason = "small")]
        Value::from(millis as f64 / 1000.0)
    } else {
        millis.into()
    }
}

fn check_further(members: &Map<String, Value>, depth: usize) {
    assert!(depth < 10);
    for (name, value) in members {
        let plain = name.to_lowercase().replace(['_', '-'], "");
        for part in ["token", "secret", "password", "cookie", "authorization"] {
            assert!(!plain.contains(part), "{name} is kept");
        }
        if depth == 0 {
            let ours = ["v", "id", "generation", "provider", "expiresat", "lineage", "state", "crc32c", "registration"];
            assert!(!ours.contains(&plain.as_str()), "{name} is ours");
        }
        check_value(value, depth);
    }
}

fn check_value(value: &Value, depth: usize) {
    match value {
        Value::Object(members) => check_further(members, depth + 1),
        Value::Array(values) => values.iter().for_each(|value| check_value(value, depth + 1)),
        _ => {}
    }
}
