//! `countersign password`: reads a password and prints its hash, for `identity.basic.users_file` and `admin.users_file`.
//!
//! At a terminal it asks twice and shows nothing; otherwise it reads one line of standard input. A password is never an
//! argument: everybody on the machine could read it in the list of processes. Exit code 0; 2 when there is no usable password.

use std::io::{BufRead, IsTerminal, Write};

use zeroize::Zeroizing;

use crate::exit;
use crate::users::{self, LONGEST_PASSWORD, Making};

/// Reads a password, prints its hash.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print a line for a users' file: `USER:hash`
    #[arg(long, value_name = "USER", value_parser = user)]
    htpasswd: Option<String>,
    /// Make a bcrypt hash instead of argon2id: other programs that read the same file take it as well
    #[arg(long)]
    bcrypt: bool,
}

/// A name that a users' file may have.
fn user(text: &str) -> Result<String, &'static str> {
    match text {
        "" => Err("a user has a name"),
        _ if text.contains(':') => Err("a user's name has no `:`, which ends it in the file"),
        _ if text.starts_with('#') => Err("a line that begins with `#` is a comment"),
        _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err("a user's name has visible ASCII characters only")
        }
        _ => Ok(text.to_owned()),
    }
}

/// Runs the command; returns the exit code.
pub fn run(args: Args) -> u8 {
    let made = read().and_then(|password| make(&password, &args));
    match made {
        Ok(line) => match writeln!(std::io::stdout(), "{line}") {
            Ok(()) => exit::OK,
            Err(_) => exit::FAILED,
        },
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "error: {why}");
            exit::USAGE
        }
    }
}

fn make(password: &str, args: &Args) -> Result<String, String> {
    let making = if args.bcrypt { Making::Bcrypt } else { Making::Argon2id };
    check(password, making)?;
    let hash =
        users::make(making, password.as_bytes()).ok_or("the hash cannot be made: the system has no randomness")?;
    Ok(args.htpasswd.as_ref().map_or_else(|| hash.clone(), |user| format!("{user}:{hash}")))
}

fn check(password: &str, making: Making) -> Result<(), String> {
    let longest = match making {
        Making::Argon2id => LONGEST_PASSWORD,
        // It does not read beyond, so that a longer one would be shorter than it looks.
        Making::Bcrypt => 72,
    };
    match password.len() {
        0 => Err("the password is empty".to_owned()),
        length if length > longest => Err(format!("the password is longer than {longest} bytes")),
        _ if password.contains('\0') => Err("the password holds a NUL character".to_owned()),
        _ => Ok(()),
    }
}

fn read() -> Result<Zeroizing<String>, String> {
    if std::io::stdin().is_terminal() { ask() } else { first_line(std::io::stdin().lock()) }
}

fn ask() -> Result<Zeroizing<String>, String> {
    let prompt = |text: &str| {
        let typed = rpassword::prompt_password(text);
        typed.map(Zeroizing::new).map_err(|error| format!("the terminal cannot be read: {error}"))
    };
    let (first, second) = (prompt("Password: ")?, prompt("Once more: ")?);
    if first == second { Ok(first) } else { Err("the two are not the same".to_owned()) }
}

/// Up to the line end, which is not part of it.
fn first_line(input: impl BufRead) -> Result<Zeroizing<String>, String> {
    let mut line = Zeroizing::new(String::new());
    let limited = (LONGEST_PASSWORD as u64 + 3).min(4096);
    std::io::Read::take(input, limited)
        .read_line(&mut line)
        .map_err(|error| format!("standard input cannot be read: {error}"))?;
    let end = line.trim_end_matches('\n').trim_end_matches('\r').len();
    line.truncate(end);
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::{Hash, Users};

    fn args(htpasswd: Option<&str>, bcrypt: bool) -> Args {
        Args { htpasswd: htpasswd.map(str::to_owned), bcrypt }
    }

    #[test]
    fn what_is_printed_is_what_a_users_file_takes() {
        for (bcrypt, kind) in [(false, "$argon2id$"), (true, "$2y$")] {
            let hash = make("correct horse", &args(None, bcrypt)).unwrap();
            assert!(hash.starts_with(kind) && Hash::parse(&hash).unwrap().is(b"correct horse"), "{hash}");
            let line = make("correct horse", &args(Some("ann@example.com"), bcrypt)).unwrap();
            let users = Users::parse(&line).unwrap();
            assert!(users.verify("ann@example.com", b"correct horse") && users.notes.is_empty(), "{line}");
            assert_ne!(hash, make("correct horse", &args(None, bcrypt)).unwrap(), "without a salt");
        }
    }

    #[test]
    fn a_line_end_is_not_part_of_a_password() {
        for (text, password) in [("secret\n", "secret"), ("secret", "secret"), (" a b \r\nmore", " a b "), ("", "")] {
            assert_eq!(&*first_line(text.as_bytes()).unwrap(), password);
        }
    }

    #[test]
    fn what_could_not_be_used_is_refused() {
        let long = "x".repeat(LONGEST_PASSWORD + 1);
        for (password, bcrypt) in [("", false), (long.as_str(), false), (&long[..73], true), ("a\0b", true)] {
            assert!(make(password, &args(None, bcrypt)).is_err(), "{password:?}");
        }
        assert!(first_line(long.as_bytes()).unwrap().len() > LONGEST_PASSWORD, "cut short unnoticed");
        for name in ["", "a:b", "#a", "a b", "é"] {
            assert!(user(name).is_err(), "{name:?}");
        }
    }
}
