//! The dashboard as a person uses it, in headless Chromium and without JavaScript: log in, add an account, watch a request go upstream
//! with its token, refresh, remove. Pictures of every page, in both languages, both themes, on a phone and a desktop, are left in
//! `target/screenshots`.

use std::time::Duration;

use serde_json::json;

use crate::support::browser::{Browser, Device};
use crate::support::oidc_provider::OidcProvider;
use crate::support::tokens::sections;
use crate::support::visitor::{Page, Visitor, Walk};
use crate::support::{Config, Edge, Request, eventually, leak};

const HOUR: Duration = Duration::from_secs(3600);
const SAVED: &str = "Authentication successful! Token has been saved.";

/// A certified provider, and an edge whose route `/me` asks it whose token that is.
fn scene() -> (OidcProvider, Edge) {
    let provider = OidcProvider::start(HOUR);
    let text = sections(&format!("oauth2: {}", provider.oauth2("countersign")), "")
        .replace("prefix: /v1, upstream: \"http://{origin}\"", "prefix: /me, upstream: \"http://{origin}/me\"");
    let edge = Config::new(&text).value("origin", &provider.address.to_string()).start();
    (provider, edge)
}

fn url(edge: &Edge, path: &str) -> String {
    format!("http://{}{path}", edge.admin)
}

/// Signs in with the admin token.
fn signed_in(browser: &Browser, edge: &Edge) {
    browser.open(&url(edge, "/dashboard")).sees("Sign in");
    browser.fill(&browser.field("Admin token"), &edge.token());
    browser.press("Sign in").sees("Overview");
}

/// Nothing of the pages was refused by their own policy, and no script failed.
fn expect_calm(browser: &Browser) {
    // A page that says what went wrong comes with a 4xx, which the browser remarks on.
    let refused = |line: &String| line.contains("Failed to load resource: the server responded with a status of 4");
    let complaints: Vec<String> = browser.console().into_iter().filter(|line| !refused(line)).collect();
    assert_eq!(complaints, Vec::<String>::new());
}

fn person(edge: &Edge) -> String {
    let answer = edge.get("/me");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["sub"].as_str().expect("a person").to_owned()
}

#[test]
fn an_account_is_added_by_manual_callback_used_refreshed_and_removed() {
    let (provider, edge) = scene();
    let browser = Browser::start();
    signed_in(&browser, &edge);
    browser.press("Tokens").sees("No accounts yet");
    browser.press("Add Account").sees("Provider");
    browser.press("Login").sees("Manual Callback");
    let link = browser.control("Open the authorization page");
    let authorization = browser.attribute(&link, "href").expect("an address");
    // The person signs in elsewhere, where nothing answers at the redirect address; this is what his address bar shows then.
    let bar = provider.log_in("ada", &format!("{authorization}&prompt=consent"));
    browser.fill(&browser.field("Callback URL"), &format!("  {bar} "));
    browser.press("Submit").sees(SAVED);
    browser.sees("valid");

    assert_eq!(person(&edge), "ada");
    let id = edge.token_id();
    browser.open(&url(&edge, "/dashboard/tokens")).sees(&id);
    browser.press("Refresh").sees("The token has been refreshed.");
    assert_eq!(edge.token_file(&id)["generation"], 2);
    assert_eq!((person(&edge).as_str(), provider.seen().revoked), ("ada", 0));
    leak::check_bytes("the page", browser.source().as_bytes());
    let file = edge.token_file(&id);
    for secret in ["access_token", "refresh_token"] {
        assert!(!browser.source().contains(file[secret].as_str().expect("a token")), "the {secret} is on the page");
    }

    browser.press("Remove").sees("Remove a token");
    browser.press("Remove").sees("The token has been removed.");
    assert!(edge.tokens().is_empty());
    edge.get("/me").expect_error(503, "credential_unavailable");
    browser.press("Sign out").sees("signed out");
    browser.open(&url(&edge, "/dashboard/tokens")).sees("Admin token");
    expect_calm(&browser);
}

#[test]
fn a_real_redirect_comes_back_to_the_dashboard_by_itself() {
    let (provider, edge) = scene();
    let browser = Browser::start();
    signed_in(&browser, &edge);
    browser.open(&url(&edge, "/dashboard/tokens/add"));
    browser.press("Login").press("Open the authorization page").follow();
    browser.fill(&browser.find("input[name=login]"), "grace");
    browser.fill(&browser.find("input[name=password]"), "x");
    browser.press("Sign-in").press("Continue").sees(SAVED);
    assert!(browser.url().starts_with(&url(&edge, "")), "{}", browser.url());
    assert!(!browser.url().contains("code="), "the code stays in nobody's history: {}", browser.url());
    assert_eq!(person(&edge), "grace");
    assert_eq!(provider.seen().codes, 1);
}

