//! The answer to a request for a file: its head by the file's facts and the request's conditions, and what its body will be.
//! Runs where blocking is allowed.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use pingora_core::Result;
use pingora_http::ResponseHeader;

use super::find::{Finding, Found, Missing, find};
use super::source::Source;
use crate::id::RequestId;
use crate::policy::coding::Coding;
use crate::policy::conditional::{Conditions, Outcome, Validators};
use crate::policy::content_type;
use crate::policy::file_path::Wanted;
use crate::policy::range::{self, Ranges};
use crate::proxy::compress;
use crate::proxy::heads::edit;
use crate::table::Route;
use crate::table::route::Files;

/// What a request says that matters to a file.
#[derive(Debug)]
pub struct Asked {
    /// Which file.
    pub wanted: Wanted,
    /// Of the method: whether the body stays away.
    pub is_head: bool,
    /// `If-Match` and its kin.
    pub conditions: Conditions,
    /// Of a GET.
    pub range: Option<HeaderValue>,
    /// What the client takes of the route's codings, the most welcome first.
    pub accepted: Vec<Coding>,
    /// The route.
    pub route: Arc<Route>,
    /// No file is newer than this.
    pub now: SystemTime,
}

/// What the request gets.
#[derive(Debug)]
pub enum Prepared {
    /// This head, and where its body is read from.
    Answer(Box<ResponseHeader>, Option<Source>),
    /// The same address with a slash.
    AddSlash,
    /// 412.
    PreconditionFailed,
    /// 416 of so many bytes.
    NotInRange(u64),
    /// 404 or 500.
    Missing(Missing),
}

impl Asked {
    /// Finds the file and prepares the answer. Blocks on the disk.
    ///
    /// # Errors
    /// When a head cannot be built.
    pub fn prepare(&self, files: &Files) -> Result<Prepared> {
        match find(files, &self.wanted, &self.accepted) {
            Ok(Finding::File(found)) => self.answer(found),
            Ok(Finding::Directory) => Ok(Prepared::AddSlash),
            Err(missing) => Ok(Prepared::Missing(missing)),
        }
    }

    fn answer(&self, found: Found) -> Result<Prepared> {
        let current = Validators { tag: &found.tag, modified: found.modified.min(self.now) };
        match self.conditions.judge(&current) {
            Outcome::Failed => return Ok(Prepared::PreconditionFailed),
            Outcome::NotModified => return self.not_modified(&found),
            Outcome::Proceed => {}
        }
        let range = self.range.as_ref().filter(|_| self.conditions.allow_range(&current));
        match range.map_or(Ranges::Whole, |range| range::resolve(range, found.length)) {
            Ranges::Whole => self.whole(found),
            Ranges::Parts(parts) => self.parts(found, parts),
            Ranges::Unsatisfiable => Ok(Prepared::NotInRange(found.length)),
        }
    }

    fn whole(&self, found: Found) -> Result<Prepared> {
        let mut head = self.head(StatusCode::OK, &found)?;
        let coding = self.relabel(&mut head)?;
        if self.is_head {
            return Ok(Prepared::Answer(Box::new(head), None));
        }
        let encoder = coding.map(compress::encoder).transpose()?;
        Ok(Prepared::Answer(Box::new(head), Some(Source::whole(found.file, found.length, encoder))))
    }

    /// Compressed on the way, if the route has it, it suits, and the client takes one of the codings.
    fn relabel(&self, head: &mut ResponseHeader) -> Result<Option<Coding>> {
        if self.route.compress.is_some() { compress::relabel(head, &self.accepted) } else { Ok(None) }
    }

    /// What the whole answer would say of itself, without what describes a body (RFC 9110 §15.4.5).
    fn not_modified(&self, found: &Found) -> Result<Prepared> {
        let mut head = self.head(StatusCode::OK, found)?;
        self.relabel(&mut head)?;
        head.set_status(StatusCode::NOT_MODIFIED)?;
        let body = [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::ACCEPT_RANGES];
        body.iter().for_each(|name| _ = head.remove_header(name));
        Ok(Prepared::Answer(Box::new(head), None))
    }

    fn parts(&self, found: Found, parts: Vec<Range<u64>>) -> Result<Prepared> {
        let mut head = self.head(StatusCode::PARTIAL_CONTENT, &found)?;
        if let [part] = parts.as_slice() {
            head.insert_header(header::CONTENT_RANGE, content_range(part, found.length))?;
            head.insert_header(header::CONTENT_LENGTH, part.end - part.start)?;
            return Ok(Prepared::Answer(Box::new(head), Some(Source::part(found.file, part.clone()))));
        }
        let kind = head.headers.get(header::CONTENT_TYPE).cloned();
        let several = Several::of(parts, kind.as_ref(), found.length);
        head.insert_header(header::CONTENT_TYPE, several.kind())?;
        head.insert_header(header::CONTENT_LENGTH, several.length())?;
        let Several { parts, end, .. } = several;
        Ok(Prepared::Answer(Box::new(head), Some(Source::parts(found.file, parts, end))))
    }

    /// Of the file as it lies there, with the route's edits.
    fn head(&self, status: StatusCode, found: &Found) -> Result<ResponseHeader> {
        let mut head = ResponseHeader::build_no_case(status, Some(12))?;
        head.insert_header(header::CONTENT_TYPE, content_type::of(&found.name))?;
        head.insert_header(header::CONTENT_LENGTH, found.length)?;
        head.insert_header(header::ETAG, found.tag.as_str())?;
        head.insert_header(header::LAST_MODIFIED, httpdate::fmt_http_date(found.modified.min(self.now)))?;
        head.insert_header(header::ACCEPT_RANGES, "bytes")?;
        head.insert_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")?;
        if let Some(coding) = found.coding {
            head.insert_header(header::CONTENT_ENCODING, coding.value())?;
        }
        edit(&mut head, &self.route.response_edits)?;
        if self.route.compress.is_some() {
            compress::vary(&mut head)?;
        }
        Ok(head)
    }
}

fn content_range(part: &Range<u64>, length: u64) -> String {
    format!("bytes {}-{}/{length}", part.start, part.end.saturating_sub(1))
}

/// `multipart/byteranges` (RFC 9110 §14.6).
struct Several {
    boundary: String,
    parts: Vec<(Bytes, Range<u64>)>,
    end: Bytes,
}

impl Several {
    fn of(parts: Vec<Range<u64>>, kind: Option<&HeaderValue>, length: u64) -> Self {
        let boundary = RequestId::fresh().as_str().to_owned();
        let kind = kind.and_then(|kind| kind.to_str().ok()).map(|kind| format!("Content-Type: {kind}\r\n"));
        let kind = kind.unwrap_or_default();
        let before = |part: &Range<u64>| {
            let range = content_range(part, length);
            Bytes::from(format!("\r\n--{boundary}\r\n{kind}Content-Range: {range}\r\n\r\n"))
        };
        let parts = parts.into_iter().map(|part| (before(&part), part)).collect();
        let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        Self { boundary, parts, end }
    }

    fn kind(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    fn length(&self) -> u64 {
        let texts = self.parts.iter().map(|(text, _)| text).chain([&self.end]);
        let texts: usize = texts.map(Bytes::len).sum();
        let parts: u64 = self.parts.iter().map(|(_, part)| part.end - part.start).sum();
        u64::try_from(texts).unwrap_or(0) + parts
    }
}

impl Missing {
    /// For the log; `None`: an ordinary 404.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Refused(_) | Self::Failed(_) => Some(self.to_string()),
        }
    }

    /// Whether the system is to blame.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed(error) if error.kind() != io::ErrorKind::NotFound)
    }
}
