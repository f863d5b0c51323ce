//! One token of an imported document.

use serde_json::{Map, Value};

use super::Imported;
use crate::clock::UnixMillis;
use crate::credential::provider::Registration;
use crate::credential::record::moment;
use crate::secret::Secret;

/// Of a token, or a secret.
const LONGEST: usize = 16 * 1024;
/// Of what else there is, as JSON: a token's file has a limit, too.
const FURTHER: usize = 8 * 1024;
/// How deep that may be.
const DEEPEST: usize = 8;

/// Names that are read here, without case, `_` and `-`.
mod names {
    pub const ACCESS: &str = "accesstoken";
    pub const REFRESH: &str = "refreshtoken";
    pub const EXPIRES: &str = "expiresat";
    pub const PROVIDER: &str = "provider";
    pub const REGISTRATION: &str = "registration";
    pub const CLIENT_ID: &str = "clientid";
    pub const CLIENT_SECRET: &str = "clientsecret";
    pub const CLIENT_ENDS: [&str; 2] = ["registrationexpiresat", "clientsecretexpiresat"];
    pub const DISABLED: &str = "disabled";
    /// Say how somebody logged in elsewhere; where one of them is, `provider` is none of ours.
    pub const ELSEWHERE: [&str; 3] = ["auth", "authmethod", "profilearn"];
    /// An encrypted file of ours.
    pub const SEALED: &str = "sealed";
}

/// What belongs to the file of another token: its identity, its history, what is said anew. Keys of our own format that an
/// import does not take over.
const LEFT: [&str; 20] = [
    "v",
    "id",
    "generation",
    "tokentype",
    "scope",
    "obtainedat",
    "createdat",
    "lineage",
    "prev",
    "previous",
    "state",
    "reason",
    "lasterror",
    "crc32c",
    "expiresin",
    "refreshexpiresat",
    "refreshexpiresin",
    "sealed",
    "checksum",
    "provider",
];

/// Parts of names of what must not be kept unless it is known what it is for.
const SECRETIVE: [&str; 12] = [
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "authorization",
    "cookie",
    "privatekey",
    "apikey",
    "assertion",
    "credential",
    "verifier",
];

/// Where a name goes when it is one of ours and means something else there.
const IDENTITY_PROVIDER: &str = "identityProvider";

/// Reads an entry; `None`: it is disabled.
///
/// # Errors
/// It has no token, or one of its keys holds something else than it should.
pub(super) fn read(members: Map<String, Value>) -> Result<Option<Imported>, String> {
    let entry = Entry::new(members)?;
    if entry.value(names::DISABLED) == Some(&Value::Bool(true)) {
        return Ok(None);
    }
    if entry.value(names::SEALED).is_some() {
        return Err("it is encrypted: import it where its key is, or put the file into tokens_dir there".to_owned());
    }
    let (access_token, refresh_token) = (entry.secret(names::ACCESS)?, entry.secret(names::REFRESH)?);
    let registration = entry.registration()?;
    if access_token.is_none() && refresh_token.is_none() {
        return Err(match registration {
            Some(_) => "it is the registration of a client, and has no token: `accessToken` or `refreshToken`",
            None => {
                "it has no token: one of `access_token`, `refresh_token`, `accessToken`, `refreshToken` was looked for"
            }
        }
        .to_owned());
    }
    if access_token.is_none() && registration.is_none() && entry.is_of_a_registered_client() {
        return Err(
            "it cannot be refreshed without `clientId` and `clientSecret` (in ~/.aws/sso/cache they are in the \
                    file that `clientIdHash` names): add them to it"
                .to_owned(),
        );
    }
    let expires_at = entry.moment(names::EXPIRES)?;
    let provider = if entry.is_from_elsewhere() { None } else { entry.text(names::PROVIDER)?.map(str::to_owned) };
    let further = entry.further()?;
    Ok(Some(Imported { provider, access_token, refresh_token, expires_at, registration, further }))
}

/// An object whose names are found however they are written.
struct Entry {
    members: Vec<(String, String, Value)>,
}

/// `accessToken` and `access_token` as `accesstoken`.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

impl Entry {
    fn new(members: Map<String, Value>) -> Result<Self, String> {
        let members: Vec<_> = members.into_iter().map(|(name, value)| (plain(&name), name, value)).collect();
        let mut names: Vec<&str> = members.iter().map(|(plain, ..)| plain.as_str()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair.first() == pair.last()) {
            Some(pair) => Err(format!("`{}` is there twice", shown(pair.first().copied().unwrap_or_default()))),
            None => Ok(Self { members }),
        }
    }

    /// What is there, and not null.
    fn value(&self, name: &str) -> Option<&Value> {
        let found = self.members.iter().find(|(plain, ..)| plain == name);
        found.map(|(.., value)| value).filter(|value| !value.is_null())
    }

