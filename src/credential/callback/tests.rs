use proptest::prelude::*;
use url::form_urlencoded;

use super::*;

/// What was made of a text, on one line: `CODE STATE [@ADDRESS] [iss=ISSUER]`, `!ERROR[:DESCRIPTION] STATE …`, or why not.
fn told(pasted: &str) -> String {
    match parse(pasted) {
        Ok(callback) => line(&callback),
        Err(CallbackError::Missing) => "missing".into(),
        Err(CallbackError::InFragment) => "fragment".into(),
        Err(CallbackError::Ambiguous) => "twice".into(),
        Err(CallbackError::TooLong) => "long".into(),
        Err(CallbackError::Malformed) => "malformed".into(),
    }
}

fn line(callback: &Callback) -> String {
    let mut line = match &callback.outcome {
        Outcome::Code(code) => code.expose().to_owned(),
        Outcome::Error { code, description: None } => format!("!{code}"),
        Outcome::Error { code, description: Some(description) } => format!("!{code}:{description}"),
    };
    line.push_str(&format!(" {}", callback.state.expose()));
    if let Some(address) = &callback.address {
        line.push_str(&format!(" @{address}"));
    }
    if let Some(issuer) = &callback.issuer {
        line.push_str(&format!(" iss={issuer}"));
    }
    line
}

