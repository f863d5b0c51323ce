//! What a browser is told about its log-in: redirects, and pages for people who can go no further.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::set_cookie;
use crate::id::RequestId;
use crate::oidc::{Fault, NoPerson};
use crate::policy::{accept, page};
use crate::proxy::respond::{Answer, COME_BACK, Problem};

/// Why a log-in goes no further.
#[derive(Clone, Copy, Debug)]
pub struct Trouble {
    /// Status.
    pub status: u16,
    /// The error code.
    pub code: &'static str,
    /// What it is counted as.
    pub outcome: &'static str,
    /// What has happened.
    message: &'static str,
    /// What to do about it.
    advice: &'static str,
    /// Whether a new log-in is worth a try.
    again: bool,
}

/// Another site's page has no say in who is logged in here.
pub const OF_ANOTHER_SITE: Trouble = Trouble {
    status: 403,
    code: "cross_site",
    outcome: "",
    message: "a page of another site has asked for this",
    advice: "Open this address from a page of this site, or type it.",
    again: false,
};

/// A form is no log-in.
pub const METHOD_NOT_ALLOWED: Trouble = Trouble {
    status: 405,
    code: "method_not_allowed",
    outcome: "",
    message: "this address is for browsers that go to it",
    advice: "",
    again: false,
};

/// Begins a new log-in.
const LOG_IN: &str = "/.countersign/oidc/login";

impl Trouble {
    /// For people; what it is to the operator stands in the log.
    pub fn of(fault: &Fault) -> Self {
        match fault {
            Fault::State => Self {
                status: 400,
                code: "oidc_state_invalid",
                outcome: "state_invalid",
                message: "this log-in was not begun in this browser, or too long ago",
                advice: "If it happens again, allow cookies for this site.",
                again: true,
            },
            Fault::Issuer => Self {
                status: 400,
                code: "oidc_issuer_mismatch",
                outcome: "failed",
                message: "the answer came from somebody else than the log-in service that was asked",
                advice: "",
                again: true,
            },
            Fault::Refused(_) => Self {
                status: 403,
                code: "oidc_refused",
                outcome: "refused",
                message: "the log-in service has refused the log-in, or it was given up there",
                advice: "If you should have access, ask whoever runs the log-in service of your organisation.",
                again: true,
            },
            Fault::Unreachable(_) | Fault::Unsealed => Self {
                status: 503,
                code: "identity_unavailable",
                outcome: "unavailable",
                message: "the log-in service cannot be reached just now",
                advice: "Try again in a moment.",
                again: true,
            },
            Fault::Exchange(_) => Self {
                status: 502,
                code: "oidc_exchange_failed",
                outcome: "failed",
                message: "the log-in service did not confirm the log-in",
                advice: "If it happens again, tell whoever runs this site.",
                again: true,
            },
            Fault::Token(_) => Self {
                status: 502,
                code: "oidc_token_refused",
                outcome: "failed",
                message: "what the log-in service says about you cannot be verified",
                advice: "If it happens again, tell whoever runs this site.",
                again: true,
            },
            Fault::Person(NoPerson::NoMail) => Self {
                status: 403,
                code: "no_mail_address",
                outcome: "no_mail_address",
                message: "you have logged in, but your account has no mail address that could be used here",
                advice: "Ask whoever runs the log-in service of your organisation to give your account one.",
                again: false,
            },
            Fault::Person(NoPerson::NotVerified) => Self {
                status: 403,
                code: "no_mail_address",
                outcome: "no_mail_address",
                message: "you have logged in, but the mail address of your account has not been verified",
                advice: "Verify it with the log-in service of your organisation, or ask whoever runs that.",
                again: true,
            },
        }
    }
}

/// What every answer about a log-in says: an address with a code in it is nobody else's to know.
const HEADERS: [(HeaderName, HeaderValue); 2] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Elsewhere; `None`: that cannot stand in a header.
pub fn to(location: &str, cookies: Vec<HeaderValue>) -> Option<Answer> {
    let mut headers = HEADERS.to_vec();
    headers.push((header::LOCATION, HeaderValue::from_str(location).ok()?));
    headers.extend(cookies.into_iter().map(set_cookie));
    Some(Answer { status: 302, headers, body: Bytes::new() })
}