#[test]
fn what_goes_wrong_says_what_to_do_next() {
    let (provider, edge) = scene();
    let browser = Browser::start();
    browser.open(&url(&edge, "/dashboard"));
    browser.fill(&browser.field("Admin token"), "wrong");
    browser.press("Sign in").sees("That did not work.");
    signed_in(&browser, &edge);
    let paste = |text: &str| {
        browser.open(&url(&edge, "/dashboard/tokens/callback"));
        browser.fill(&browser.field("Callback URL"), text);
        browser.press("Submit");
    };
    paste(&format!("http://127.0.0.1:1/oauth/callback?code=x&state={}", "A".repeat(43)));
    browser.sees("invalid state");
    browser.sees("Begin again with Add Account");
    paste("http://127.0.0.1:1/oauth/callback");
    browser.sees("Callback URL missing code or state parameter");
    let refused = provider.abort(&format!("{}&prompt=consent", edge.authorization_url("sso")));
    paste(refused.as_str());
    browser.sees("Authorization was refused");
    browser.sees("access_denied");
    paste("http://127.0.0.1:1/oauth/callback?state=x&code=<script>alert(1)</script>");
    assert!(!browser.source().contains("<script>alert"), "pasted text is text");
    expect_calm(&browser);
}

#[test]
fn a_keyboard_is_enough() {
    const TAB: &str = "\u{e004}";
    const ENTER: &str = "\u{e007}";
    let (_provider, edge) = scene();
    let browser = Browser::start();
    browser.open(&url(&edge, "/dashboard"));
    let field = browser.field("Admin token");
    browser.keys(&field, &edge.token()).keys(&field, ENTER).sees("Overview");
    browser.open(&url(&edge, "/dashboard/tokens"));
    browser.keys(&browser.focused(), TAB);
    assert_eq!(browser.text_of(&browser.focused()), "Skip to content", "the first that Tab reaches");
    let mut seen = Vec::new();
    for _ in 0..40 {
        browser.keys(&browser.focused(), TAB);
        let focused = browser.focused();
        let words = browser.text_of(&focused);
        let outline =
            browser.script("const s = getComputedStyle(document.activeElement); return s.outlineStyle + s.boxShadow");
        assert_ne!(outline, json!("nonenone"), "nobody sees that {words:?} has the focus");
        if words == "Add Account" {
            browser.keys(&focused, ENTER).sees("Provider");
            return;
        }
        seen.push(words);
    }
    panic!("Tab never reaches Add Account: {seen:?}");
}

// ---- without JavaScript ----

fn visitor(edge: &Edge) -> (Visitor, Page) {
    let mut visitor = Visitor::default();
    let page = visitor.page(&url(edge, "/dashboard"));
    let form = page.form_with("name=\"token\"");
    let page = visitor.submit(&form, &[("token", &edge.token())]).page();
    assert_eq!(page.status, 200, "{}", page.html());
    (visitor, page)
}

#[test]
fn the_essentials_work_without_javascript() {
    let (provider, edge) = scene();
    let (mut visitor, overview) = visitor(&edge);
    assert!(overview.html().contains("Overview"));
    let add = visitor.page(&url(&edge, "/dashboard/tokens/add"));
    let underway = visitor.submit(&add.form_with("Login"), &[]).page();
    let href = underway.html().split("href=\"").map(str::to_owned).find(|rest| rest.starts_with(&provider.url()));
    let address = crate::support::visitor::plain(href.expect("a link to the provider").split('"').next().unwrap());
    let bar = provider.log_in("ada", &format!("{address}&prompt=consent"));
    let done = visitor.submit(&underway.form_with("name=\"callback_url\""), &[("callback_url", bar.as_str())]).page();
    assert!(done.html().contains(SAVED), "{}", done.html());
    assert_eq!(person(&edge), "ada");

    let id = edge.token_id();
    let tokens = visitor.page(&url(&edge, "/dashboard/tokens"));
    assert!(tokens.html().contains(&id));
    let refreshed = visitor.submit(&tokens.form_with("Refresh"), &[]).page();
    assert!(refreshed.html().contains("The token has been refreshed."), "{}", refreshed.html());
    for path in ["/dashboard/routes", "/dashboard/configuration", "/dashboard/log"] {
        assert_eq!(visitor.page(&url(&edge, path)).status, 200, "{path}");
    }
    let sure = visitor.page(&url(&edge, &format!("/dashboard/tokens/{id}/remove")));
    let gone = visitor.submit(&sure.form_with("danger"), &[]).page();
    assert!(gone.html().contains("The token has been removed."), "{}", gone.html());
    let bye = visitor.submit(&gone.form_with("Sign out"), &[]).page();
    assert!(bye.html().contains("signed out"), "{}", bye.html());
    assert!(
        matches!(visitor.open(&url(&edge, "/dashboard/tokens")), Walk::Page(page) if page.html().contains("name=\"token\""))
    );
}