/// What was pasted, and what is made of it.
const TABLE: &[(&str, &str)] = &[
    // Whole addresses.
    ("http://127.0.0.1:8081/oauth/callback?code=c&state=s", "c s @http://127.0.0.1:8081/oauth/callback"),
    ("http://127.0.0.1:8081/oauth/callback?state=s&code=c", "c s @http://127.0.0.1:8081/oauth/callback"),
    ("https://edge.example.com/oauth/callback?code=c&state=s", "c s @https://edge.example.com/oauth/callback"),
    ("https://edge.example.com:443/oauth/callback?code=c&state=s", "c s @https://edge.example.com/oauth/callback"),
    ("http://127.0.0.1:80/oauth/callback?code=c&state=s", "c s @http://127.0.0.1/oauth/callback"),
    ("https://127.0.0.1:80/oauth/callback?code=c&state=s", "c s @https://127.0.0.1:80/oauth/callback"),
    ("HTTP://127.0.0.1:8081/oauth/callback?code=c&state=s", "c s @http://127.0.0.1:8081/oauth/callback"),
    ("HtTpS://EDGE.example.COM/oauth/callback?code=c&state=s", "c s @https://edge.example.com/oauth/callback"),
    ("http://localhost:8081/oauth/callback?code=c&state=s", "c s @http://localhost:8081/oauth/callback"),
    ("http://[::1]:8081/oauth/callback?code=c&state=s", "c s @http://[::1]:8081/oauth/callback"),
    ("http://[0:0::1]:8081/oauth/callback?code=c&state=s", "c s @http://[::1]:8081/oauth/callback"),
    ("http://127.0.0.1?code=c&state=s", "c s @http://127.0.0.1/"),
    ("http://127.0.0.1/?code=c&state=s", "c s @http://127.0.0.1/"),
    ("http://127.0.0.1:8081/a/b/c/?code=c&state=s", "c s @http://127.0.0.1:8081/a/b/c/"),
    ("http://127.0.0.1:8081/OAuth/callback?code=c&state=s", "c s @http://127.0.0.1:8081/OAuth/callback"),
    ("http://127.0.0.1:8081/oauth%2Fcallback?code=c&state=s", "c s @http://127.0.0.1:8081/oauth%2Fcallback"),
    ("http://bücher.example/cb?code=c&state=s", "c s @http://xn--bcher-kva.example/cb"),
    ("http://127.0.0.1:8081/oauth/callback?code=c&state=s#", "c s @http://127.0.0.1:8081/oauth/callback"),
    ("http://127.0.0.1:8081/oauth/callback?code=c&state=s#_=_", "c s @http://127.0.0.1:8081/oauth/callback"),
    ("http://127.0.0.1:8081/oauth/callback?code=c&state=s#/dashboard", "c s @http://127.0.0.1:8081/oauth/callback"),
    ("http://127.0.0.1:8081/oauth/callback?code=c&state=s&", "c s @http://127.0.0.1:8081/oauth/callback"),
    ("http://127.0.0.1:8081/oauth/callback?&code=c&&state=s", "c s @http://127.0.0.1:8081/oauth/callback"),
    ("http://a/?code=c&state=s&iss=https%3A%2F%2Fsso.example.com", "c s @http://a/ iss=https://sso.example.com"),
    ("http://a/?code=c&state=s&iss=https://sso.example.com", "c s @http://a/ iss=https://sso.example.com"),
    ("http://a/?code=c&state=s&iss=", "c s @http://a/"),
    ("http://a/?code=c&state=s&session_state=x&scope=openid", "c s @http://a/"),
    ("http://a/?code=c&state=s&scope=a&scope=b", "c s @http://a/"),
    ("http://a/?code=c&state=s&next=http://b/?x=y", "c s @http://a/"),
    ("http://a/?code=c?d&state=s?t", "c?d s?t @http://a/"),
    ("http://a/?code=c=&state=s==", "c= s== @http://a/"),
    ("http://a/?code=4/0AX4-x_y.z~&state=s", "4/0AX4-x_y.z~ s @http://a/"),
    ("http://a/?code=4%2F0AX4&state=s", "4/0AX4 s @http://a/"),
    ("http://a/?code=a%2Bb&state=s", "a+b s @http://a/"),
    ("http://a/?code=a+b&state=s", "a b s @http://a/"),
    ("http://a/?code=a%20b&state=s", "a b s @http://a/"),
    ("http://a/?code=%E2%82%AC&state=s", "€ s @http://a/"),
    ("http://a/?code=€&state=s", "€ s @http://a/"),
    ("http://a/?code=c%26state%3Dx&state=s", "c&state=x s @http://a/"),
    ("http://a/?code=c%23x&state=s", "c#x s @http://a/"),
    ("http://a/?code=100%&state=s", "100% s @http://a/"),
    ("http://a/?code=%zz%4&state=s", "%zz%4 s @http://a/"),
    ("http://a/?code=%%41&state=s", "%A s @http://a/"),
    ("http://a/?c%6fde=c&%73tate=s", "c s @http://a/"),
    ("http://a/?code=c;state=x&state=s", "c;state=x s @http://a/"),
    ("http://a/?code='c'&state=s", "'c' s @http://a/"),
    // Queries alone.
    ("code=c&state=s", "c s"),
    ("?code=c&state=s", "c s"),
    ("state=s&code=c", "c s"),
    ("?state=s&code=c", "c s"),
    ("code=c&state=s&iss=i", "c s iss=i"),
    ("scope=openid&code=c&state=s", "c s"),
    ("?scope=a%20b&code=c&state=s#", "c s"),
    ("code=c&state=s#_=_", "c s"),
    ("code=c&state=s#", "c s"),
    ("code=c%20d&state=s", "c d s"),
    ("code=c?d&state=s", "c?d s"),
    ("code=http://x/&state=s", "http://x/ s"),
    ("&code=c&state=s&", "c s"),
    ("?&code=c&state=s", "c s"),
    ("code=c=d&state=s", "c=d s"),
    // Pairs.
    ("c#s", "c s"),
    ("c/d.e-f_g~h#s", "c/d.e-f_g~h s"),
    ("abc==#s", "abc== s"),
    ("a+b#s+t", "a+b s+t"),
    ("4%2F0AX#s", "4/0AX s"),
    ("c:d#s", "c:d s"),
    ("c%23d#s", "c#d s"),
    ("100%#s", "100% s"),
    (" c # s ", "c s"),
    ("c\n#\ns\n", "c s"),
    ("\"c#s\"", "c s"),
    ("codex#s", "codex s"),
    ("code#state", "code state"),
    // What copying and terminals add.
    ("  code=c&state=s  ", "c s"),
    ("\tcode=c&state=s\r\n", "c s"),
    ("\ncode=c&state=s\n\n", "c s"),
    ("\"code=c&state=s\"", "c s"),
    ("'code=c&state=s'", "c s"),
    ("`code=c&state=s`", "c s"),
    ("<code=c&state=s>", "c s"),
    ("“code=c&state=s”", "c s"),
    ("„code=c&state=s“", "c s"),
    ("«code=c&state=s»", "c s"),
    ("‹code=c&state=s›", "c s"),
    ("‘code=c&state=s’", "c s"),
    ("「code=c&state=s」", "c s"),
    ("《code=c&state=s》", "c s"),
    (" \"'<code=c&state=s>'\" ", "c s"),
    ("\u{feff}code=c&state=s", "c s"),
    ("\u{a0}code=c&state=s\u{3000}", "c s"),
    ("\u{200b}code=c&\u{200b}state=s\u{200e}", "c s"),
    ("\u{2066}code=c&state=s\u{2069}", "c s"),
    ("<http://a/?code=c&state=s>", "c s @http://a/"),
    ("\"http://a/?code=c&state=s\"", "c s @http://a/"),
    ("'http://a/?code=c&state=s'", "c s @http://a/"),
    ("http://a/?code=ab\ncd&state=ef\ngh", "abcd efgh @http://a/"),
    ("http://a/?code=ab\r\n    cd&state=ef\r\n    gh", "abcd efgh @http://a/"),
    ("http://a/?co\nde=c&sta\nte=s", "c s @http://a/"),
    ("ht\ntp://a/?code=c&state=s", "c s @http://a/"),
    ("http:/\n/a/?code=c&state=s", "c s @http://a/"),
    ("http://127.0.\n0.1:80\n81/oauth/call\nback?code=c&state=s", "c s @http://127.0.0.1:8081/oauth/callback"),
    ("http://a/?code=%2\n0c&state=s", " c s @http://a/"),
    ("> http://a/?code=c\n> &state=s", "c s @http://a/"),
    ("code=a b&state=s", "ab s"),
    ("code=a\u{b}b&state=s", "ab s"),
    ("code=a\u{85}b&state=s", "ab s"),
    ("code=a\u{2028}b&state=s", "ab s"),
    ("code=a\"b&state=s", "ab s"),
    ("? code=c & state=s", "c s"),
    // Something is missing.
    ("", "missing"),
    (" \n", "missing"),
    ("\"\"", "missing"),
    ("?", "missing"),
    ("#", "missing"),
    ("&", "missing"),
    ("=", "missing"),
    ("hello", "missing"),
    ("123456", "missing"),
    ("code", "missing"),
    ("code=c", "missing"),
    ("?code=c", "missing"),
    ("state=s", "missing"),
    ("code=&state=s", "missing"),
    ("code=c&state=", "missing"),
    ("code=c&state", "missing"),
    ("code&state=s", "missing"),
    ("Code=c&State=s", "missing"),
    ("CODE=c&STATE=s", "missing"),
    ("codes=c&state=s", "missing"),
    ("code[]=c&state=s", "missing"),
    ("c#", "missing"),
    ("#s", "missing"),
    ("error=access_denied", "missing"),
    ("error=&state=s", "missing"),
    ("error_description=x&state=s", "missing"),
    ("javascript:alert(1)", "missing"),
    ("http://a/", "missing"),
    ("http://a", "missing"),
    ("http://a/?", "missing"),
    ("http://a/?code=c", "missing"),
    ("http://a/?state=s", "missing"),
    ("http://a/code=c&state=s", "missing"),
    ("http://a/?code=c&amp;state=s", "missing"),
    ("http://a/?x=y", "missing"),
    ("http://a/?error=access_denied", "missing"),
    ("http://a/?code=c#s", "missing"),
    // It stands behind the #.
    ("http://a/#code=c&state=s", "fragment"),
    ("http://a/?#code=c&state=s", "fragment"),
    ("http://a/#state=s", "fragment"),
    ("http://a/?state=s#code=c", "fragment"),
    ("http://a/?code=c#state=s", "fragment"),
    ("http://a/?x=y#code=c&state=s&token_type=bearer", "fragment"),
    ("#code=c&state=s", "fragment"),
    ("?#code=c&state=s", "fragment"),
    ("code=c#state=s", "fragment"),
    ("state=s#code=c", "fragment"),
    ("c#state=s", "fragment"),
    // Something comes twice.
    ("code=c&code=d&state=s", "twice"),
    ("code=c&code=c&state=s", "twice"),
    ("code=c&state=s&state=t", "twice"),
    ("code=c&state=s&state=s", "twice"),
    ("code=c&code=&state=s", "twice"),
    ("code=&code=c&state=s", "twice"),
    ("code&code=c&state=s", "twice"),
    ("code=c&c%6Fde=d&state=s", "twice"),
    ("code=c&state=s&iss=a&iss=b", "twice"),
    ("error=a&error=b&state=s", "twice"),
    ("error=a&error_description=b&error_description=c&state=s", "twice"),
    ("http://a/?code=c&state=s&code=d", "twice"),
    ("http://a/?code=c&state=s#code=c", "twice"),
    ("http://a/?code=c&state=s#state=t", "twice"),
    ("http://a/?code=c&state=s#code=c&code=d", "twice"),
    ("http://a/?code=c&state=s\nhttp://a/?code=c&state=s", "twice"),
    ("code=c&state=s\ncode=c&state=s&code=d", "twice"),
    // Errors.
    ("error=access_denied&state=s", "!access_denied s"),
    ("http://a/?error=access_denied&state=s", "!access_denied s @http://a/"),
    (
        "http://a/?error=access_denied&error_description=The+user+said+no.&state=s",
        "!access_denied:The user said no. s @http://a/",
    ),
    ("error=access_denied&error_description=The%20user%0D%0Asaid%20no&state=s", "!access_denied:The user said no s"),
    ("error=x&error_description=&state=s", "!x s"),
    ("error=x&error_description=%1B%5B2Jy&state=s", "!x:[2Jy s"),
    ("error=x&error_description=%3Cscript%3E&state=s", "!x:<script> s"),
    ("error=x%E2%80%AEy&state=s", "!xy s"),
    ("error=%00&state=s", "!unknown s"),
    ("error=x&error_uri=http://e/&state=s&iss=i", "!x s iss=i"),
    ("code=&error=x&state=s", "!x s"),
    ("code=c&error=&state=s", "c s"),
    // What is none of the forms.
    ("code=c&error=x&state=s", "malformed"),
    ("ftp://a/?code=c&state=s", "malformed"),
    ("kiro://kiro.oauth/callback?code=c&state=s", "malformed"),
    ("file:///tmp/x?code=c&state=s", "malformed"),
    ("curl http://a/?code=c&state=s", "malformed"),
    ("127.0.0.1:8081/oauth/callback?code=c&state=s", "malformed"),
    ("/oauth/callback?code=c&state=s", "malformed"),
    ("//a/oauth/callback?code=c&state=s", "malformed"),
    ("http://?code=c&state=s", "malformed"),
    ("http:///oauth/callback?code=c&state=s", "malformed"),
    ("http://user@a/?code=c&state=s", "malformed"),
    ("http://user:pass@a/?code=c&state=s", "malformed"),
    ("http://127.0.0.1@evil.example/?code=c&state=s", "malformed"),
    ("http://a\\b/?code=c&state=s", "malformed"),
    ("http://a:99999/?code=c&state=s", "malformed"),
    ("http://a:b/?code=c&state=s", "malformed"),
    ("http://[::1/?code=c&state=s", "malformed"),
    ("http://a b\u{0}/?code=c&state=s", "malformed"),
    ("code=c\u{0}&state=s", "malformed"),
    ("code=c\u{1b}[0m&state=s", "malformed"),
    ("code=%ff&state=s", "malformed"),
    ("code=c&state=%c3%28", "malformed"),
    ("a#b#c", "malformed"),
    ("a?b#c", "malformed"),
];

