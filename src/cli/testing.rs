//! For unit tests: the arguments of one command, parsed as from the shell.

use clap::Parser;

/// A command line that has these arguments only.
#[derive(Debug, Parser)]
pub struct Command<A: clap::Args> {
    #[command(flatten)]
    args: A,
}

/// The arguments of `countersign COMMAND LINE…`.
pub fn parse<A: clap::Args>(line: &[&str]) -> Result<A, clap::Error> {
    Command::try_parse_from([&["command"], line].concat()).map(|command| command.args)
}

/// The command itself, for what it says of its options.
pub fn command<A: clap::Args>() -> clap::Command {
    <Command<A> as clap::CommandFactory>::command()
}
