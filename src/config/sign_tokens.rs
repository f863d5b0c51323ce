//! Sign tokens that were set through the control plane, lent to the routes that were read.
//!
//! Flow: when all files are read, [`lend`] looks into `state_dir/sign-tokens` for each route that signs. A route without a
//! token gets the one that is kept for it; one whose token is a file gets what stands beside it, the next and the previous
//! one. What is read is part of the configuration: of its digest, of what is watched.
//!
//! Invariants: a token that is missing, damaged or weak is an error, so that nothing is signed without it in silence
//! (`what_cannot_be_used_is_an_error`); what the configuration itself says goes first (`what_is_written_goes_first`).

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::Overlay;
use super::decoder::Gathered;
use super::document::Parts;
use super::model::{Sign, SignScheme};
use super::secrets::reason;
use crate::diagnostic::{Diagnostic, Pos, Severity, Spanned};
use crate::sealed::Sealer;
use crate::sign_token::index::{self, Index};
use crate::sign_token::{self, Held, Home, Kept, RouteName, record};

const SET_AGAIN: &str = "set the token again through the admin API, or bring the file back from a backup";
const GIVE_THE_KEY: &str = "give `tokens.encryption_key` the key that it was encrypted with, or set the token again";

/// Gives the routes what is kept for them. `dir`: the first file's directory.
pub fn lend(parts: &mut Parts, gathered: &mut Gathered<'_>, overlay: &Overlay, dir: &Path) {
    if !parts.signed().any(|(_, sign)| takes(sign)) {
        return;
    }
    let folder = parts.state_dir(dir).join(sign_token::DIRECTORY);
    gathered.watched.insert(folder.clone());
    let names = match names(&folder, overlay) {
        Ok(names) if names.is_empty() => return,
        Ok(names) => names,
        // Who only checks a configuration need not be able to read what the process keeps.
        Err(error) => return gathered.note(closed(&error, parts.is_somebody_elses(dir))),
    };
    let key = parts.sealing_key();
    let mut lender = Lender { folder, names, overlay, key, index: Index::default(), gathered };
    lender.read_index();
    for (name, sign) in parts.signed_mut() {
        lender.route(name, sign);
    }
}

/// Whether anything that is kept could matter to a route.
fn takes(sign: &Sign) -> bool {
    sign.scheme != SignScheme::None
}

/// The names in the directory, as they would be.
fn names(folder: &Path, overlay: &Overlay) -> io::Result<BTreeSet<String>> {
    let mut names: BTreeSet<String> = overlay.names_in(folder).collect();
    match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        there => {
            for entry in there? {
                names.extend(entry?.file_name().into_string().ok());
            }
        }
    }
    Ok(names)
}

/// The directory is there, and cannot be read.
fn closed(error: &io::Error, somebody_elses: bool) -> Diagnostic {
    let message = format!("`{}` in the state directory cannot be read: {}", sign_token::DIRECTORY, reason(error));
    let hint = "the sign tokens in it have not been looked at; ask as the user that the process runs as";
    let problem =
        Diagnostic { at: None, ..Diagnostic::error("sign_token_unreadable", Pos::default(), message).hint(hint) };
    if somebody_elses { Diagnostic { severity: Severity::Warning, ..problem } } else { problem }
}

struct Lender<'l, 'e> {
    folder: PathBuf,
    names: BTreeSet<String>,
    overlay: &'l Overlay,
    key: Option<Sealer>,
    index: Index,
    gathered: &'l mut Gathered<'e>,
}

impl Lender<'_, '_> {
    fn read_index(&mut self) {
        let Some(Ok(bytes)) = self.file(index::NAME) else { return };
        match Index::read(&bytes) {
            Some(index) => self.index = index,
            None => {
                let message = "the list of routes that have a sign token in the state directory is damaged";
                let nowhere = Diagnostic::error("sign_token_unreadable", Pos::default(), message);
                let hint = format!("bring `{}/{}` back from a backup", sign_token::DIRECTORY, index::NAME);
                self.gathered.note(Diagnostic { at: None, ..nowhere.hint(hint) });
            }
        }
    }