#[test]
fn a_form_from_another_site_changes_nothing() {
    let (_provider, edge) = scene();
    let (visitor, _) = visitor(&edge);
    let ask = |origin: &str, body: &str| {
        let request = Request::new("POST", "/dashboard/tokens/login").host(&edge.admin.to_string());
        let request = request.header("cookie", &visitor.cookie()).header("origin", origin);
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        edge.admin_call(&request).status
    };
    let own = format!("http://{}", edge.admin);
    for (origin, body) in
        [("https://evil.example", "provider=sso"), (&*own, "provider=sso"), (&*own, "provider=sso&csrf=guessed")]
    {
        let status = ask(origin, body);
        assert!((400..500).contains(&status), "{origin} {body}: {status}");
    }
}

// ---- pictures ----

#[test]
fn every_page_holds_in_both_languages_themes_and_sizes() {
    let (provider, edge) = scene();
    let back = provider.log_in("ada", &format!("{}&prompt=consent", edge.authorization_url("sso")));
    assert_eq!(edge.paste(back.as_str()).0, 200);
    for _ in 0..20 {
        edge.get("/me");
    }
    let browser = Browser::start();
    signed_in(&browser, &edge);
    let full = std::env::var_os("COUNTERSIGN_FULL").is_some();
    for (count, (language, dark, device)) in variants().enumerate() {
        // Half of the variants show every language, theme and size twice.
        if !full && ![0, 3, 5, 6].contains(&count) {
            continue;
        }
        browser.language(language).dark(dark).device(device);
        for page in ["", "/tokens", "/tokens/add", "/routes", "/configuration", "/log"] {
            browser.open(&url(&edge, &format!("/dashboard{page}")));
            expect_well_made(&browser, language, dark, page);
            let name = if page.is_empty() { "overview".to_owned() } else { page[1..].replace('/', "-") };
            let theme = if dark { "dark" } else { "light" };
            browser.screenshot(&format!("{name}-{language}-{theme}-{device:?}").to_lowercase());
        }
    }
    expect_calm(&browser);
}

fn variants() -> impl Iterator<Item = (&'static str, bool, Device)> {
    let devices = [Device::Desktop, Device::Phone];
    let themes = [false, true];
    ["en", "zh-CN"].into_iter().flat_map(move |language| {
        themes.into_iter().flat_map(move |dark| devices.into_iter().map(move |device| (language, dark, device)))
    })
}

/// Nothing is wider than the window, the language is what was asked for, dark is dark.
fn expect_well_made(browser: &Browser, language: &str, dark: bool, page: &str) {
    let facts = browser.script(
        "const wide = [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1 \
           && !e.closest('.scroll, pre, [role=region]')).map(e => e.outerHTML.slice(0, 120)); \
         const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number); \
         return { scroll: document.documentElement.scrollWidth - innerWidth, wide: wide.slice(0, 3), \
           lang: document.documentElement.lang, dark: r + g + b < 384, main: !!document.querySelector('main h1') }",
    );
    let what = format!("{page} in {language}, dark: {dark}: {facts}");
    assert!(facts["scroll"].as_i64().is_some_and(|beyond| beyond <= 0), "wider than the window: {what}");
    assert_eq!(facts["lang"], language, "{what}");
    assert_eq!(facts["dark"], dark, "{what}");
    assert_eq!(facts["main"], true, "no heading: {what}");
}

#[test]
fn the_overview_moves_while_it_is_looked_at() {
    let (_provider, edge) = scene();
    let browser = Browser::start();
    signed_in(&browser, &edge);
    let before = browser.text();
    for _ in 0..30 {
        edge.get("/none");
    }
    eventually("the page shows other numbers", || (browser.text() != before).then_some(()));
    assert!(!browser.all("svg").is_empty(), "drawn");
    expect_calm(&browser);
}
