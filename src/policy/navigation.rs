//! Whether a request is a person's browser going to a page, as opposed to a script, an image or a program asking for data.
//!
//! Only such a request may be sent away to log in: a script that is redirected to another site gets nothing but an error of
//! CORS, and a frame would show a log-in page where nobody can see whose it is. Browsers say what they are doing (Fetch Metadata,
//! W3C); where they don't, the `accept` of a navigation is the sign.

use http::{HeaderMap, HeaderName, Method};

use super::accept;

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// Whether somebody goes to a page.
pub fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    if !matches!(*method, Method::GET | Method::HEAD) || is_ahead_of_time(headers) {
        return false;
    }
    let into_the_window = headers.get(SEC_FETCH_DEST).is_none_or(|dest| dest == "document");
    match headers.get(SEC_FETCH_MODE) {
        Some(mode) => mode == "navigate" && into_the_window,
        None => into_the_window && !headers.contains_key(X_REQUESTED_WITH) && accept::prefers_html(headers),
    }
}

/// Whether a request was made by a page of another site, or of another host of this one.
pub fn is_of_another_site(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    sites.any(|site| site != "same-origin" && site != "none")
}

/// A page that nobody has asked for yet: the browser asks again when somebody does.
fn is_ahead_of_time(headers: &HeaderMap) -> bool {
    headers.get_all(SEC_PURPOSE).iter().any(|purpose| purpose.as_bytes().starts_with(b"prefetch"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

    fn head(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    fn goes(fields: &[(&'static str, &'static str)]) -> bool {
        is_navigation(&Method::GET, &head(fields))
    }

    #[test]
    fn somebody_goes_to_a_page() {
        assert!(goes(&[("accept", BROWSER)]), "an older browser");
        assert!(goes(&[("accept", BROWSER), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]));
        assert!(goes(&[("accept", "*/*"), ("sec-fetch-mode", "navigate")]), "what the browser says decides");
        assert!(is_navigation(&Method::HEAD, &head(&[("accept", BROWSER)])));
    }

    #[test]
    fn nobody_goes_anywhere() {
        for fields in [
            &[][..],
            &[("accept", "*/*")],
            &[("accept", "application/json")],
            &[("accept", BROWSER), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")],
            &[("accept", BROWSER), ("sec-fetch-mode", "same-origin")],
            &[("accept", BROWSER), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
            &[("accept", BROWSER), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")],
            &[("accept", BROWSER), ("sec-fetch-dest", "empty")],
            &[("accept", BROWSER), ("x-requested-with", "XMLHttpRequest")],
            &[("accept", BROWSER), ("sec-fetch-mode", "navigate"), ("sec-purpose", "prefetch;prerender")],
        ] {
            assert!(!goes(fields), "{fields:?}");
        }
        for method in [Method::POST, Method::PUT, Method::OPTIONS, Method::DELETE] {
            assert!(!is_navigation(&method, &head(&[("accept", BROWSER)])), "{method}");
        }
    }

    #[test]
    fn a_page_of_another_site_is_told_by_the_browser() {
        for site in ["cross-site", "same-site", "something-new"] {
            assert!(is_of_another_site(&head(&[("sec-fetch-site", site)])), "{site}");
        }
        for fields in [&[][..], &[("sec-fetch-site", "same-origin")], &[("sec-fetch-site", "none")]] {
            assert!(!is_of_another_site(&head(fields)), "{fields:?}");
        }
    }
}
