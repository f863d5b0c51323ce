//! `countersign run`: serve, in the foreground; and the quick start `run --to URL`, which needs no file and writes none.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::{config_path, environment, exit};
use crate::server::{self, Source};

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration [default: conf/countersign.yaml, then /etc/countersign/countersign.yaml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Without a file: everything to this one upstream
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    to: Option<String>,
    /// With --to: where to listen
    #[arg(long, value_name = "ADDR", requires = "to", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// With --to: an admin listener as well (its token is printed)
    #[arg(long, value_name = "ADDR", requires = "to")]
    admin: Option<SocketAddr>,
}

pub use crate::reload::Environment as Variables;

/// What to serve.
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// The variables that it may use.
    pub variables: Variables,
}

/// Runs the command; returns the exit code.
pub fn run(args: Args) -> u8 {
    match args.to {
        Some(url) => server::run(quick_start(&url, args.listen, args.admin), Arc::new(environment)),
        None => serve(Options { config: config_path(args.config.as_deref()), variables: Arc::new(environment) }),
    }
}

/// Serves a configuration file until told to stop; returns the exit code.
pub fn serve(options: Options) -> u8 {
    if !options.config.exists() {
        eprintln(&format!(
            "countersign: {}: no such file (name one with -c FILE, or try `countersign run --to URL` or `countersign demo`)",
            options.config.display()
        ));
        return exit::CONFIG;
    }
    server::run(Source::File(options.config), options.variables)
}

/// The least configuration, as text: one listener, one project, one route.
fn quick_start(url: &str, listen: SocketAddr, admin: Option<SocketAddr>) -> Source {
    // JSON strings are YAML strings; a dollar would start a variable.
    let quoted = |text: &str| serde_json::Value::from(text).to_string().replace('$', "$$");
    let mut text = format!("listeners:\n  main: {{ address: {} }}\n", quoted(&listen.to_string()));
    if let Some(admin) = admin {
        text.push_str(&format!("admin: {{ address: {} }}\n", quoted(&admin.to_string())));
    }
    text.push_str(&format!(
        "projects:\n  quick-start:\n    upstream_policy: open\n    environments:\n      production:\n        routes:\n          \
         - {{ prefix: /, upstream: {}, auth: none }}\n",
        quoted(url)
    ));
    Source::QuickStart { text, admin: admin.is_some() }
}

fn eprintln(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::quick_start;
    use crate::server::Source;

    #[test]
    fn a_url_cannot_add_structure_or_variables_to_the_quick_start() {
        let hostile = "http://a/\"}\nadmin: {address: x}\n${HOME}";
        let Source::QuickStart { text, .. } = quick_start(hostile, ([127, 0, 0, 1], 8080).into(), None) else {
            panic!("a quick start");
        };
        assert!(!text.contains("\nadmin"), "{text}");
        assert!(text.contains("$${HOME}"), "{text}");
    }
}
