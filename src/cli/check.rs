//! `countersign check`: everything that `run` would refuse, binding nothing and sending nothing.
//!
//! Reads all files, compiles the table, and prints what is wrong, all at once. Results go to standard output.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::{self, Env, Loading, Model, Sources, render};
use crate::diagnostic::Diagnostic;
use crate::table::compile::{Stamp, compile};

/// Exit codes.
const HOLDS: u8 = 0;
const BROKEN: u8 = 1;
const USAGE: u8 = 2;
const WARNED: u8 = 3;

/// The arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration [default: conf/countersign.yaml, then /etc/countersign/countersign.yaml]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How the findings are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Fail on warnings too
    #[arg(long)]
    pub strict: bool,
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: excerpt, caret, hint
    #[default]
    Human,
    /// One JSON object
    Json,
    /// Annotations of GitHub's workflows
    Github,
}

/// Checks, prints, and answers the exit code.
pub fn run(args: Args) -> u8 {
    let path = super::config_path(args.config.as_deref());
    if args.config.is_none() && !path.exists() {
        let _ = writeln!(
            std::io::stderr(),
            "error: no configuration: neither {} nor {} is there; name one with -c FILE",
            super::NEAR,
            super::INSTALLED
        );
        return USAGE;
    }
    let env = |name: &str| std::env::var(name).ok();
    let report = examine(&path, &env, compiled);
    let mut out = std::io::stdout().lock();
    let color = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // A reader that has gone away (`check | head`) does not change the verdict.
    let _ = report.print(&mut out, args.format, color);
    report.exit_code(args.strict)
}

/// What one check found.
struct Report {
    sources: Sources,
    diagnostics: Vec<Diagnostic>,
    counts: Option<Counts>,
    took: Duration,
}

/// How large the configuration is.
#[derive(Clone, Copy)]
struct Counts {
    projects: usize,
    routes: usize,
}

impl Counts {
    fn of(model: &Model) -> Self {
        let environments = model.projects.iter().flat_map(|project| &project.environments);
        Self { projects: model.projects.len(), routes: environments.map(|environment| environment.routes.len()).sum() }
    }
}

fn compiled(model: Model, sources: &Sources, sha256: [u8; 32]) -> Vec<Diagnostic> {
    let stamp = Stamp { generation: 1, sha256, now: crate::clock::unix_millis() };
    compile(model, sources, stamp, None).diagnostics
}

/// Loads and compiles. `compile` is only called with a model that has no error so far.
fn examine(path: &Path, env: Env<'_>, compile: impl FnOnce(Model, &Sources, [u8; 32]) -> Vec<Diagnostic>) -> Report {
    let start = Instant::now();
    let Loading { sources, mut diagnostics, model, sha256, .. } = config::load(path, env);
    let counts = model.as_ref().map(Counts::of);
    if let Some(model) = model {
        let more: Vec<Diagnostic> =
            compile(model, &sources, sha256).into_iter().filter(|one| !diagnostics.contains(one)).collect();
        diagnostics.extend(more);
        diagnostics.sort_by_key(|diagnostic| diagnostic.at);
    }
    Report { sources, diagnostics, counts, took: start.elapsed() }
}

