//! A token file's bytes: one JSON object, written to be read by people, with a checksum over what it says.
//!
//! `crc32c` is the CRC-32C, as eight hex digits, of the *canonical form*: the object without `crc32c`, the keys of every object in it
//! sorted by their bytes, no white space, strings and numbers as `serde_json` writes them. So whoever indents a file anew has
//! not damaged it, and whoever changes a letter of what it says has.
//!
//! An object without `crc32c` and without `v` is nobody's yet: one that somebody has put there to be adopted ([`Foreign`]).
//!
//! Invariants: reading what was written gives the same record, keys that are not known here included
//! (`a_record_comes_back`); no byte of a file can change unnoticed (`a_flipped_byte_changes_nothing_unnoticed`).

use std::io::{self, Write};
use std::sync::Arc;

use serde_json::{Map, Value};
use zeroize::{Zeroize as _, Zeroizing};

use super::{Record, State, TokenId, fresh_lineage, moment};
use crate::clock::UnixMillis;
use crate::credential::provider::Registration;
use crate::secret::Secret;

/// The form that is written here.
const VERSION: u64 = 1;
const CHECKSUM: &str = "crc32c";
/// What a file usually needs: growing would leave copies of secrets behind.
const USUAL: usize = 16 * 1024;

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Parsed {
    /// A token.
    Record(Box<Record>),
    /// An encrypted token.
    Sealed(Envelope),
    /// Somebody else's tokens.
    Foreign(Foreign),
}

/// An encrypted token: who it is can be read, nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The token's name.
    pub id: TokenId,
    /// The provider's.
    pub provider: String,
    /// The token's generation.
    pub generation: u64,
    /// Base64.
    pub sealed: String,
}

/// Tokens that were not written here.
#[derive(Clone, Debug, PartialEq)]
pub struct Foreign {
    provider: Arc<str>,
    access_token: Option<Secret>,
    refresh_token: Option<Secret>,
    registration: Option<Registration>,
    created_at: Option<UnixMillis>,
    obtained_at: Option<UnixMillis>,
    expires_at: Option<UnixMillis>,
    refresh_expires_at: Option<UnixMillis>,
    rest: Document,
}

/// Why bytes are no token file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Cut off, or something else.
    #[error("it is not a JSON object (line {line}, column {column})")]
    Json {
        /// Where.
        line: usize,
        /// And where there.
        column: usize,
    },
    /// What it says is not what was written.
    #[error("its checksum does not match what it says")]
    Checksum,
    /// Of a later countersign.
    #[error("it was written by a later version of countersign (form {0})")]
    Later(u64),
    /// A key is missing, or holds something else.
    #[error("`{0}` is missing or holds something else")]
    Key(&'static str),
    /// Good JSON without a token in it.
    #[error("it holds no token: `provider`, and `access_token` or `refresh_token`, are needed")]
    NoToken,
}

impl Malformed {
    /// Whether the file is damaged, and not just something else.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Json { .. } | Self::Checksum)
    }
}

/// A JSON object whose texts are wiped when it goes.
#[derive(Clone, PartialEq)]
struct Document(Map<String, Value>);

/// Reads a file's bytes.
///
/// # Errors
/// See [`Malformed`].
pub fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let mut document = Document::parse(bytes)?;
    if !document.0.contains_key(CHECKSUM) && !document.0.contains_key("v") {
        return document.foreign().map(Parsed::Foreign);
    }
    let claimed = document.take_text(CHECKSUM).ok_or(Malformed::Checksum)?;
    if *claimed != checksum(&document.0) {
        return Err(Malformed::Checksum);
    }
    match document.take_number("v") {
        Some(VERSION) => {}
        Some(later) => return Err(Malformed::Later(later)),
        None => return Err(Malformed::Key("v")),
    }
    if document.0.contains_key("sealed") {
        return document.envelope().map(Parsed::Sealed);
    }
    document.record().map(Box::new).map(Parsed::Record)
}

impl Record {
    /// The bytes of its file.
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let mut document = Document(self.further.clone());
        document.put("id", self.id.as_str());
        document.put("provider", &*self.provider);
        document.put("generation", self.generation);
        document.put("access_token", self.access_token.expose());
        document.put("refresh_token", self.refresh_token.as_ref().map(Secret::expose));
        document.put("token_type", self.token_type.as_str());
        document.put("created_at", moment::text(self.created_at));
        document.put("obtained_at", moment::text(self.obtained_at));
        document.put("expires_at", moment::text(self.expires_at));
        document.put("lineage", self.lineage.as_str());
        document.put("state", self.state.as_str());
        document.put_some("scope", self.scope.as_deref());
        document.put_some("refresh_expires_at", self.refresh_expires_at.map(moment::text));
        document.put_some("reason", self.reason.as_deref());
        document.put_some("last_error", self.last_error.as_deref());
        document.put_some("prev", self.previous.as_ref().map(previous_to_json));
        document.put_some("registration", self.registration.as_ref().map(registration_to_json));
        document.put_some("sealed", None::<&str>);
        document.finish()
    }
}

