//! A project's `pages`: HTML files that replace the edge's own error pages.

use std::path::PathBuf;

use crate::config::decoder::Decoder;
use crate::config::model::Pages;
use crate::config::tree::{Entry, Node};
use crate::config::value::Problem;
use crate::diagnostic::{Diagnostic, Spanned};

/// Decodes the mapping of statuses to files.
pub fn decode(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Pages {
    let mut pages = Pages::default();
    for entry in decoder.named(node) {
        let Some(statuses) = decoder.key(entry, statuses) else { continue };
        if let Some(file) = file(decoder, entry) {
            pages.by_status.push((statuses.value, file));
        }
    }
    pages
}

fn file(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>) -> Option<Spanned<PathBuf>> {
    let file = decoder.path(&entry.value)?;
    match &file {
        Some(file) => decoder.depends_on_file(&file.value),
        None => {
            let at = entry.value.target().at;
            let hint = "name an HTML file, relative to this one, such as pages/404.html";
            decoder.note(Diagnostic::error("missing_key", at, "no file is named").hint(hint));
        }
    }
    file
}

/// `404`, `5xx`, `default`: the first and the last status.
fn statuses(text: &str) -> Result<(u16, u16), Problem> {
    match text {
        "default" => return Ok((400, 599)),
        "4xx" => return Ok((400, 499)),
        "5xx" => return Ok((500, 599)),
        _ => {}
    }
    let status = text.parse::<u16>().ok().filter(|status| (400..=599).contains(status) && text.len() == 3);
    let problem = || Problem::not("invalid_status", "the status of an error");
    status.map(|status| (status, status)).ok_or_else(|| problem().hint("400 to 599, `4xx`, `5xx` or `default`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_statuses_classes_and_the_rest() {
        assert_eq!(statuses("404"), Ok((404, 404)));
        assert_eq!(statuses("5xx"), Ok((500, 599)));
        assert_eq!(statuses("default"), Ok((400, 599)));
        for wrong in ["", "200", "399", "600", "3xx", "0404", "+404", "4XX", "error"] {
            assert_eq!(statuses(wrong).unwrap_err().code, "invalid_status", "{wrong}");
        }
    }
}
