//! What the API answers, for people.

use serde_json::Value;

/// A table of all tokens. `command`: how a command is called.
pub(super) fn list(tokens: &Value, command: impl Fn(&str) -> String) -> String {
    let tokens = tokens.as_array().map(Vec::as_slice).unwrap_or_default();
    if tokens.is_empty() {
        return format!("no tokens yet; to get one: {}", command("login PROVIDER"));
    }
    let head = ["ID", "PROVIDER", "STATUS", "EXPIRES", "LAST USED", "REQUESTS", "FINGERPRINT"].map(str::to_owned);
    let rows = tokens.iter().map(|token| {
        [
            text(token, "id"),
            text(token, "provider"),
            text(token, "status"),
            time(token, "expires_at"),
            time(token, "last_used"),
            number(token, "requests"),
            text(token, "fingerprint"),
        ]
    });
    let mut out = table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
    for token in tokens {
        out.extend(troubles(token).into_iter().map(|trouble| format!("\n{}: {trouble}", text(token, "id"))));
    }
    out
}

/// What an operator should know of a token beside its status.
fn troubles(token: &Value) -> Vec<String> {
    let said = |key: &str| Some(text(token, key)).filter(|text| text != "-");
    let mut troubles: Vec<String> = said("reason").into_iter().collect();
    troubles.extend(said("last_error").map(|error| format!("last error: {error}")));
    troubles.extend(said("rests_until").map(|_| format!("rests until {}", time(token, "rests_until"))));
    if token.get("durable") == Some(&Value::Bool(false)) {
        troubles.push("not on the disk yet".to_owned());
    }
    troubles
}

fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or_default()).collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What to do to end a login in a browser.
pub(super) fn begun(begun: &Value, command: impl Fn(&str) -> String) -> String {
    format!(
        "1. Open this address in a browser, and sign in:\n\n   {}\n\n\
         2. The browser ends on {}?code=… . If it says there that it cannot connect, that is expected:\n   \
         copy the whole address from its address bar, and hand it over:\n\n   {}\n\n   \
         (or `-` in place of the address, to paste it into standard input)\n\n\
         The login is good until {}.",
        text(begun, "authorization_url"),
        text(begun, "redirect_uri"),
        command("callback 'ADDRESS'"),
        time(begun, "expires_at"),
    )
}

/// What to do to end a login by code.
pub(super) fn device(begun: &Value) -> String {
    let complete = Some(text(begun, "verification_uri_complete")).filter(|text| text != "-");
    let complete =
        complete.map(|address| format!("\n(or open {address}, which has the code in it)")).unwrap_or_default();
    format!(
        "Open {} on any device, and enter the code {}{complete}\nWaiting until {} …",
        text(begun, "verification_uri"),
        text(begun, "user_code"),
        time(begun, "expires_at"),
    )
}

/// The end of a login by callback.
pub(super) fn done(done: &Value) -> String {
    let token = done.get("token").unwrap_or(&Value::Null);
    format!("{}\n{}", text(done, "message"), one(token))
}

/// The end of a login by code.
pub(super) fn saved(token: &Value) -> String {
    format!("Authentication successful! Token has been saved.\n{}", one(token))
}

/// What was taken.
pub(super) fn imported(done: &Value) -> String {
    let tokens = done.get("tokens").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let lines: Vec<String> = tokens.iter().map(|token| format!("imported: {}", one(token))).collect();
    if lines.is_empty() { "the file has no token".to_owned() } else { lines.join("\n") }
}

/// One token on one line.
pub(super) fn one(token: &Value) -> String {
    let (id, provider, status) = (text(token, "id"), text(token, "provider"), text(token, "status"));
    format!("{id} ({provider}), {status}, expires {}", time(token, "expires_at"))
}

fn text(value: &Value, key: &str) -> String {
    match value.get(key).and_then(Value::as_str) {
        Some(text) if !text.is_empty() => line(text),
        _ => "-".to_owned(),
    }
}

fn number(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_u64).unwrap_or_default().to_string()
}

/// `2026-11-22T02:55:00.000Z` to the minute.
fn time(value: &Value, key: &str) -> String {
    let text = text(value, key);
    let minute = text.get(..16).map(|minute| minute.replacen('T', " ", 1));
    minute.map_or(text, |minute| format!("{minute} UTC"))
}

/// On one line, without what could lead a terminal astray: some of it comes from providers.
pub(super) fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// As a part of a path or a query.
pub(super) fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// As one word for a shell.
pub(super) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/~@%+=:,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn command(rest: &str) -> String {
        format!("countersign token {rest}")
    }

    #[test]
    fn tokens_are_a_table_with_their_troubles_below() {
        let shown = list(
            &json!([
                { "id": "sso-1", "provider": "sso", "status": "valid", "expires_at": "2026-11-22T02:55:00.000Z",
                  "last_used": null, "requests": 12, "fingerprint": "0a1b2c3d", "durable": true },
                { "id": "builder-id-22", "provider": "builder-id", "status": "needs_login", "reason": "invalid_grant",
                  "expires_at": "2026-11-21T10:00:00.000Z", "last_error": "the provider said no", "requests": 0,
                  "fingerprint": "ffffffff", "durable": false },
            ]),
            command,
        );
        let expected = "\
ID             PROVIDER    STATUS       EXPIRES               LAST USED  REQUESTS  FINGERPRINT
sso-1          sso         valid        2026-11-22 02:55 UTC  -          12        0a1b2c3d
builder-id-22  builder-id  needs_login  2026-11-21 10:00 UTC  -          0         ffffffff
builder-id-22: invalid_grant
builder-id-22: last error: the provider said no
builder-id-22: not on the disk yet";
        assert_eq!(shown, expected);
        assert_eq!(list(&json!([]), command), "no tokens yet; to get one: countersign token login PROVIDER");
    }

    #[test]
    fn a_login_says_what_to_do_next() {
        let shown = begun(
            &json!({
                "authorization_url": "https://sso.example.com/authorize?state=x", "state": "x",
                "redirect_uri": "http://127.0.0.1:9090/oauth/callback", "expires_at": "2026-11-22T02:55:00Z",
            }),
            command,
        );
        for part in ["https://sso.example.com/authorize?state=x", "callback 'ADDRESS'", "until 2026-11-22 02:55 UTC"] {
            assert!(shown.contains(part), "{shown}");
        }
    }

    #[test]
    fn nothing_that_is_shown_leads_a_terminal_or_a_shell_astray() {
        assert_eq!(text(&json!({ "id": "a\u{1b}[2Jb\n" }), "id"), "a\u{fffd}[2Jb\u{fffd}");
        assert_eq!(segment("a/b?c d"), "a%2Fb%3Fc%20d");
        assert_eq!((quoted("conf/a.yaml").as_str(), quoted("it's").as_str()), ("conf/a.yaml", r"'it'\''s'"));
    }
}
