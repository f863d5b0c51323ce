//! `logging`: the log and the access log.

use log::LevelFilter;

use crate::config::decoder::Decoder;
use crate::config::fields::Shape;
use crate::config::model::{Access, AccessFormat, LogFormat, Logging, QueryLogging};
use crate::config::tree::Node;
use crate::config::value::{fraction, word};

const LOGGING: Shape = Shape { what: "`logging`", keys: &["level", "format", "file", "access"] };

const ACCESS: Shape = Shape { what: "`logging.access`", keys: &["format", "file", "sample", "query"] };

const LEVELS: &[(&str, LevelFilter)] = &[
    ("error", LevelFilter::Error),
    ("warn", LevelFilter::Warn),
    ("info", LevelFilter::Info),
    ("debug", LevelFilter::Debug),
    ("trace", LevelFilter::Trace),
    ("off", LevelFilter::Off),
];

const FORMATS: &[(&str, LogFormat)] =
    &[("text", LogFormat::Text), ("json", LogFormat::Json), ("auto", LogFormat::Auto)];

const ACCESS_FORMATS: &[(&str, AccessFormat)] =
    &[("json", AccessFormat::Json), ("combined", AccessFormat::Combined), ("off", AccessFormat::Off)];

const QUERIES: &[(&str, QueryLogging)] =
    &[("redacted", QueryLogging::Redacted), ("full", QueryLogging::Full), ("off", QueryLogging::Off)];

/// What holds without the section.
pub fn default() -> Logging {
    Logging {
        level: LevelFilter::Info,
        format: LogFormat::Auto,
        file: None,
        access: Access { format: AccessFormat::Json, file: None, sample: 1.0, query: QueryLogging::Redacted },
    }
}

/// Decodes the section.
pub fn decode(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Logging {
    let mut logging = default();
    let Some(fields) = decoder.fields(node, &LOGGING) else { return logging };
    let level = |text: &str| word(&text.to_ascii_lowercase(), LEVELS);
    if let Some(level) = fields.get("level").and_then(|node| decoder.parsed(node, level)) {
        logging.level = level;
    }
    if let Some(format) = fields.get("format").and_then(|node| decoder.parsed(node, |text| word(text, FORMATS))) {
        logging.format = format;
    }
    logging.file = fields.get("file").and_then(|node| decoder.path(node)).flatten().map(|path| path.value);
    if let Some(node) = fields.get("access") {
        access(decoder, node, &mut logging.access);
    }
    logging
}

fn access(decoder: &mut Decoder<'_, '_>, node: &Node<'_>, access: &mut Access) {
    let Some(fields) = decoder.fields(node, &ACCESS) else { return };
    if let Some(format) = fields.get("format").and_then(|node| decoder.parsed(node, |text| word(text, ACCESS_FORMATS)))
    {
        access.format = format;
    }
    access.file = fields.get("file").and_then(|node| decoder.path(node)).flatten().map(|path| path.value);
    if let Some(sample) = fields.get("sample").and_then(|node| decoder.parsed(node, fraction)) {
        access.sample = sample;
    }
    if let Some(query) = fields.get("query").and_then(|node| decoder.parsed(node, |text| word(text, QUERIES))) {
        access.query = query;
    }
}
