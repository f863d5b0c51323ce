//! A route's `compress`: the codings that its answers may be sent in.

use crate::config::decoder::Decoder;
use crate::config::model::Coding;
use crate::config::tree::Node;
use crate::config::value::{Problem, word};
use crate::diagnostic::{Diagnostic, Spanned};

const CODINGS: &[(&str, Coding)] = &[("zstd", Coding::Zstd), ("br", Coding::Br), ("gzip", Coding::Gzip)];

/// Decodes the key.
pub fn decode(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Vec<Coding> {
    let codings = decoder.spanned_values(node, coding).unwrap_or_default();
    for (place, later) in codings.iter().enumerate() {
        if let Some(first) = codings.iter().take(place).find(|first| first.value == later.value) {
            report_twice(decoder, first, later);
        }
    }
    codings.into_iter().map(|coding| coding.value).collect()
}

fn report_twice(decoder: &mut Decoder<'_, '_>, first: &Spanned<Coding>, later: &Spanned<Coding>) {
    let problem = Diagnostic::error("useless_key", later.at, "this coding is in the list already");
    decoder.note(problem.hint("the order is that of preference; name each once").related(first.at, "first here"));
}

fn coding(text: &str) -> Result<Coding, Problem> {
    match text {
        "brotli" => Err(Problem::says("invalid_value", "is not a possible value").hint("its name in HTTP is `br`")),
        "deflate" => Err(Problem::says("invalid_value", "is not a possible value")
            .hint("clients disagree on what it means; use zstd, br or gzip")),
        _ => word(text, CODINGS),
    }
}
