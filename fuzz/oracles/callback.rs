//! What is pasted says one thing or nothing: a whole code and a whole state, which come back when they are written anew, and
//! are those that another reader of URLs sees.

use countersign::credential::callback::{Callback, CallbackError, Outcome, parse, parse_query};
use url::Url;
use url::form_urlencoded::Serializer;

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = parse(text);
    assert_eq!(said(&read), said(&parse(&format!("\u{feff} <\"{text}\">\r\n"))), "what is stray changes what is read");
    if let Ok(callback) = &read {
        assert!(!callback.state.is_empty());
        check_outcome(&callback.outcome);
        check_address(callback);
        comes_back(callback);
        agrees_with_another(text, callback);
    }
    if let Ok(callback) = parse_query(text) {
        assert!(callback.address.is_none());
        comes_back(&callback);
    }
}

/// All that is read; a text that is too long only with what is added is left alone.
fn said(read: &Result<Callback, CallbackError>) -> Option<String> {
    match read {
        Err(CallbackError::TooLong) => None,
        Err(error) => Some(format!("{error:?}")),
        Ok(callback) => {
            let outcome = match &callback.outcome {
                Outcome::Code(code) => format!("code {}", code.expose()),
                Outcome::Error { code, description } => format!("error {code} {description:?}"),
            };
            Some(format!("{outcome} {} {:?} {:?}", callback.state.expose(), callback.address, callback.issuer))
        }
    }
}

fn check_outcome(outcome: &Outcome) {
    match outcome {
        Outcome::Code(code) => assert!(!code.is_empty()),
        Outcome::Error { code, description } => {
            for text in [Some(code), description.as_ref()].into_iter().flatten() {
                assert!(!text.is_empty() && text.chars().count() <= 200 && !text.chars().any(char::is_control));
            }
        }
    }
}

fn check_address(callback: &Callback) {
    let Some(address) = &callback.address else { return };
    let url = Url::parse(address).expect("an address that was read");
    assert!(matches!(url.scheme(), "http" | "https") && url.has_host());
    assert!(url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none());
    assert!(callback.matches(address));
    for other in [("127.0.0.1", "localhost"), ("localhost", "127.0.0.1"), ("[::1]", "127.0.0.1")] {
        let moved = address.replacen(other.0, other.1, 1);
        assert!(
            moved == *address || url.host_str() != Some(other.0) || !callback.matches(&moved),
            "{moved} for {address}"
        );
    }
}

fn comes_back(callback: &Callback) {
    let Outcome::Code(code) = &callback.outcome else { return };
    let mut query = Serializer::new(String::new());
    query.append_pair("code", code.expose()).append_pair("state", callback.state.expose());
    let query = query.finish();
    let again = match parse(&query) {
        Err(CallbackError::TooLong) => return,
        again => again.expect("what was read, written anew"),
    };
    assert_eq!(again.state, callback.state);
    assert!(matches!(again.outcome, Outcome::Code(again) if again == *code));
}

/// As the `url` crate reads the same, where nothing stray is in it.
fn agrees_with_another(text: &str, callback: &Callback) {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'`'));
    let Ok(url) = Url::parse(text) else { return };
    if !is_plain || callback.address.is_none() {
        return;
    }
    let states: Vec<String> =
        url.query_pairs().filter(|(name, _)| name == "state").map(|(_, value)| value.into_owned()).collect();
    assert_eq!(states, [callback.state.expose()]);
    if let Outcome::Code(code) = &callback.outcome {
        assert!(url.query_pairs().any(|(name, value)| name == "code" && value == code.expose()));
    }
    assert!(callback.matches(text));
}
