//! A project's own error pages: HTML with a few variables, each escaped.
//!
//! `{status}`, `{reason}`, `{code}`, `{message}` and `{request_id}` are filled in. Every other brace is text: a page has styles
//! and scripts in it, and must not need to know about ours.

use std::ops::RangeInclusive;

use http::StatusCode;

/// What a page can tell about an error.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The status.
    pub status: u16,
    /// The error code.
    pub code: &'a str,
    /// One clause for people.
    pub message: &'a str,
    /// The request's id.
    pub request_id: &'a str,
}

impl Facts<'_> {
    /// What the status is called.
    pub fn reason(&self) -> &'static str {
        StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variable {
    Status,
    Reason,
    Code,
    Message,
    RequestId,
}

const NAMES: [(&str, Variable); 5] = [
    ("{status}", Variable::Status),
    ("{reason}", Variable::Reason),
    ("{code}", Variable::Code),
    ("{message}", Variable::Message),
    ("{request_id}", Variable::RequestId),
];

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Text, and the variable behind it.
    pieces: Vec<(Box<str>, Option<Variable>)>,
}

impl Page {
    /// Reads a page.
    pub fn new(html: &str) -> Self {
        let (mut pieces, mut rest) = (Vec::new(), html);
        while let Some((at, name, variable)) = next_variable(rest) {
            let (text, after) = rest.split_at_checked(at).unwrap_or((rest, ""));
            pieces.push((text.into(), Some(variable)));
            rest = after.get(name.len()..).unwrap_or_default();
        }
        pieces.push((rest.into(), None));
        Self { pieces }
    }

    /// The page about one error.
    pub fn fill(&self, facts: &Facts<'_>) -> String {
        let mut page = String::with_capacity(self.pieces.iter().map(|(text, _)| text.len() + 32).sum());
        for (text, variable) in &self.pieces {
            page.push_str(text);
            match variable {
                Some(Variable::Status) => page.push_str(&facts.status.to_string()),
                Some(Variable::Reason) => escape(facts.reason(), &mut page),
                Some(Variable::Code) => escape(facts.code, &mut page),
                Some(Variable::Message) => escape(facts.message, &mut page),
                Some(Variable::RequestId) => escape(facts.request_id, &mut page),
                None => {}
            }
        }
        page
    }
}

fn next_variable(text: &str) -> Option<(usize, &'static str, Variable)> {
    let mut from = 0;
    while let Some(at) = text.get(from..)?.find('{').map(|at| from + at) {
        let here = text.get(at..)?;
        if let Some((name, variable)) = NAMES.iter().find(|(name, _)| here.starts_with(name)) {
            return Some((at, *name, *variable));
        }
        from = at + 1;
    }
    None
}

/// Appends text so that HTML takes none of it for markup, in an element or in a quoted attribute.
pub fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
}

/// A project's pages: for a status, for a class of them, for the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// The narrowest ranges first.
    pages: Vec<(RangeInclusive<u16>, Page)>,
}

impl Pages {
    /// Pages for ranges of statuses.
    pub fn new(mut pages: Vec<(RangeInclusive<u16>, Page)>) -> Self {
        pages.sort_by_key(|(range, _)| range.end().saturating_sub(*range.start()));
        Self { pages }
    }

    /// The page about one error; `None`: the project has none for it.
    pub fn fill(&self, facts: &Facts<'_>) -> Option<String> {
        self.pages.iter().find(|(range, _)| range.contains(&facts.status)).map(|(_, page)| page.fill(facts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts<'static> {
        Facts { status: 404, code: "route_not_found", message: "a < b & \"c\" 'd'", request_id: "abc" }
    }

    #[test]
    fn variables_are_filled_in_and_escaped() {
        let page = Page::new("<h1>{status} {reason}</h1><p title='{message}'>{code}/{request_id}</p>");
        assert_eq!(
            page.fill(&facts()),
            "<h1>404 Not Found</h1><p title='a &lt; b &amp; &quot;c&quot; &#39;d&#39;'>route_not_found/abc</p>"
        );
    }

    #[test]
    fn other_braces_are_text() {
        for text in ["<style>p{color:red}</style>{", "{Status} {{status", "", "{ä{", "}{}"] {
            let page = Page::new(text);
            assert_eq!(page.fill(&facts()), text, "{text}");
        }
        assert_eq!(Page::new("{{status}}").fill(&facts()), "{404}");
        assert_eq!(Page::new("{status}{status}").fill(&facts()), "404404");
    }

    #[test]
    fn what_is_filled_in_is_not_read_again() {
        let hostile = Facts { message: "{request_id}", ..facts() };
        assert_eq!(Page::new("{message}").fill(&hostile), "{request_id}");
    }

    #[test]
    fn the_narrowest_range_has_the_word() {
        let page = |text: &str| Page::new(text);
        let pages = Pages::new(vec![(400..=599, page("any")), (404..=404, page("one")), (500..=599, page("class"))]);
        let of = |status| pages.fill(&Facts { status, ..facts() });
        assert_eq!(of(404).as_deref(), Some("one"));
        assert_eq!(of(502).as_deref(), Some("class"));
        assert_eq!(of(403).as_deref(), Some("any"));
        assert_eq!(of(200), None);
        assert_eq!(Pages::default().fill(&facts()), None);
    }
}
