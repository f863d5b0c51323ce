//! Which environment of a project serves by default: read, and switched by editing that one scalar of the file that has the project.
//!
//! Flow: the files are read as they are now ([`Reloader::load`](crate::reload::Reloader::load)), so that what was edited by hand a moment ago
//! counts; the file that names the project is edited ([`super::scalar`]) and handed to [`Editor::apply`].

use std::path::{Path, PathBuf};

use crate::config::place::NoPlace;
use crate::config::{Loading, Model, Overlay, Sources};
use crate::diagnostic::FileId;
use crate::reload::{Outcome, Report, Trigger};

use super::file::{self, Seen};
use super::{Change, Digest, Editor, Note, Refused, scalar};

/// It serves a request only where a rule lists it.
const LOCAL: &str = "local";

/// How a project stands in its file.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Which serves by default.
    pub environment: String,
    /// All that it has, in the order written.
    pub environments: Vec<String>,
    /// The file that names the project.
    pub file: PathBuf,
    /// Where the environment is written, or else the project: the line, from 1.
    pub line: u32,
    /// Of the file, as it is now.
    pub digest: Digest,
}

/// Why an environment was not switched.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// There is no such project.
    #[error("there is no project `{0}`")]
    UnknownProject(String),
    /// The project has no such environment.
    #[error("project `{project}` has no environment `{environment}`; it has {known}")]
    UnknownEnvironment {
        /// The project.
        project: String,
        /// What was asked for.
        environment: String,
        /// What there is.
        known: String,
    },
    /// `local` never serves by default.
    #[error(
        "`local` cannot be the environment that serves by default: it serves only where a rule of `choose_environment` lists it"
    )]
    Local,
    /// The file says something else than what whoever asks has seen.
    #[error("{0} says something else than what you have seen; look at it again")]
    Seen(PathBuf),
    /// A person has to do it.
    #[error("{place}: `environment` of project `{project}` cannot be edited from here: {why}; edit that line by hand")]
    ByHand {
        /// File and line.
        place: String,
        /// Whose.
        project: String,
        /// What stands in the way.
        why: NoPlace,
    },
    /// See [`Refused`].
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl Editor {
    /// How a project stands, by what the files say now. Blocks.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn environment(&self, project: &str) -> Result<Standing, Fault> {
        self.stand(project).map(|(standing, _)| standing)
    }

    /// Makes another environment the one that serves by default, in effect when this returns, and answers the file's new digest. Blocks.
    /// `expected`: whether the file is the one that whoever asks has seen; `who` it is, for whoever takes it back.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn switch_environment(
        &self,
        project: &str,
        to: &str,
        expected: impl FnOnce(&Digest) -> bool,
        who: &str,
    ) -> Result<(Report, Digest), Fault> {
        let alone = self.alone();
        let (standing, seen) = self.stand(project)?;
        if !expected(&standing.digest) {
            return Err(Fault::Seen(standing.file));
        }
        if !standing.environments.iter().any(|known| known == to) {
            let known = standing.environments.join(", ");
            return Err(Fault::UnknownEnvironment { project: project.into(), environment: to.into(), known });
        }
        if to == LOCAL {
            return Err(Fault::Local);
        }
        if standing.environment == to {
            let report = self.reloader().reload(Trigger::Api);
            if report.outcome == Outcome::Rejected {
                return Err(Refused::Invalid(Box::new(report)).into());
            }
            return Ok((report, standing.digest));
        }
        let edited = scalar::set(&seen.bytes, &["projects", project, "environment"], to);
        let after = edited.map_err(|why| Fault::ByHand {
            place: place(&standing.file, if why.line > 0 { why.line } else { standing.line }),
            project: project.to_owned(),
            why,
        })?;
        let digest = file::digest(&after);
        let change = Change { path: standing.file, before: Some(seen.digest), after: Some(after) };
        let what = format!("{project}: environment {} -> {to}", standing.environment);
        Ok((alone.apply_as(&Note { who: who.to_owned(), what }, &[change])?, digest))
    }

    fn stand(&self, project: &str) -> Result<(Standing, Seen), Fault> {
        if self.reloader().path().is_none() {
            return Err(Refused::NoFile.into());
        }
        let Loading { sources, model, .. } = self.reloader().load(&Overlay::default());
        let Some(model) = model else { return Err(self.broken().into()) };
        find(&model, &sources, project)
    }

    /// What is wrong with files that do not hold.
    fn broken(&self) -> Refused {
        match self.judge(&[]) {
            Err(refused) => refused,
            // Mended in this very moment.
            Ok(_) => Refused::Changed(self.reloader().path().map(Path::to_owned).unwrap_or_default()),
        }
    }
}

fn find(model: &Model, sources: &Sources, name: &str) -> Result<(Standing, Seen), Fault> {
    let project = model.projects.iter().find(|project| *project.name == name);
    let project = project.ok_or_else(|| Fault::UnknownProject(name.to_owned()))?;
    let file = path(sources, project.name.at.file);
    let seen = file::look(&file).map_err(|source| Refused::Write { path: file.clone(), source })?;
    let seen = seen.ok_or_else(|| Refused::Changed(file.clone()))?;
    let standing = Standing {
        environment: project.environment.value.clone(),
        environments: project.environments.iter().map(|it| it.name.value.clone()).collect(),
        line: project.environment.at.line,
        digest: seen.digest,
        file,
    };
    Ok((standing, seen))
}

fn path(sources: &Sources, file: FileId) -> PathBuf {
    sources.files.get(usize::from(file.0)).map(|source| source.path.clone()).unwrap_or_default()
}

fn place(file: &Path, line: u32) -> String {
    format!("{}:{line}", file.display())
}