    /// A text; empty is as good as absent.
    fn text(&self, name: &str) -> Result<Option<&str>, String> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
            Some(_) => Err(format!("`{}` is no text", self.written(name))),
        }
    }

    /// As the document writes a name.
    fn written(&self, name: &str) -> String {
        let found = self.members.iter().find(|(plain, ..)| plain == name);
        shown(found.map_or(name, |(_, written, _)| written.as_str()))
    }

    fn secret(&self, name: &str) -> Result<Option<Secret>, String> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        if text.len() > LONGEST {
            return Err(format!("`{}` is longer than 16 KiB", self.written(name)));
        }
        if !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            return Err(format!("`{}` holds characters that no token has", self.written(name)));
        }
        Ok(Some(Secret::new(text)))
    }

    /// RFC 3339, or seconds or milliseconds since 1970.
    fn moment(&self, name: &str) -> Result<Option<UnixMillis>, String> {
        let read = match self.value(name) {
            None => return Ok(None),
            Some(Value::Number(number)) => number.as_f64().and_then(moment::of_number),
            Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
            Some(Value::String(text)) => moment_of(text.trim()),
            Some(_) => None,
        };
        // Nobody's token has ended in 1970: that is how some write that they do not know.
        let read =
            read.ok_or_else(|| format!("`{}` is no time: RFC 3339, or seconds since 1970", self.written(name)))?;
        Ok((read > 0).then_some(read))
    }

    /// In an object of its own, as we write it, or beside the tokens, as AWS's tools do.
    fn registration(&self) -> Result<Option<Registration>, String> {
        let nested = match self.value(names::REGISTRATION) {
            None => None,
            Some(Value::Object(members)) => Some(Self::new(members.clone())?),
            Some(_) => return Err("`registration` is no object".to_owned()),
        };
        let (own, ends) = match &nested {
            Some(nested) => (nested, nested.moment(names::EXPIRES)?),
            None => (self, self.client_ends()?),
        };
        match (own.text(names::CLIENT_ID)?, own.secret(names::CLIENT_SECRET)?) {
            (Some(id), Some(client_secret)) if id.len() <= LONGEST => {
                Ok(Some(Registration { client_id: id.to_owned(), client_secret, expires_at: ends }))
            }
            (None, Some(_)) => Err("`clientSecret` is there without `clientId`".to_owned()),
            (Some(_), Some(_)) => Err("`clientId` is longer than 16 KiB".to_owned()),
            (_, None) if nested.is_some() => Err("`registration` has no `client_id` and `client_secret`".to_owned()),
            (_, None) => Ok(None),
        }
    }

    fn client_ends(&self) -> Result<Option<UnixMillis>, String> {
        let [first, second] = names::CLIENT_ENDS.map(|name| self.moment(name));
        Ok(first?.or(second?))
    }

    fn is_from_elsewhere(&self) -> bool {
        names::ELSEWHERE.iter().any(|name| self.value(name).is_some())
    }

    /// Whether it says that its tokens are those of a client that was registered for it.
    fn is_of_a_registered_client(&self) -> bool {
        let is_idc =
            |name: &str| self.value(name).and_then(Value::as_str).is_some_and(|how| how.eq_ignore_ascii_case("idc"));
        is_idc("auth") || is_idc("authmethod")
    }

    /// What is not read, and is no secret.
    fn further(self) -> Result<Map<String, Value>, String> {
        let is_from_elsewhere = self.is_from_elsewhere();
        let mut further = Map::new();
        for (plain, written, value) in self.members {
            if is_from_elsewhere && plain == names::PROVIDER {
                further.insert(IDENTITY_PROVIDER.to_owned(), value);
            } else if !is_read(&plain) && !is_secretive(&plain) {
                further.insert(written, value);
            }
        }
        further.retain(|_, value| keeps(value, DEEPEST));
        let size = serde_json::to_string(&further).map_or(usize::MAX, |text| text.len());
        if size > FURTHER {
            return Err("there is more than 8 KiB beside its tokens".to_owned());
        }
        Ok(further)
    }
}

fn is_read(plain: &str) -> bool {
    let read = [names::ACCESS, names::REFRESH, names::EXPIRES, names::REGISTRATION, names::CLIENT_ID, names::DISABLED];
    read.contains(&plain) || names::CLIENT_ENDS.contains(&plain) || LEFT.contains(&plain)
}

fn is_secretive(plain: &str) -> bool {
    SECRETIVE.iter().any(|part| plain.contains(part))
}

/// Takes secrets out of what is within; whether it may be kept: it is not too deep.
fn keeps(value: &mut Value, depth: usize) -> bool {
    match value {
        Value::Array(_) | Value::Object(_) if depth == 0 => false,
        Value::Array(values) => values.iter_mut().all(|value| keeps(value, depth - 1)),
        Value::Object(members) => {
            members.retain(|name, _| !is_secretive(&plain(name)));
            members.values_mut().all(|value| keeps(value, depth - 1))
        }
        _ => true,
    }
}

/// RFC 3339, as some of AWS's tools have written it (`…UTC`, or no zone at all), or a number as text.
fn moment_of(text: &str) -> Option<UnixMillis> {
    if let Ok(number) = text.parse::<f64>() {
        return moment::of_number(number);
    }
    let zoned = text.strip_suffix("UTC").map_or_else(|| text.to_owned(), |time| format!("{}Z", time.trim_end()));
    moment::parse(&zoned).or_else(|| moment::parse(&format!("{zoned}Z")))
}

/// A name out of a document, in a message.
fn shown(name: &str) -> String {
    crate::credential::provider::printable(name).unwrap_or_default()
}
