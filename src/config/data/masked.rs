//! [`Data`] without its secrets, and back: whoever sends `***` in a secret's place means the one that is stored.

use super::super::interpolate;
use super::super::mask;
use super::Data;

/// What stands for a secret.
pub const STARS: &str = "***";

/// `***` where no secret is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`***` stands for a stored secret, and there is none at `{0}`")]
pub struct NotStored(pub String);

impl Data {
    /// With `***` for everything below keys that hold secrets, or sound as if. Where a secret comes from (`file:`, `${NAME}`) is
    /// none.
    #[must_use]
    pub fn masked(&self) -> Self {
        match self {
            Self::List(items) => Self::List(items.iter().map(Self::masked).collect()),
            Self::Map(entries) => {
                Self::Map(entries.iter().map(|(key, value)| (key.clone(), below(key, value))).collect())
            }
            scalar => scalar.clone(),
        }
    }

    /// Whether it holds a secret itself, where a secret belongs.
    pub fn is_literal(&self) -> bool {
        !matches!(self, Self::Null) && self.hidden() != *self
    }

    fn hidden(&self) -> Self {
        match self {
            Self::Null => Self::Null,
            Self::Plain(_) => Self::Text(STARS.to_owned()),
            Self::Text(text) if says_nothing(text) => self.clone(),
            Self::Text(_) => Self::Text(STARS.to_owned()),
            Self::List(items) => Self::List(items.iter().map(Self::hidden).collect()),
            Self::Map(entries) => Self::Map(entries.iter().map(|(key, value)| (key.clone(), value.hidden())).collect()),
        }
    }

    /// With what is stored for every `***` in a secret's place.
    ///
    /// # Errors
    /// Nothing is stored there.
    pub fn restored(&self, stored: Option<&Self>) -> Result<Self, NotStored> {
        restore(self, stored, Secrecy::Open, "")
    }
}

/// Whether a value stands below a key of secrets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Secrecy {
    Open,
    Secret,
}

fn below(key: &str, value: &Data) -> Data {
    if mask::sounds_secret(key) { value.hidden() } else { value.masked() }
}

fn restore(sent: &Data, stored: Option<&Data>, secrecy: Secrecy, path: &str) -> Result<Data, NotStored> {
    Ok(match sent {
        Data::Text(text) if secrecy == Secrecy::Secret && text == STARS => {
            let stored = stored.filter(|stored| stored.text().is_some());
            stored.cloned().ok_or_else(|| NotStored(path.to_owned()))?
        }
        Data::List(items) => {
            let stored = stored.map(Data::items).unwrap_or_default();
            let item = |(index, item): (usize, &Data)| {
                restore(item, stored.get(index), secrecy, &step(path, &index.to_string()))
            };
            Data::List(items.iter().enumerate().map(item).collect::<Result<_, _>>()?)
        }
        Data::Map(entries) => {
            let entry = |(key, value): &(String, Data)| {
                let inner = if mask::sounds_secret(key) { Secrecy::Secret } else { secrecy };
                let stored = stored.and_then(|stored| stored.get(key));
                Ok((key.clone(), restore(value, stored, inner, &step(path, key))?))
            };
            Data::Map(entries.iter().map(entry).collect::<Result<_, _>>()?)
        }
        scalar => scalar.clone(),
    })
}

fn step(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Whether a value under a secret's key holds nothing of the secret: it is empty, or only says where it is.
fn says_nothing(text: &str) -> bool {
    if text.is_empty() || mask::is_reference(text) {
        return true;
    }
    let Ok(pieces) = interpolate::parse(text) else { return false };
    let mut told = Vec::new();
    interpolate::literals(&pieces, &mut told);
    interpolate::bare_variables(text, &pieces, &mut told);
    !interpolate::is_plain(text) && told.is_empty() && !text.contains("$$")
}
