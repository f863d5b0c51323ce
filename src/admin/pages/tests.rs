//! Parts that need more than an idle edge to have something to show.

use std::sync::Arc;

use super::words::{EN, ZH};
use super::*;
use crate::credential::record::TokenId;
use crate::credential::vault::{Status, Token};

/// What no page may show as it is.
pub const HOSTILE: &str = r#""'><script>alert(1)</script>"#;

/// A token with something hostile wherever others have a say.
pub fn token(status: Status) -> Token {
    Token {
        id: TokenId::parse("demo-1").unwrap(),
        provider: Arc::from(HOSTILE),
        status,
        reason: Some(HOSTILE.to_owned()),
        generation: 2,
        expires_at: 1_795_290_358_123,
        created_at: 1_795_290_000_000,
        last_refresh: Some(1_795_290_100_000),
        last_used: None,
        requests: 12_345,
        last_error: Some(HOSTILE.to_owned()),
        rests_until: Some(u64::MAX),
        fingerprint: "0123abcd".to_owned(),
        refreshable: true,
        durable: false,
    }
}

#[test]
fn a_tokens_status_is_worded_as_the_interface_has_it() {
    let table = |w, status| tokens::table(w, vec![token(status)]);
    for (status, word) in [
        (Status::Valid, "valid"),
        (Status::Expiring, "expiring"),
        (Status::Expired, "expired"),
        (Status::Resting, "resting"),
        (Status::NeedsLogin, "needs_login"),
    ] {
        let html = table(&EN, status);
        assert!(html.contains(&format!("\">{word}</span>")), "{html}");
        assert!(html.contains("2026-11-21 19:45:58 UTC") && html.contains("12,345") && html.contains("0123abcd"));
        assert!(!html.contains("<script>") && html.contains("&#60;script&#62;"), "{html}");
        assert!(html.contains("/dashboard/tokens/demo-1/remove") && html.contains("value=\"the-csrf\""));
    }
    assert!(table(&ZH, Status::NeedsLogin).contains("需要重新登录"));
    assert!(table(&EN, Status::Resting).contains("until in "), "{}", table(&EN, Status::Resting));
    assert!(table(&EN, Status::Valid).contains("not on disk yet"));
}