#[test]
fn what_is_made_of_what_is_pasted() {
    assert!(TABLE.len() >= 200, "{}", TABLE.len());
    let wrong: Vec<String> = TABLE
        .iter()
        .filter(|(pasted, expected)| told(pasted) != *expected)
        .map(|(pasted, expected)| format!("{pasted:?}: {:?}, not {expected:?}", told(pasted)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_text_that_is_too_long_is_not_read() {
    let url = |length: usize| {
        let short = "http://a/?state=s&code=";
        format!("{short}{}", "c".repeat(length - short.len()))
    };
    assert!(parse(&url(8192)).is_ok());
    assert_eq!(told(&url(8193)), "long");
    assert_eq!(parse_query(&"c".repeat(8193)).unwrap_err(), CallbackError::TooLong);
    assert_eq!(told(&" ".repeat(8193)), "long");
}

#[test]
fn a_requests_query_is_taken_as_it_is() {
    assert_eq!(line(&parse_query("code=c&state=s&iss=i").unwrap()), "c s iss=i");
    assert_eq!(parse_query("").unwrap_err(), CallbackError::Missing);
    assert_eq!(parse_query("code=c&code=d&state=s").unwrap_err(), CallbackError::Ambiguous);
    assert_eq!(parse_query("\"code=c&state=s\"").unwrap_err(), CallbackError::Missing);
    assert_eq!(parse_query("c#s").unwrap_err(), CallbackError::Missing);
    assert_eq!(parse_query("code='c'&state=s").map(|callback| line(&callback)).unwrap(), "'c' s");
}

#[test]
fn an_address_must_be_the_one_that_was_registered() {
    let matches =
        |pasted: &str, registered: &str| parse(&format!("{pasted}?code=c&state=s")).unwrap().matches(registered);
    const OURS: &str = "http://127.0.0.1:8081/oauth/callback";
    for same in [OURS, "HTTP://127.0.0.1:8081/oauth/callback", " http://127.0.0.1:8081/oauth/\ncallback "] {
        assert!(matches(same, OURS), "{same}");
    }
    for other in [
        "https://127.0.0.1:8081/oauth/callback",
        "http://localhost:8081/oauth/callback",
        "http://[::1]:8081/oauth/callback",
        "http://[::ffff:127.0.0.1]:8081/oauth/callback",
        "http://127.0.0.2:8081/oauth/callback",
        "http://127.0.0.1:8082/oauth/callback",
        "http://127.0.0.1/oauth/callback",
        "http://127.0.0.1:8081/oauth/callback/",
        "http://127.0.0.1:8081/oauth",
        "http://127.0.0.1:8081/OAuth/callback",
        "http://127.0.0.1:8081",
        "http://127.0.0.1.evil.example:8081/oauth/callback",
    ] {
        assert!(!matches(other, OURS), "{other}");
    }
    assert!(matches("https://a:443/cb", "https://a/cb") && matches("https://a/cb", "https://a:443/cb"));
    assert!(matches("http://a:80", "http://a/") && !matches("http://a:443/", "https://a/"));
    assert!(matches("http://a/cb", "http://a/cb?tenant=x#y"), "query and fragment are no part of it");
    assert!(!matches(OURS, "not a URL") && !matches(OURS, ""));
    assert!(parse("code=c&state=s").unwrap().matches(OURS) && parse("c#s").unwrap().matches(OURS));
}

#[test]
fn nothing_secret_is_in_the_debug_output() {
    let shown = format!("{:?}", parse("http://a/?code=the-code&state=the-state").unwrap());
    assert!(!shown.contains("the-code") && !shown.contains("the-state"), "{shown}");
}

/// As the `url` crate reads a query: every value of that name.
fn by_url(query: &str, name: &str) -> Vec<String> {
    form_urlencoded::parse(query.as_bytes())
        .filter(|(own, _)| own == name)
        .map(|(_, value)| value.into_owned())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn nothing_panics(text in "\\PC*") {
        let _ = parse(&text);
        let _ = parse_query(&text);
    }

    #[test]
    fn nothing_of_the_right_letters_panics(text in "(http://|https://|\\[|\\]|[:/?#&=%+@\\\\]|code|state|error|iss|[0-9a-f]|[ \n\"<>é\u{0}])*") {
        let _ = parse(&text);
        let _ = parse_query(&text);
    }

    #[test]
    fn any_code_and_state_come_back(code in "\\PC{1,60}", state in "(?s).{1,60}", ends in "[ \n\t\"<>]{0,3}", form in 0..3u8) {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("code", &code).append_pair("state", &state).finish();
        let pasted = match form {
            0 => format!("{ends}http://127.0.0.1:8081/oauth/callback?{query}{ends}"),
            1 => format!("{ends}?{query}{ends}"),
            _ => format!("{ends}{query}{ends}"),
        };
        let callback = parse(&pasted).unwrap();
        prop_assert_eq!(callback.state.expose(), state);
        prop_assert!(matches!(callback.outcome, Outcome::Code(own) if own.expose() == code));
    }

    #[test]
    fn line_breaks_anywhere_change_nothing(at in proptest::collection::vec(0..82usize, 0..6)) {
        let whole = "http://127.0.0.1:8081/oauth/callback?code=4%2F0AX4XfWh-u_t9&state=Zm9vYmFyYmF6cXV4";
        let mut wrapped = String::new();
        for (place, c) in whole.chars().enumerate() {
            if at.contains(&place) {
                wrapped.push_str("\r\n  ");
            }
            wrapped.push(c);
        }
        prop_assert_eq!(told(&wrapped), told(whole));
    }

    #[test]
    fn a_query_is_read_as_others_read_it(query in "(code|state|error|iss|x|=|&|\\+|%[0-9a-f]{2}|%|[a-c]){0,24}") {
        let (codes, states) = (by_url(&query, "code"), by_url(&query, "state"));
        match parse_query(&query) {
            Ok(callback) => {
                prop_assert_eq!(states, vec![callback.state.expose().to_owned()]);
                if let Outcome::Code(code) = callback.outcome {
                    prop_assert_eq!(codes, vec![code.expose().to_owned()]);
                } else {
                    prop_assert!(codes.iter().all(String::is_empty) && by_url(&query, "error").len() == 1);
                }
            }
            Err(CallbackError::Ambiguous) => {
                prop_assert!(NAMES.iter().any(|name| by_url(&query, name).len() > 1));
            }
            Err(CallbackError::Missing) => {
                let filled = |values: &[String]| values.iter().any(|value| !value.is_empty());
                prop_assert!(!filled(&states) || !filled(&codes) && !filled(&by_url(&query, "error")));
            }
            Err(CallbackError::Malformed) => {
                let mangled = |name: &&str| by_url(&query, name).iter().any(|value| value.contains('\u{fffd}'));
                let both = codes.len() == 1 && by_url(&query, "error").len() == 1;
                prop_assert!(both || NAMES.iter().any(mangled));
            }
            Err(error) => prop_assert!(false, "{:?}", error),
        }
    }

    #[test]
    fn an_address_is_compared_as_others_compare_it(
        address in "https?://(a|A\\.b|127\\.0\\.0\\.1|localhost|\\[::1\\])(:(80|443|8081))?(/[a-c%/.]{0,8})?",
        registered in "https?://(a|A\\.b|127\\.0\\.0\\.1|localhost|\\[::1\\])(:(80|443|8081))?(/[a-c%/.]{0,8})?",
    ) {
        let callback = parse(&format!("{address}?code=c&state=s")).unwrap();
        let parts = |text: &str| {
            let url = Url::parse(text).unwrap();
            (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default(), url.path().to_owned())
        };
        prop_assert_eq!(callback.matches(&registered), parts(&address) == parts(&registered));
        prop_assert!(callback.matches(&address));
    }
}
