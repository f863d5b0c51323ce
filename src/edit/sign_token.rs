//! Sign tokens of routes: set, staged beside the one that signs, activated, taken back, removed. Never read back.
//!
//! Flow: [`plan`] says which files will say what: the route's record in the state directory ([`crate::sign_token`]) or, where the
//! configuration names a file, that file and a record of what stands beside it; [`apply`] makes it so, which reloads.
//!
//! Where two files change, the record goes first and holds the old and the new token: whatever is cut short leaves a token that
//! signs, and what is twice the same is read as once ([`Kept::beside`]).
//!
//! Invariants: what the configuration says in its own text is never touched (`what_stands_in_the_configuration_is_refused`); of two
//! who set a token at once the later has it whole (`of_two_at_once_one_is_whole`).

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::UnixMillis;
use crate::config::sealing_key;
use crate::private;
use crate::reload::Report;
use crate::secret::Secret;
use crate::sign_token::index::{self, Index};
use crate::sign_token::{self, Held, Home, Kept, RouteName, record};
use crate::table::{Route, Table};

use super::dashboard::Dashboard;
use super::file::{self, Seen};
use super::{Change, Editor, Refused};

/// How often a change is planned anew because a file changed under its hands.
const ATTEMPTS: usize = 20;

/// What is to become of a route's tokens.
#[derive(Clone, Debug)]
pub enum Wish {
    /// This one signs, and there is no other.
    Set(Secret),
    /// This one is the next.
    Stage(Secret),
    /// The next one signs; the one that did is the previous one.
    Activate,
    /// The previous one signs; the one that did is the next.
    RollBack,
    /// There is no next one.
    DropNext,
    /// There is no previous one.
    DropPrevious,
    /// There is none at all.
    LetGo,
}

/// Why a token was not changed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The table has no such route.
    #[error("there is no such route")]
    UnknownRoute,
    /// It signs nothing.
    #[error("the route signs nothing: give it `sign` with a scheme first")]
    NotSigned,
    /// What is written there is the operator's.
    #[error(
        "the route's token stands in the configuration, at {0}: change it there, or remove `token` and set it here"
    )]
    ByHand(String),
    /// It is shorter, longer, or no text for a header.
    #[error("the sign token {0}")]
    Unfit(String),
    /// Nothing signs yet.
    #[error("the route has no token yet: set one first")]
    NoCurrent,
    /// Nothing is staged.
    #[error("no next token is staged")]
    NoNext,
    /// Nothing was replaced.
    #[error("there is no previous token")]
    NoPrevious,
    /// Taking back would lose it.
    #[error("a next token is staged: activate or remove it first")]
    Staged,
    /// What is kept cannot be made sense of.
    #[error("what is kept for this route {0}: set a token, which replaces it")]
    Unreadable(record::Fault),
    /// It cannot be read or made.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory.
    #[error(transparent)]
    Directory(#[from] private::DirectoryError),
    /// The system has no randomness.
    #[error("no random bytes to be had")]
    Random,
    /// The change itself.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// The route with that prefix, as the table has it or as it is written.
pub fn find<'t>(table: &'t Table, name: RouteName<'_>) -> Option<&'t Arc<Route>> {
    let project = table.matcher.projects().iter().find(|project| *project.name == *name.project)?;
    let environment = project.environment(name.environment)?;
    let prefix = match name.prefix.trim_end_matches('/') {
        "" => "/",
        trimmed => trimmed,
    };
    let written = || {
        let mut routes = table.routes.iter();
        routes.find(|route| route.written_name() == RouteName { prefix, ..name })
    };
    environment.routes.exactly(prefix).or_else(written)
}

/// Does it. Blocks.
///
/// # Errors
/// See [`Fault`].
pub fn apply(editor: &Editor, name: RouteName<'_>, wish: &Wish, now: UnixMillis) -> Result<Report, Fault> {
    let mut attempt = 1;
    loop {
        let alone = editor.alone();
        let changes = plan(&editor.reloader().current(), name, wish, now)?;
        match alone.apply(&changes) {
            Err(Refused::Changed(_)) if attempt < ATTEMPTS => attempt += 1,
            outcome => return Ok(outcome?),
        }
    }
}

/// Which files will say what. Blocks; makes the directory if there is none, and nothing else.
///
/// # Errors
/// See [`Fault`].
pub fn plan(table: &Table, name: RouteName<'_>, wish: &Wish, now: UnixMillis) -> Result<Vec<Change>, Fault> {
    let route = find(table, name).ok_or(Fault::UnknownRoute)?;
    let sign = route.sign.as_ref().filter(|sign| sign.scheme.is_some()).ok_or(Fault::NotSigned)?;
    let home = sign.home();
    if *home == Home::ByHand && !matches!(wish, Wish::LetGo) {
        return Err(Fault::ByHand(route.place()));
    }
    if let Wish::Set(token) | Wish::Stage(token) = wish
        && let Some(clause) = sign_token::unfit(token.expose())
    {
        return Err(Fault::Unfit(clause));
    }
    let desk = Desk::open(table, route.written_name())?;
    let made_here = *route.file == *Dashboard::path(&table.started_with.admin.state_dir).display().to_string();
    match home {
        // Who makes routes chooses that path: it may be read from there, never written.
        Home::File(_) if made_here => Err(Fault::ByHand(route.place())),
        Home::File(path) => desk.in_a_file(path, route, wish, now),
        Home::ByHand => desk.beside_a_written_one(route),
        Home::Nowhere | Home::LetGo if matches!(wish, Wish::LetGo) => Err(Fault::NoCurrent),
        Home::Nowhere | Home::LetGo | Home::Kept => desk.kept(wish, now),
    }
}

/// The changes that give a route a token which is only being made: whoever adds it applies them together with his own.
///
/// # Errors
/// See [`Fault`].
pub fn with_a_new_route(
    table: &Table,
    name: RouteName<'_>,
    token: &Secret,
    now: UnixMillis,
) -> Result<Vec<Change>, Fault> {
    if let Some(clause) = sign_token::unfit(token.expose()) {
        return Err(Fault::Unfit(clause));
    }
    Desk::open(table, name)?.kept(&Wish::Set(token.clone()), now)
}

/// What lies there of one route.
struct Desk<'d> {
    table: &'d Table,
    name: RouteName<'d>,
    folder: PathBuf,
    record: PathBuf,
    seen: Option<Seen>,
}