impl Envelope {
    /// The bytes of its file.
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let mut document = Document(Map::new());
        document.put("id", self.id.as_str());
        document.put("provider", self.provider.as_str());
        document.put("generation", self.generation);
        document.put("sealed", self.sealed.as_str());
        document.finish()
    }
}

impl Foreign {
    /// Whose tokens they say they are.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// As a token of ours. Without an access token, or with one whose end is not known but that can be refreshed, it is refreshed
    /// at once; one that can't be refreshed is used until it is turned down.
    pub fn adopt(mut self, id: TokenId, generation: u64, now: UnixMillis) -> Record {
        let unknown_end = if self.refresh_token.is_some() { now } else { moment::LAST };
        let ends = self.expires_at.unwrap_or(unknown_end);
        Record {
            id,
            provider: self.provider,
            generation,
            expires_at: if self.access_token.is_some() { ends } else { now },
            access_token: self.access_token.unwrap_or_else(|| Secret::new("")),
            refresh_token: self.refresh_token,
            token_type: self.rest.take_string("token_type").unwrap_or_else(|| "Bearer".to_owned()),
            scope: self.rest.take_string("scope"),
            created_at: self.created_at.unwrap_or(now),
            obtained_at: self.obtained_at.unwrap_or(now),
            refresh_expires_at: self.refresh_expires_at,
            lineage: fresh_lineage(),
            previous: None,
            state: State::Valid,
            reason: None,
            last_error: None,
            registration: self.registration,
            further: self.rest.into_further(),
        }
    }
}

