//! `countersign config show`: the configuration with defaults filled in, or where each value came from.
//!
//! Exit codes: 0 shown, 1 the configuration does not hold, 2 usage.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use crate::config::{self, Effective, Line, Loading, render};

/// The arguments of `config`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the configuration as it is understood; secrets are shown as ***
    Show(Show),
}

/// The arguments of `config show`.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// With defaults filled in, as YAML (the default)
    #[arg(long, conflicts_with = "origin")]
    effective: bool,
    /// Where each value came from: file:line:column, or `default`
    #[arg(long)]
    origin: bool,
    /// The configuration [default: conf/countersign.yaml, then /etc/countersign/countersign.yaml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Shows it, and answers the exit code.
pub fn run(args: Args) -> u8 {
    let Action::Show(args) = args.action;
    let path = super::config_path(args.config.as_deref());
    let Loading { sources, diagnostics, model, .. } = config::load(&path, &|name| super::environment(name));
    let (text, code) = match model {
        Some(model) => (shown(&Effective::of(&model, &sources), &args), 0),
        None if args.json => {
            let all: Vec<Value> = diagnostics.iter().map(|one| render::json(&sources, one)).collect();
            let errors = diagnostics.iter().filter(|one| one.is_error()).count();
            let all = json!({ "errors": errors, "warnings": all.len() - errors, "diagnostics": all });
            (format!("{all:#}"), 1)
        }
        None => (render::human(&sources, &diagnostics, std::io::stdout().is_terminal()), 1),
    };
    // A reader that goes away early is no error.
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
    code
}

fn shown(effective: &Effective, args: &Show) -> String {
    match (args.origin, args.json) {
        (true, false) => origins(&effective.lines()),
        (true, true) => format!("{:#}", json!(effective.lines())),
        (false, true) => format!("{:#}", effective.json()),
        (false, false) => effective.yaml(),
    }
}

/// One line each: where from, key, value.
fn origins(lines: &[Line]) -> String {
    let place = |line: &Line| line.origin.as_ref().map_or_else(|| "default".to_owned(), ToString::to_string);
    let width = lines.iter().map(|line| place(line).chars().count()).max().unwrap_or_default();
    let lines = lines.iter().map(|line| format!("{:width$}  {}: {}", place(line), line.key, line.value));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::testing::parse;

    const EDGE: &str = "\
listeners: { http: { address: \"127.0.0.1:8080\" } }
clients: { dev: { token: \"a-literal-token-that-nobody-may-see\" } }
projects: { demo: { environments: { production: { routes: [{ prefix: /, respond: { body: ok } }] } } } }
";

    fn show(arguments: &[&str]) -> String {
        let Loading { sources, model, .. } = config::load_text("edge.yaml", EDGE, Path::new(""), &|_| None);
        let Action::Show(args) = parse::<Args>(&[&["show"], arguments].concat()).unwrap().action;
        shown(&Effective::of(&model.unwrap(), &sources), &args)
    }

    #[test]
    fn everything_is_shown_but_secrets() {
        for arguments in [&[][..], &["--effective"], &["--origin"], &["--json"], &["--origin", "--json"]] {
            let shown = show(arguments);
            assert!(shown.contains("127.0.0.1:8080") && shown.contains("***"), "{shown}");
            assert!(!shown.contains("nobody-may-see"), "{shown}");
        }
        assert!(parse::<Args>(&["show", "--effective", "--origin"]).is_err());
    }

    #[test]
    fn each_line_says_where_from() {
        let shown = show(&["--origin"]);
        assert!(shown.contains("edge.yaml:1:31  listeners.http.address: 127.0.0.1:8080"), "{shown}");
        assert!(shown.contains("default         listeners.http.h2c: false"), "{shown}");
    }

    #[test]
    fn the_exit_code_says_whether_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edge.yaml");
        let code = |text: &str, json: &[&str]| {
            std::fs::write(&path, text).unwrap();
            run(parse(&[&["show", "-c", path.to_str().unwrap()], json].concat()).unwrap())
        };
        assert_eq!((code(EDGE, &[]), code("nonsense: 1", &[]), code("nonsense: 1", &["--json"])), (0, 1, 1));
    }
}
