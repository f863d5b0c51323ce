//! `countersign explain`: what would happen to one request, and why, sending nothing.
//!
//! Exit codes: 0 routed, 2 usage, 4 the request would be refused, 78 the configuration is wrong.

use std::io::{IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use http::{HeaderName, HeaderValue, Method};

use crate::clock;
use crate::config::{self, Sources, render};
use crate::diagnostic::Diagnostic;
use crate::table::Table;
use crate::table::compile::{self, Stamp};
use crate::table::explain::{Explanation, Question, explain};

/// Says what would happen to a request and why, sending nothing.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration [default: conf/countersign.yaml, then /etc/countersign/countersign.yaml]
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The request's method
    #[arg(value_name = "METHOD")]
    method: Method,
    /// http(s)://host/path?query, or /path for the default host
    #[arg(value_name = "URL")]
    url: String,
    /// A header field of the request, as `name: value`; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The environment that serves, as if the request had named it
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// The client that calls, as if it had shown its token
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// The address that the request comes from
    #[arg(long, value_name = "ADDR", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    from: IpAddr,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const ROUTED: u8 = 0;
const USAGE: u8 = 2;
const REFUSED: u8 = 4;
const BAD_CONFIGURATION: u8 = 78;

/// Runs the command; the exit code.
pub fn run(args: Args) -> u8 {
    let path = super::config_path(args.config.as_deref());
    let loading = config::load(&path, &|name| std::env::var(name).ok());
    let table = match table(loading) {
        Ok(table) => table,
        Err((sources, diagnostics)) => {
            print(&problems(&sources, &diagnostics, args.json));
            return BAD_CONFIGURATION;
        }
    };
    let json = args.json;
    match explain(&table, &question(args), clock::unix_millis()) {
        Ok(explanation) => answer(&explanation, json),
        Err(wrong) => {
            complain(&wrong);
            USAGE
        }
    }
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write it as `name: value`")?;
    let name = HeaderName::try_from(name.trim()).map_err(|_| "the name is not one that a header may have")?;
    let value = HeaderValue::from_str(value.trim()).map_err(|_| "the value holds what no header may carry")?;
    Ok((name, value))
}

fn table(loading: config::Loading) -> Result<Table, (Sources, Vec<Diagnostic>)> {
    let config::Loading { sources, mut diagnostics, model, sha256, .. } = loading;
    let Some(model) = model else { return Err((sources, diagnostics)) };
    let stamp = Stamp { generation: 1, sha256, now: clock::unix_millis() };
    let compiled = compile::compile(model, &sources, stamp, None);
    compiled.table.ok_or_else(|| {
        diagnostics.extend(compiled.diagnostics);
        (sources, diagnostics)
    })
}

fn question(args: Args) -> Question {
    let Args { method, url, headers, environment, client, from, .. } = args;
    Question { method, url, headers, environment, client, from }
}

fn answer(explanation: &Explanation, json: bool) -> u8 {
    if json {
        print(&pretty(explanation));
    } else {
        print(&explanation.to_string());
    }
    if explanation.is_refused() { REFUSED } else { ROUTED }
}

fn problems(sources: &Sources, diagnostics: &[Diagnostic], json: bool) -> String {
    if !json {
        return render::human(sources, diagnostics, std::io::stdout().is_terminal());
    }
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
    let all: Vec<_> = diagnostics.iter().map(|diagnostic| render::json(sources, diagnostic)).collect();
    pretty(&serde_json::json!({ "errors": errors, "warnings": all.len() - errors, "diagnostics": all }))
}

fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// A reader that goes away early is no error.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end_matches('\n'));
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "error: {text}");
}

#[cfg(test)]
mod tests {
    use super::{Args, run};
    use crate::cli::testing::parse;

    const EDGE: &str = r#"
listeners: { http: { address: "127.0.0.1:8080" } }
projects:
  demo:
    hosts: [demo.test]
    environments:
      production:
        routes:
          - { prefix: /a0, upstream: "https://up.example.com/api", auth: none, methods: [GET] }
          - { prefix: /inside, respond: { status: 200 }, auth: none, access: { allow: [10.0.0.0/8] } }
"#;

    fn exit_code(configuration: &str, arguments: &[&str]) -> u8 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("edge.yaml");
        std::fs::write(&path, configuration).unwrap();
        let path = path.to_str().unwrap();
        run(parse(&[&["-c", path], arguments].concat()).unwrap())
    }

    #[test]
    fn the_exit_code_says_how_it_would_end() {
        assert_eq!(exit_code(EDGE, &["GET", "https://demo.test/a0/x?y"]), 0);
        assert_eq!(exit_code(EDGE, &["GET", "/a0", "--json"]), 0);
        assert_eq!(exit_code(EDGE, &["POST", "/a0"]), 4);
        assert_eq!(exit_code(EDGE, &["GET", "/a0", "-H", "host: other.test"]), 4);
        assert_eq!(exit_code(EDGE, &["GET", "/inside"]), 4);
        assert_eq!(exit_code(EDGE, &["GET", "/inside", "--from", "10.1.2.3"]), 0);
        assert_eq!(exit_code(EDGE, &["GET", "/a0", "--environment", "nowhere"]), 4);
        assert_eq!(exit_code(EDGE, &["GET", "nonsense"]), 2);
        assert_eq!(exit_code(EDGE, &["GET", "/a0", "--client", "nobody"]), 2);
    }

    #[test]
    fn a_bad_configuration_is_its_own_exit_code() {
        assert_eq!(exit_code("nonsense: 1", &["GET", "/"]), 78);
        let dangling = EDGE.replace("\"https://up.example.com/api\"", "nowhere");
        assert_eq!(exit_code(&dangling, &["GET", "/a0", "--json"]), 78);
    }

    #[test]
    fn header_arguments_are_name_and_value() {
        assert!(parse::<Args>(&["GET", "/", "-H", "x-a: 1:2"]).is_ok());
        for wrong in ["x-a", "x a: 1", "x-a: 1\n2"] {
            assert!(parse::<Args>(&["GET", "/", "-H", wrong]).is_err(), "{wrong}");
        }
    }
}
