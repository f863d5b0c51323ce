//! Diagnostics as text for people, as JSON, and as GitHub annotations.
//!
//! Excerpts show one line each, with secrets masked (`excerpt`); nothing else of a file is ever shown.

mod excerpt;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::config::Sources;
use crate::config::value::invisible;
use crate::diagnostic::{Diagnostic, FileId, Pos, Severity};

use excerpt::{Excerpt, Lines};

/// With excerpt, caret and hint; secrets masked; no trailing blank line. `color`: ANSI.
pub fn human(sources: &Sources, diagnostics: &[Diagnostic], color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let lines = Lines::new(sources);
    let blocks: Vec<String> =
        diagnostics.iter().map(|diagnostic| block(sources, &lines, &renderer, diagnostic)).collect();
    blocks.join("\n\n")
}

/// `file:line:column: error: message (hint)` on one line, for logs and status.
pub fn line(sources: &Sources, diagnostic: &Diagnostic) -> String {
    let mut text = String::new();
    if let Some(at) = diagnostic.at {
        text = format!("{}:{}:{}: ", file(sources, at.file), at.line, at.column);
    }
    text.push_str(&format!("{}: {}", severity(diagnostic), diagnostic.message));
    if !diagnostic.hint.is_empty() {
        text.push_str(&format!(" ({})", diagnostic.hint));
    }
    one_line(&text)
}

/// `{"file","line","column","severity","code","message","hint"}`.
pub fn json(sources: &Sources, diagnostic: &Diagnostic) -> serde_json::Value {
    let at = diagnostic.at;
    serde_json::json!({
        "file": at.map(|at| file(sources, at.file)),
        "line": at.map(|at| at.line),
        "column": at.map(|at| at.column),
        "severity": diagnostic.severity,
        "code": diagnostic.code,
        "message": diagnostic.message,
        "hint": diagnostic.hint,
    })
}

/// `::error file=F,line=L,col=C::message`, one line each.
pub fn github(sources: &Sources, diagnostics: &[Diagnostic]) -> String {
    let lines: Vec<String> = diagnostics.iter().map(|diagnostic| annotation(sources, diagnostic)).collect();
    lines.join("\n")
}

fn annotation(sources: &Sources, diagnostic: &Diagnostic) -> String {
    let place = diagnostic.at.map_or(String::new(), |at| {
        let file = escaped(&file(sources, at.file)).replace(':', "%3A").replace(',', "%2C");
        format!(" file={file},line={},col={}", at.line, at.column)
    });
    let mut message = diagnostic.message.clone();
    if !diagnostic.hint.is_empty() {
        message.push_str(&format!(" ({})", diagnostic.hint));
    }
    format!("::{}{place}::{}", severity(diagnostic), escaped(&message))
}

/// What GitHub's workflow commands need escaped.
fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn severity(diagnostic: &Diagnostic) -> &'static str {
    match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn file(sources: &Sources, id: FileId) -> String {
    sources.files.get(usize::from(id.0)).map(|source| source.path.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Control characters would let a message forge a line of the log.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || invisible(c) { '\u{fffd}' } else { c }).collect()
}

fn block(sources: &Sources, lines: &Lines<'_>, renderer: &Renderer, diagnostic: &Diagnostic) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let main = diagnostic.at.map(|at| Shown::new(sources, lines, at));
    let other = diagnostic.related.as_ref().map(|(at, note)| (Shown::new(sources, lines, *at), note.as_str()));
    let mut first = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code).elements(Vec::<Origin>::new());
    if let Some(shown) = &main {
        first = shown.add_to(first, AnnotationKind::Primary);
    }
    if !diagnostic.hint.is_empty() {
        first = first.element(Level::HELP.message(diagnostic.hint.as_str()));
    }
    let second = other.as_ref().map(|(shown, note)| {
        shown.add_to(Group::with_title(Level::NOTE.secondary_title(*note)), AnnotationKind::Context)
    });
    let report: Vec<Group<'_>> = std::iter::once(first).chain(second).collect();
    let text = renderer.render(&report);
    let places = main.iter().chain(other.as_ref().map(|(shown, _)| shown));
    places.fold(text, |text, shown| shown.correct(text))
}

/// One place, ready to be rendered.
struct Shown {
    path: String,
    at: Pos,
    excerpt: Option<Excerpt>,
}

impl Shown {
    fn new(sources: &Sources, lines: &Lines<'_>, at: Pos) -> Self {
        Self { path: one_line(&file(sources, at.file)), at, excerpt: lines.excerpt(at) }
    }

    fn add_to<'a>(&'a self, group: Group<'a>, kind: AnnotationKind) -> Group<'a> {
        let line = usize::try_from(self.at.line).unwrap_or(1);
        match &self.excerpt {
            Some(excerpt) => group.element(
                Snippet::source(excerpt.text.as_str())
                    .path(self.path.as_str())
                    .line_start(line)
                    .annotation(kind.span(excerpt.caret.clone())),
            ),
            None => group.element(Origin::path(self.path.as_str()).line(line).char_column(self.column())),
        }
    }

    fn column(&self) -> usize {
        usize::try_from(self.at.column).unwrap_or(1)
    }

    /// A masked or shortened line has other columns than the file; the header names those of the file.
    fn correct(&self, text: String) -> String {
        let Some(excerpt) = &self.excerpt else { return text };
        let shown = excerpt.column();
        if shown == self.column() {
            return text;
        }
        let place = |column| format!("{}:{}:{column}", self.path, self.at.line);
        text.replacen(&place(shown), &place(self.column()), 1)
    }
}