impl<'d> Desk<'d> {
    fn open(table: &'d Table, name: RouteName<'d>) -> Result<Self, Fault> {
        let folder = table.started_with.admin.state_dir.join(sign_token::DIRECTORY);
        private::directory(&folder)?;
        let record = folder.join(record::file_name(name));
        let seen = look(&record)?;
        Ok(Self { table, name, folder, record, seen })
    }

    /// What is kept, as far as it can be read.
    fn read(&self) -> Result<Kept, Fault> {
        let Some(seen) = &self.seen else { return Ok(Kept::default()) };
        let key = sealing_key(&self.table.tokens);
        record::read(self.name, &seen.bytes, key.as_ref()).map_err(Fault::Unreadable)
    }

    /// The record says this from now on.
    fn record(&self, kept: &Kept) -> Result<Change, Fault> {
        let key = sealing_key(&self.table.tokens);
        let bytes = record::write(self.name, kept, key.as_ref()).ok_or(Fault::Random)?;
        let before = self.seen.as_ref().map(|seen| seen.digest);
        Ok(Change { path: self.record.clone(), before, after: Some(bytes.to_vec()) })
    }

    /// The index has the route, or has it not; `None`: it says so already.
    fn index(&self, kept: bool) -> Result<Option<Change>, Fault> {
        let path = self.folder.join(index::NAME);
        let seen = look(&path)?;
        let known = match &seen {
            None => Index::default(),
            Some(seen) => Index::read(&seen.bytes).ok_or_else(|| Fault::Io {
                path: path.clone(),
                source: io::Error::other("it is damaged; bring it back from a backup"),
            })?,
        };
        if known.has(self.name) == kept {
            return Ok(None);
        }
        let after = Some(known.with(self.name, kept).write());
        Ok(Some(Change { path, before: seen.map(|seen| seen.digest), after }))
    }