    /// A file of the directory; `None`: there is none.
    fn file(&mut self, name: &str) -> Option<io::Result<Vec<u8>>> {
        if !self.names.contains(name) {
            return None;
        }
        let path = self.folder.join(name);
        let read = match self.overlay.read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Ok(bytes) if bytes.len() > record::LARGEST && name != index::NAME => {
                Some(Err(io::Error::other("it is larger than 64 KiB")))
            }
            read => Some(read),
        };
        let content = read.as_ref().and_then(|read| read.as_ref().ok());
        self.gathered.depends_on(&path, content.map(Vec::as_slice));
        read
    }

    fn route(&mut self, name: RouteName<'_>, sign: &mut Sign) {
        if !takes(sign) {
            return;
        }
        let kept = match self.file(&record::file_name(name)) {
            None if sign.tokens.home == Home::Nowhere && self.index.has(name) => return self.missing(name, sign),
            None => return,
            Some(Err(error)) => {
                return self.unreadable(name, sign, &format!("cannot be read: {}", reason(&error)), SET_AGAIN);
            }
            Some(Ok(bytes)) => match record::read(name, &bytes, self.key.as_ref()) {
                Ok(kept) => kept,
                Err(fault @ (record::Fault::NoKey | record::Fault::Sealed)) => {
                    return self.unreadable(name, sign, &fault.to_string(), GIVE_THE_KEY);
                }
                Err(fault) => return self.unreadable(name, sign, &fault.to_string(), SET_AGAIN),
            },
        };
        match (&sign.tokens.home, &kept.current) {
            (Home::ByHand | Home::File(_), Some(_)) => self.unused(sign),
            (Home::File(_), None) => self.beside(sign, kept),
            (Home::ByHand, None) => {}
            _ => self.lend(name, sign, kept),
        }
    }

    /// Of a route whose token is a file: the others.
    fn beside(&mut self, sign: &mut Sign, kept: Kept) {
        let kept = kept.beside(sign.token.as_ref().map(|token| &token.value));
        self.check(sign, [kept.next.as_ref(), kept.previous.as_ref()].into_iter().flatten());
        (sign.tokens.next, sign.tokens.previous) = (kept.next, kept.previous);
    }

    fn lend(&mut self, name: RouteName<'_>, sign: &mut Sign, kept: Kept) {
        let Some(current) = &kept.current else {
            // Removed on purpose; then it is in no index.
            if self.index.has(name) {
                return self.missing(name, sign);
            }
            sign.tokens.home = Home::LetGo;
            return;
        };
        self.check(sign, [Some(current), kept.next.as_ref(), kept.previous.as_ref()].into_iter().flatten());
        sign.token = Some(Spanned::new(current.token.clone(), sign.at));
        sign.tokens.home = Home::Kept;
        sign.tokens.set_at = current.set_at;
        (sign.tokens.next, sign.tokens.previous) = (kept.next, kept.previous);
    }

    fn check<'h>(&mut self, sign: &Sign, held: impl Iterator<Item = &'h Held>) {
        for clause in held.filter_map(|held| sign_token::unfit(held.token.expose())) {
            let message = format!("a sign token that is kept for this route {clause}");
            self.gathered.note(Diagnostic::error("weak_sign_token", sign.at, message).hint("set another one"));
        }
    }

    fn missing(&mut self, name: RouteName<'_>, sign: &Sign) {
        let message = format!("the sign token that was set for this route is missing: {} is not there", path(name));
        self.gathered.note(Diagnostic::error("sign_token_missing", sign.at, message).hint(SET_AGAIN));
    }

    fn unreadable(&mut self, name: RouteName<'_>, sign: &Sign, clause: &str, hint: &str) {
        let message = format!("the file with this route's sign token, {}, {clause}", path(name));
        self.gathered.note(Diagnostic::error("sign_token_unreadable", sign.at, message).hint(hint));
    }

    fn unused(&mut self, sign: &Sign) {
        let message =
            "another sign token was set for this route through the admin API; the one that is written here is used";
        let hint = "remove `token` here, or remove the other one through the admin API";
        self.gathered.note(Diagnostic::warning("unused_sign_token", sign.at, message).hint(hint));
    }
}

/// Below the state directory.
fn path(name: RouteName<'_>) -> String {
    format!("`{}/{}`", sign_token::DIRECTORY, record::file_name(name))
}
