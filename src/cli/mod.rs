//! The command line: one file per command; each takes its arguments and returns an exit code.

pub mod check;
pub mod config;
pub mod demo;
pub mod explain;
pub mod health;
pub mod password;
pub mod reload;
pub mod run;
pub mod sign;
#[cfg(test)]
mod testing;
pub mod token;
pub mod verify;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

pub use crate::exit;

/// Where a configuration is looked for when none is named: here,
const NEAR: &str = "conf/countersign.yaml";
/// then where an installed one is.
const INSTALLED: &str = "/etc/countersign/countersign.yaml";

/// A reverse proxy that signs and credentials requests.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve, in the foreground (also the default without a command)
    Run(run::Args),
    /// Say everything that is wrong with a configuration, binding nothing and sending nothing
    Check(check::Args),
    /// Say what would happen to a request, and why, sending nothing
    Explain(explain::Args),
    /// Ask the running process to read its configuration again
    Reload(reload::Args),
    /// Ask the running process whether it is ready (for container health checks)
    Health(health::Args),
    /// Compute the signature headers of one request
    Sign(sign::Args),
    /// Check the signature headers of one request
    Verify(verify::Args),
    /// The tokens of the running process: list, log in, refresh, remove, import
    Token(token::Args),
    /// Show the configuration with defaults filled in, or where each value came from
    Config(config::Args),
    /// Read a password, print its hash
    Password(password::Args),
    /// Serve the demonstration: an echo, SSE and WebSocket upstream behind the proxy
    Demo(demo::Args),
    /// Print a completion script for a shell
    Completions {
        /// bash, elvish, fish, powershell or zsh
        shell: Shell,
    },
    /// Print the manual page (roff)
    Man,
}

/// Runs what the process's arguments ask for; returns the exit code.
pub fn main() -> u8 {
    match Cli::try_parse() {
        Ok(cli) => dispatch(cli),
        Err(error) => {
            let _ = error.print();
            u8::try_from(error.exit_code()).unwrap_or(exit::USAGE)
        }
    }
}

fn dispatch(cli: Cli) -> u8 {
    match cli.command {
        None => run::run(cli.run),
        Some(Command::Run(args)) => run::run(args),
        Some(Command::Check(args)) => check::run(args),
        Some(Command::Explain(args)) => explain::run(args),
        Some(Command::Reload(args)) => reload::run(args),
        Some(Command::Health(args)) => health::run(args),
        Some(Command::Sign(args)) => sign::run(args),
        Some(Command::Verify(args)) => verify::run(args),
        Some(Command::Token(args)) => token::run(args),
        Some(Command::Config(args)) => config::run(args),
        Some(Command::Password(args)) => password::run(args),
        Some(Command::Demo(args)) => demo::run(args),
        Some(Command::Completions { shell }) => {
            clap_complete::generate(shell, &mut Cli::command(), "countersign", &mut std::io::stdout());
            exit::OK
        }
        Some(Command::Man) => man(),
    }
}

fn man() -> u8 {
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
    if rendered.and_then(|()| std::io::stdout().write_all(&page)).is_ok() { exit::OK } else { exit::FAILED }
}

/// The configuration to use: the one named, else the first default that exists, else the first default.
pub fn config_path(named: Option<&Path>) -> PathBuf {
    let default = || [NEAR, INSTALLED].into_iter().map(Path::new).find(|path| path.exists());
    named.or_else(default).unwrap_or(Path::new(NEAR)).to_path_buf()
}

/// The variables of this process.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn a_named_configuration_is_used_and_the_nearest_default_otherwise() {
        let named = Path::new("elsewhere/missing.yaml");
        assert_eq!(config_path(Some(named)), named);
        // Unit tests run in the repository, which has one.
        assert_eq!(config_path(None), Path::new(NEAR));
    }
}