impl Document {
    fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        serde_json::from_slice(bytes)
            .map(Self)
            .map_err(|error| Malformed::Json { line: error.line(), column: error.column() })
    }

    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    fn put_some(&mut self, key: &str, value: Option<impl Into<Value>>) {
        match value {
            Some(value) => self.put(key, value),
            // A key that is known here never comes from what is not.
            None => drop(self.0.remove(key)),
        }
    }

    /// With its form and its checksum.
    fn finish(mut self) -> Zeroizing<Vec<u8>> {
        self.0.remove(CHECKSUM);
        self.put("v", VERSION);
        let checksum = checksum(&self.0);
        self.put(CHECKSUM, checksum);
        let mut bytes = Zeroizing::new(Vec::with_capacity(USUAL));
        // Writing into memory does not fail.
        let _ = serde_json::to_writer_pretty(&mut *bytes, &self.0);
        bytes.push(b'\n');
        bytes
    }

    fn foreign(mut self) -> Result<Foreign, Malformed> {
        let provider = self.take_text("provider").filter(|provider| !provider.is_empty());
        // What no header can carry would be lent, and turned down, again and again.
        let mut token = |key: &str| {
            let token = self.take_secret(key)?;
            let text = token.expose().trim();
            let fits = !text.is_empty() && text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
            fits.then(|| Secret::new(text))
        };
        let (access_token, refresh_token) = (token("access_token"), token("refresh_token"));
        match provider {
            Some(provider) if access_token.is_some() || refresh_token.is_some() => {
                // Names that only we give.
                for ours in ["id", "generation", "lineage", "prev", "state", "reason", "last_error", "sealed"] {
                    self.0.remove(ours);
                }
                Ok(Foreign {
                    provider: provider.as_str().into(),
                    access_token,
                    refresh_token,
                    registration: self.take("registration").map(|value| known_registration(&value)).transpose()?,
                    created_at: self.take_understood("created_at")?,
                    obtained_at: self.take_understood("obtained_at")?,
                    expires_at: self.take_understood("expires_at")?,
                    refresh_expires_at: self.take_understood("refresh_expires_at")?,
                    rest: self,
                })
            }
            _ => Err(Malformed::NoToken),
        }
    }

    fn envelope(mut self) -> Result<Envelope, Malformed> {
        Ok(Envelope {
            id: self.take_id()?,
            provider: self.take_string("provider").ok_or(Malformed::Key("provider"))?,
            generation: self.take_number("generation").ok_or(Malformed::Key("generation"))?,
            sealed: self.take_string("sealed").ok_or(Malformed::Key("sealed"))?,
        })
    }

    fn record(mut self) -> Result<Record, Malformed> {
        let moment = |document: &mut Self, key| document.take_moment(key).ok_or(Malformed::Key(key));
        Ok(Record {
            id: self.take_id()?,
            provider: self.take_text("provider").ok_or(Malformed::Key("provider"))?.as_str().into(),
            generation: self.take_number("generation").ok_or(Malformed::Key("generation"))?,
            access_token: self.take_secret("access_token").ok_or(Malformed::Key("access_token"))?,
            refresh_token: self.take_secret("refresh_token"),
            token_type: self.take_string("token_type").ok_or(Malformed::Key("token_type"))?,
            scope: self.take_string("scope"),
            created_at: moment(&mut self, "created_at")?,
            obtained_at: moment(&mut self, "obtained_at")?,
            expires_at: moment(&mut self, "expires_at")?,
            refresh_expires_at: self.take_moment("refresh_expires_at"),
            lineage: self.take_string("lineage").ok_or(Malformed::Key("lineage"))?,
            previous: self.take("prev").map(previous_of).transpose()?,
            state: self.take_text("state").and_then(|text| State::parse(&text)).ok_or(Malformed::Key("state"))?,
            reason: self.take_string("reason"),
            last_error: self.take_string("last_error"),
            registration: self.take("registration").map(|value| known_registration(&value)).transpose()?,
            further: self.into_further(),
        })
    }

    /// `null` is as good as nothing.
    fn take(&mut self, key: &str) -> Option<Document> {
        match self.0.remove(key)? {
            Value::Object(object) => Some(Document(object)),
            Value::Null => None,
            other => Some(Document(Map::from_iter([(String::new(), other)]))),
        }
    }

    fn take_string(&mut self, key: &str) -> Option<String> {
        match self.0.remove(key)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    fn take_text(&mut self, key: &str) -> Option<Zeroizing<String>> {
        self.take_string(key).map(Zeroizing::new)
    }

    fn take_secret(&mut self, key: &str) -> Option<Secret> {
        self.take_string(key).map(Secret::new)
    }

    fn take_number(&mut self, key: &str) -> Option<u64> {
        self.0.remove(key)?.as_u64()
    }

    fn take_moment(&mut self, key: &str) -> Option<UnixMillis> {
        match self.0.remove(key)? {
            Value::String(text) => moment::parse(&text),
            Value::Number(number) => moment::of_number(number.as_f64()?),
            _ => None,
        }
    }

    /// What is not understood is not passed over: whoever wrote it meant something by it.
    fn take_understood(&mut self, key: &'static str) -> Result<Option<UnixMillis>, Malformed> {
        let is_said = self.0.get(key).is_some_and(|value| !value.is_null());
        match self.take_moment(key) {
            None if is_said => Err(Malformed::Key(key)),
            moment => Ok(moment),
        }
    }

    fn take_id(&mut self) -> Result<TokenId, Malformed> {
        self.take_text("id").and_then(|text| TokenId::parse(&text)).ok_or(Malformed::Key("id"))
    }

    fn into_further(mut self) -> Map<String, Value> {
        std::mem::take(&mut self.0)
    }
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(object) => object.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn previous_to_json((generation, digest): &(u64, String)) -> Value {
    let entries = [("generation", Value::from(*generation)), ("rt_sha256", digest.as_str().into())];
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>().into()
}

fn previous_of(mut document: Document) -> Result<(u64, String), Malformed> {
    let found = document.take_number("generation").zip(document.take_string("rt_sha256"));
    found.ok_or(Malformed::Key("prev"))
}

fn registration_to_json(registration: &Registration) -> Value {
    let mut object = Map::new();
    object.insert("client_id".to_owned(), registration.client_id.as_str().into());
    object.insert("client_secret".to_owned(), registration.client_secret.expose().into());
    if let Some(ends) = registration.expires_at {
        object.insert("expires_at".to_owned(), moment::text(ends).into());
    }
    object.into()
}

fn known_registration(document: &Document) -> Result<Registration, Malformed> {
    registration_in(&document.0).ok_or(Malformed::Key("registration"))
}

fn registration_in(object: &Map<String, Value>) -> Option<Registration> {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    let expires_at = match object.get("expires_at") {
        Some(Value::String(text)) => moment::parse(text),
        Some(Value::Number(number)) => number.as_f64().and_then(moment::of_number),
        _ => None,
    };
    Some(Registration {
        client_id: text("client_id")?.to_owned(),
        client_secret: Secret::new(text("client_secret")?),
        expires_at,
    })
}

/// CRC-32C of the canonical form, as text.
fn checksum(object: &Map<String, Value>) -> String {
    let mut sum = Checksum(0);
    // The sum takes everything.
    let _ = canonical_object(object, &mut sum);
    format!("{:08x}", sum.0)
}

/// What is written to it is summed up, and kept nowhere.
struct Checksum(u32);

impl Write for Checksum {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = crc32c::crc32c_append(self.0, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn canonical(value: &Value, out: &mut Checksum) -> io::Result<()> {
    match value {
        Value::Object(object) => canonical_object(object, out),
        Value::Array(values) => {
            out.write_all(b"[")?;
            for (place, value) in values.iter().enumerate() {
                out.write_all(if place == 0 { b"" } else { b"," })?;
                canonical(value, out)?;
            }
            out.write_all(b"]")
        }
        plain => Ok(serde_json::to_writer(out, plain)?),
    }
}

/// Sorted here and not by the map, whose order is a matter of how `serde_json` happens to be built.
fn canonical_object(object: &Map<String, Value>, out: &mut Checksum) -> io::Result<()> {
    let mut entries: Vec<_> = object.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    out.write_all(b"{")?;
    for (place, (key, value)) in entries.into_iter().enumerate() {
        out.write_all(if place == 0 { b"" } else { b"," })?;
        serde_json::to_writer(&mut *out, key)?;
        out.write_all(b":")?;
        canonical(value, out)?;
    }
    out.write_all(b"}")
}

#[cfg(test)]
mod tests;
