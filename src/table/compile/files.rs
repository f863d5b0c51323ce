//! `files` and `compress` of a route, from what was written to what runs.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::config::model;
use crate::diagnostic::{Diagnostic, Spanned};
use crate::policy::coding::Coding;

use super::super::route::Files;

/// Compiles `files`; the root must be a directory now. (Should it vanish later, its files are 404.)
pub(super) fn compile(written: &model::Files, problems: &mut Vec<Diagnostic>) -> Option<Files> {
    if let Err(why) = check_root(&written.root) {
        let message = format!("the root `{}` cannot be served: {why}", written.root.display());
        let problem = Diagnostic::error("unusable_root", written.root.at, message);
        problems.push(problem.hint("name a directory; a relative path starts at the directory of this file"));
        return None;
    }
    Some(Files {
        root: plain(&written.root).into(),
        index: Arc::from(written.index.as_str()),
        fallback: written.fallback.as_deref().map(Arc::from),
    })
}

fn check_root(root: &Spanned<PathBuf>) -> Result<(), String> {
    match std::fs::metadata(&root.value) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err("it is not a directory".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err("there is no such directory".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Without `.`, for people: `/etc/x/./public` reads like a mistake.
fn plain(path: &Path) -> PathBuf {
    let plain: PathBuf = path.components().filter(|component| *component != Component::CurDir).collect();
    if plain.as_os_str().is_empty() { PathBuf::from(".") } else { plain }
}

/// The coding that is meant.
pub(super) fn coding(written: model::Coding) -> Coding {
    match written {
        model::Coding::Zstd => Coding::Zstd,
        model::Coding::Br => Coding::Br,
        model::Coding::Gzip => Coding::Gzip,
    }
}