/// An error: a page for a browser, JSON for everybody else.
pub fn page(trouble: &Trouble, id: &RequestId, request: &HeaderMap) -> Answer {
    let Trouble { status, code, message, .. } = *trouble;
    let mut answer = Answer::problem(&Problem { status, code, message }, id, request, None);
    if accept::prefers_html(request) {
        let link = trouble.again.then_some((LOG_IN, "Try again"));
        let sentence = format!("{}. {}", capital(message), trouble.advice);
        answer.body = Bytes::from(html("Log-in", sentence.trim(), link, &format!("{code} · request {}", id.as_str())));
        answer.headers.push((header::CONTENT_SECURITY_POLICY, POLICY));
    }
    let [_, referrer] = HEADERS;
    answer.headers.push(referrer);
    answer.headers.extend((status == 503).then(|| (header::RETRY_AFTER, HeaderValue::from(COME_BACK))));
    answer
}

/// Nobody is logged in any more, and there is nowhere to go.
pub fn logged_out(id: &RequestId, request: &HeaderMap, cookies: Vec<HeaderValue>) -> Answer {
    let (kind, body) = match accept::prefers_html(request) {
        true => {
            let small = format!("request {}", id.as_str());
            let page = html("Logged out", "You are logged out of this site.", Some((LOG_IN, "Log in again")), &small);
            ("text/html; charset=utf-8", page)
        }
        false => ("application/json", "{\"logged_out\":true}\n".to_owned()),
    };
    let mut headers = HEADERS.to_vec();
    headers.push((header::CONTENT_TYPE, HeaderValue::from_static(kind)));
    headers.push((header::CONTENT_SECURITY_POLICY, POLICY));
    headers.push((header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")));
    headers.extend(cookies.into_iter().map(set_cookie));
    Answer { status: 200, headers, body: Bytes::from(body) }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().collect::<String>() + letters.as_str()).unwrap_or_default()
}

fn html(title: &str, text: &str, link: Option<(&str, &str)>, small: &str) -> String {
    let escaped = |text: &str| {
        let mut escaped = String::with_capacity(text.len());
        page::escape(text, &mut escaped);
        escaped
    };
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:15vh auto;padding:0 1em}}\
         small{{color:#777}}</style></head>\n<body><h1>{title}</h1><p>{text}</p>",
        text = escaped(text),
    );
    if let Some((to, words)) = link {
        let _ = write!(page, "<p><a href=\"{to}\">{words}</a></p>");
    }
    let _ = writeln!(page, "<p><small>{}</small></p></body></html>", escaped(small));
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_a_page_and_programs_an_error() {
        let id = RequestId::fresh();
        let browser: HeaderMap =
            [(header::ACCEPT, HeaderValue::from_static("text/html,*/*;q=0.8"))].into_iter().collect();
        let trouble = Trouble::of(&Fault::State);
        let shown = page(&trouble, &id, &browser);
        let text = String::from_utf8_lossy(&shown.body).into_owned();
        assert_eq!(shown.status, 400);
        assert!(
            text.contains("This log-in was not begun") && text.contains("href=\"/.countersign/oidc/login\""),
            "{text}"
        );
        let told = page(&trouble, &id, &HeaderMap::new());
        let error: serde_json::Value = serde_json::from_slice(&told.body).unwrap();
        assert_eq!(error["error"]["code"], "oidc_state_invalid");
    }

    #[test]
    fn who_has_no_mail_address_is_not_sent_in_circles() {
        let trouble = Trouble::of(&Fault::Person(NoPerson::NoMail));
        let browser: HeaderMap = [(header::ACCEPT, HeaderValue::from_static("text/html"))].into_iter().collect();
        let shown = page(&trouble, &RequestId::fresh(), &browser);
        let text = String::from_utf8_lossy(&shown.body).into_owned();
        assert_eq!(shown.status, 403);
        assert!(text.contains("Ask whoever runs") && !text.contains("href"), "{text}");
    }

    #[test]
    fn what_the_issuer_says_is_for_the_log_alone() {
        let trouble = Trouble::of(&Fault::Refused("<script>secret".to_owned()));
        let browser: HeaderMap = [(header::ACCEPT, HeaderValue::from_static("text/html"))].into_iter().collect();
        let shown = page(&trouble, &RequestId::fresh(), &browser);
        assert!(!String::from_utf8_lossy(&shown.body).contains("script>"));
    }
}