    /// Of a route whose token is kept in the state directory, or will be.
    fn kept(&self, wish: &Wish, now: UnixMillis) -> Result<Vec<Change>, Fault> {
        if let Wish::Set(token) = wish {
            let only = Kept { current: Some(held(token, now)), ..Kept::default() };
            // What is in the index is missed when it is not there, so that it comes last, and goes first.
            return Ok([Some(self.record(&only)?), self.index(true)?].into_iter().flatten().collect());
        }
        if let Wish::LetGo = wish {
            return Ok([self.index(false)?, Some(self.record(&Kept::default())?)].into_iter().flatten().collect());
        }
        let Kept { current, next, previous } = self.read()?;
        let current = Some(current.ok_or(Fault::NoCurrent)?);
        let kept = match wish {
            Wish::Stage(token) => Kept { current, next: Some(held(token, now)), previous },
            Wish::Activate => {
                Kept { current: Some(since(next.ok_or(Fault::NoNext)?, now)), next: None, previous: current }
            }
            Wish::RollBack if next.is_some() => return Err(Fault::Staged),
            Wish::RollBack => {
                Kept { current: Some(since(previous.ok_or(Fault::NoPrevious)?, now)), next: current, previous: None }
            }
            Wish::DropNext => next.map(|_| Kept { current, next: None, previous }).ok_or(Fault::NoNext)?,
            _ => previous.map(|_| Kept { current, next, previous: None }).ok_or(Fault::NoPrevious)?,
        };
        Ok(vec![self.record(&kept)?])
    }

    /// Of a route whose configuration names a file. The record holds what stands beside it, and during a change both.
    fn in_a_file(&self, path: &Path, route: &Route, wish: &Wish, now: UnixMillis) -> Result<Vec<Change>, Fault> {
        let seen = look(path)?;
        let current = seen.as_ref().and_then(|seen| token_of(&seen.bytes));
        let file = |token: &Secret| Change {
            path: path.to_owned(),
            before: seen.as_ref().map(|seen| seen.digest),
            after: Some(format!("{}\n", token.expose()).into_bytes()),
        };
        let only = |kept: Kept| Ok(vec![self.record(&kept)?]);
        match wish {
            Wish::Set(token) => {
                let cleared = self.seen.as_ref().map(|_| self.record(&Kept::default())).transpose()?;
                let index = self.index(false)?;
                return Ok([index, cleared, Some(file(token))].into_iter().flatten().collect());
            }
            Wish::LetGo => return Err(Fault::ByHand(route.place())),
            _ => {}
        }
        let held_now = current.map(|token| Held { token, set_at: modified(path) }).ok_or(Fault::NoCurrent)?;
        let kept = Kept { current: None, ..self.read()? }.beside(Some(&held_now.token));
        match (wish, kept.next, kept.previous) {
            (Wish::Stage(token), _, previous) => only(Kept { current: None, next: Some(held(token, now)), previous }),
            (Wish::Activate, Some(next), _) => {
                let both = Kept { current: None, next: Some(next.clone()), previous: Some(held_now) };
                Ok(vec![self.record(&both)?, file(&next.token)])
            }
            (Wish::RollBack, None, Some(previous)) => {
                let both = Kept { current: None, next: Some(held_now), previous: Some(previous.clone()) };
                Ok(vec![self.record(&both)?, file(&previous.token)])
            }
            (Wish::RollBack, Some(_), _) => Err(Fault::Staged),
            (Wish::DropNext, Some(_), previous) => only(Kept { current: None, next: None, previous }),
            (Wish::DropPrevious, next, Some(_)) => only(Kept { current: None, next, previous: None }),
            (Wish::Activate | Wish::DropNext, None, _) => Err(Fault::NoNext),
            _ => Err(Fault::NoPrevious),
        }
    }

    /// Of a route whose configuration has the token itself: what is kept for it has no use, and may go.
    fn beside_a_written_one(&self, route: &Route) -> Result<Vec<Change>, Fault> {
        if self.seen.is_none() {
            return Err(Fault::ByHand(route.place()));
        }
        Ok([self.index(false)?, Some(self.record(&Kept::default())?)].into_iter().flatten().collect())
    }
}

fn held(token: &Secret, now: UnixMillis) -> Held {
    Held { token: token.clone(), set_at: Some(now) }
}

/// What signs from now on was set now, whenever it was staged.
fn since(held: Held, now: UnixMillis) -> Held {
    Held { set_at: Some(now), ..held }
}

/// A secret file's content, without the one line end behind it.
fn token_of(bytes: &[u8]) -> Option<Secret> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    (!text.is_empty()).then(|| Secret::new(text))
}

fn modified(path: &Path) -> Option<UnixMillis> {
    let since = std::fs::metadata(path).ok()?.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

fn look(path: &Path) -> Result<Option<Seen>, Fault> {
    file::look(path).map_err(|source| Fault::Io { path: path.to_owned(), source })
}
