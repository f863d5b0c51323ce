//! The configuration's `logging` as the observer's settings: the two floors do not know each other.

use crate::config::model::{AccessFormat, LogFormat, QueryLogging};
use crate::observe::destination::Place;
use crate::observe::{Settings, access_log, log};
use crate::table::Logging;

/// What the logs are to do.
pub fn settings(logging: &Logging) -> Settings {
    let place = logging.file.clone().map_or(Place::Stderr, Place::File);
    Settings {
        log: log::Settings { level: logging.level, format: log_format(logging.format), place },
        access: access_settings(logging),
    }
}

fn access_settings(logging: &Logging) -> access_log::Settings {
    let access = &logging.access;
    access_log::Settings {
        format: match access.format {
            AccessFormat::Json => access_log::Format::Json,
            AccessFormat::Combined => access_log::Format::Combined,
            AccessFormat::Off => access_log::Format::Off,
        },
        place: access.file.clone().map_or(Place::Stdout, Place::File),
        sample: access.sample,
        query: match access.query {
            QueryLogging::Redacted => access_log::Query::Redacted,
            QueryLogging::Full => access_log::Query::Full,
            QueryLogging::Off => access_log::Query::Off,
        },
    }
}

fn log_format(format: LogFormat) -> log::Format {
    match format {
        LogFormat::Text => log::Format::Text,
        LogFormat::Json => log::Format::Json,
        LogFormat::Auto => log::Format::Auto,
    }
}