impl Report {
    fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count()
    }

    fn warnings(&self) -> usize {
        self.diagnostics.len() - self.errors()
    }

    fn exit_code(&self, strict: bool) -> u8 {
        match (self.errors(), self.warnings()) {
            (0, 0) => HOLDS,
            (0, _) if strict => WARNED,
            (0, _) => HOLDS,
            _ => BROKEN,
        }
    }

    fn print(&self, out: &mut impl Write, format: Format, color: bool) -> std::io::Result<()> {
        match format {
            Format::Human => {
                if !self.diagnostics.is_empty() {
                    writeln!(out, "{}\n", render::human(&self.sources, &self.diagnostics, color))?;
                }
                writeln!(out, "{}", self.summary())
            }
            Format::Json => {
                let diagnostics: Vec<_> =
                    self.diagnostics.iter().map(|diagnostic| render::json(&self.sources, diagnostic)).collect();
                let all = serde_json::json!({
                    "errors": self.errors(), "warnings": self.warnings(), "diagnostics": diagnostics,
                });
                writeln!(out, "{all:#}")
            }
            Format::Github if self.diagnostics.is_empty() => Ok(()),
            Format::Github => writeln!(out, "{}", render::github(&self.sources, &self.diagnostics)),
        }
    }

    fn summary(&self) -> String {
        let mut size = vec![plural(self.sources.files.len(), "file")];
        if let Some(counts) = self.counts {
            size.insert(0, plural(counts.projects, "project"));
            size.insert(0, plural(counts.routes, "route"));
        }
        let verdict = match self.errors() {
            0 => "the configuration holds",
            _ => "the configuration does not hold",
        };
        format!(
            "{verdict}: {}, {} ({}, checked in {} ms)",
            plural(self.errors(), "error"),
            plural(self.warnings(), "warning"),
            size.join(", "),
            self.took.as_millis(),
        )
    }
}

fn plural(count: usize, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        _ => format!("{count} {thing}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "listeners: { http: { address: \"127.0.0.1:0\" } }\n\
        projects: { p: { environments: { production: { routes: [{ prefix: /, respond: {} }] } } } }\n";

    fn check(text: &str, compile: impl FnOnce(Model, &Sources, [u8; 32]) -> Vec<Diagnostic>) -> Report {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.yaml");
        std::fs::write(&path, text).unwrap();
        examine(&path, &|_| None, compile)
    }

    fn printed(report: &Report, format: Format) -> String {
        let mut out = Vec::new();
        report.print(&mut out, format, false).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_good_configuration_holds_and_is_counted() {
        let report = check(GOOD, |_, _, _| Vec::new());
        assert_eq!(report.exit_code(true), HOLDS);
        let text = printed(&report, Format::Human);
        assert!(
            text.starts_with("the configuration holds: 0 errors, 0 warnings (1 route, 1 project, 1 file,"),
            "{text}"
        );
        assert_eq!(printed(&report, Format::Github), "");
    }

    #[test]
    fn the_compilers_findings_are_added_in_file_order_and_once() {
        let at = |line| crate::diagnostic::Pos { line, column: 1, len: 1, ..Default::default() };
        let text = format!("{GOOD}clients: {{ c: {{ token: a-literal-token-of-some-length }} }}\n");
        let report = check(&text, |_, _, _| {
            let again = Diagnostic::warning("literal_secret", at(9), "x");
            vec![again.clone(), Diagnostic::error("unknown_group", at(2), "no such group")]
        });
        let codes: Vec<_> = report.diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
        assert_eq!(codes, ["unknown_group", "literal_secret", "literal_secret"]);
        assert_eq!(report.exit_code(false), BROKEN);
    }

    #[test]
    fn warnings_fail_only_when_strict() {
        let text = format!("{GOOD}clients: {{ c: {{ token: a-literal-token-of-some-length }} }}\n");
        let report = check(&text, |_, _, _| Vec::new());
        assert_eq!((report.exit_code(false), report.exit_code(true)), (HOLDS, WARNED));
        let json: serde_json::Value = serde_json::from_str(&printed(&report, Format::Json)).unwrap();
        assert_eq!((&json["errors"], &json["warnings"]), (&0.into(), &1.into()));
        assert_eq!(json["diagnostics"][0]["code"], "literal_secret");
        assert_eq!(json["diagnostics"][0]["line"], 3);
        assert!(printed(&report, Format::Github).starts_with("::warning file="));
    }

    #[test]
    fn a_broken_configuration_is_never_compiled() {
        let report = check("listeners: 1\n", |_, _, _| panic!("compiled"));
        assert_eq!(report.exit_code(false), BROKEN);
        assert!(printed(&report, Format::Human).contains("does not hold"));
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error_without_a_place() {
        let report = examine(Path::new("/nonexistent/c.yaml"), &|_| None, |_, _, _| panic!("compiled"));
        assert_eq!(report.exit_code(false), BROKEN);
        assert!(printed(&report, Format::Human).starts_with("error[unreadable_file]:"));
    }
}
