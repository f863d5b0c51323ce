//! `countersign token …`: what the dashboard's token page does, without a browser, through the running process.
//!
//! Exit codes: 0 done, 1 refused (or nobody to ask), 2 usage. Results go to standard output, for people or, with `--json`, as
//! the admin API answers; what went wrong goes to standard error, with what to do next.

mod asked;
mod show;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Subcommand;
use serde_json::{Value, json};

use crate::admin::client::Target;

use asked::{Process, Refused};

/// The arguments of `token`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    /// The configuration [default: conf/countersign.yaml, then /etc/countersign/countersign.yaml]
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Print what the admin API answers
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the tokens: how each stands, when it ends, when it was used
    List,
    /// Begin a login: prints the address to open in a browser
    Login {
        /// A name of `providers`
        provider: String,
        /// Log in by a code that is typed in on another device, and wait for it
        #[arg(long)]
        device: bool,
    },
    /// End a login with the address at which the browser ended
    Callback {
        /// The whole address; `-` reads it from standard input, which keeps it out of the shell's history
        #[arg(value_name = "URL")]
        address: String,
    },
    /// Refresh a token now
    Refresh {
        /// Its name, as `list` shows it
        id: String,
    },
    /// Remove a token
    Remove {
        /// Its name, as `list` shows it
        id: String,
    },
    /// Take tokens from a file that was made elsewhere
    Import {
        /// The file; `-` reads standard input
        file: PathBuf,
        /// Whose tokens they are, where the file does not say
        #[arg(long, value_name = "PROVIDER")]
        provider: Option<String>,
    },
}

/// More than any callback or token file.
const LONGEST_INPUT: u64 = 1 << 20;

/// Between two questions how a device login stands.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest that one is waited for; providers give less.
const LONGEST_LOGIN: Duration = Duration::from_secs(1800);

/// Does it, and answers the exit code.
pub fn run(args: Args) -> u8 {
    let path = super::config_path(args.config.as_deref());
    let target = Target::find(&path, &|name| super::environment(name));
    let told = Told { json: args.json, config: args.config };
    let process = Process::new(&target);
    let done = match args.action {
        Action::List => list(&process, &told),
        Action::Login { provider, device: false } => login(&process, &told, &provider),
        Action::Login { provider, device: true } => device(&process, &told, &provider),
        Action::Callback { address } => callback(&process, &told, &address),
        Action::Refresh { id } => refresh(&process, &told, &id),
        Action::Remove { id } => remove(&process, &told, &id),
        Action::Import { file, provider } => import(&process, &told, &file, provider.as_deref()),
    };
    match done {
        Ok(()) => 0,
        Err(refused) => {
            complain(&refused, &told);
            1
        }
    }
}

/// How results are told.
struct Told {
    json: bool,
    /// As it was given, so that the commands that are suggested can be copied.
    config: Option<PathBuf>,
}

impl Told {
    /// Prints one of the two.
    fn say(&self, value: &Value, text: impl FnOnce(&Value) -> String) {
        let text = if self.json { format!("{value:#}") } else { text(value) };
        // A reader that goes away early is no error.
        let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
        let _ = std::io::stdout().flush();
    }

    /// A command that follows, for the same configuration.
    fn command(&self, rest: &str) -> String {
        let config = self.config.as_ref().map(|path| format!("-c {} ", show::quoted(&path.to_string_lossy())));
        format!("countersign token {}{rest}", config.unwrap_or_default())
    }
}

fn complain(refused: &Refused, told: &Told) {
    let mut err = std::io::stderr();
    // Nobody is left to hear of a failure.
    let _ = writeln!(err, "countersign: {}", refused.message);
    if let Some(next) = refused.next(|rest| told.command(rest)) {
        let _ = writeln!(err, "  {next}");
    }
}

fn list(process: &Process<'_>, told: &Told) -> Result<(), Refused> {
    let tokens = process.ask("GET", "/api/v1/tokens", b"")?;
    told.say(&tokens, |tokens| show::list(tokens, |rest| told.command(rest)));
    Ok(())
}

fn login(process: &Process<'_>, told: &Told, provider: &str) -> Result<(), Refused> {
    let begun = process.ask("POST", "/api/v1/tokens/login", json!({ "provider": provider }).to_string().as_bytes())?;
    told.say(&begun, |begun| show::begun(begun, |rest| told.command(rest)));
    Ok(())
}

fn device(process: &Process<'_>, told: &Told, provider: &str) -> Result<(), Refused> {
    let asked = json!({ "provider": provider, "flow": "device" }).to_string();
    let begun = process.ask("POST", "/api/v1/tokens/login", asked.as_bytes())?;
    told.say(&begun, show::device);
    let id = begun.get("id").and_then(Value::as_str).unwrap_or_default();
    let ended = wait(process, id)?;
    match ended.get("token") {
        Some(token) => told.say(&ended, |_| show::saved(token)),
        None => {
            let why = ended.get("error").and_then(Value::as_str).unwrap_or("the login has come to nothing");
            return Err(Refused::saying(show::line(why)));
        }
    }
    Ok(())
}

/// Until the person has agreed, or will not any more.
fn wait(process: &Process<'_>, id: &str) -> Result<Value, Refused> {
    let path = format!("/api/v1/tokens/login/{}", show::segment(id));
    let deadline = Instant::now() + LONGEST_LOGIN;
    loop {
        let state = process.ask("GET", &path, b"")?;
        if state.get("state").and_then(Value::as_str) != Some("pending") {
            return Ok(state);
        }
        if Instant::now() >= deadline {
            return Err(Refused::saying("nobody has agreed to the login in half an hour"));
        }
        std::thread::sleep(PAUSE);
    }
}

fn callback(process: &Process<'_>, told: &Told, address: &str) -> Result<(), Refused> {
    let address = match address {
        "-" => text_of(read(std::io::stdin(), "standard input")?, "standard input")?,
        given => given.to_owned(),
    };
    let asked = zeroize::Zeroizing::new(json!({ "callback_url": address }).to_string());
    let done = process.ask("POST", "/api/v1/tokens/callback", asked.as_bytes())?;
    told.say(&done, show::done);
    Ok(())
}

fn refresh(process: &Process<'_>, told: &Told, id: &str) -> Result<(), Refused> {
    let path = format!("/api/v1/tokens/{}/refresh", show::segment(id));
    let token = process.ask("POST", &path, b"")?;
    told.say(&token, |token| format!("refreshed: {}", show::one(token)));
    Ok(())
}

fn remove(process: &Process<'_>, told: &Told, id: &str) -> Result<(), Refused> {
    process.ask("DELETE", &format!("/api/v1/tokens/{}", show::segment(id)), b"")?;
    told.say(&json!({ "removed": id }), |_| format!("removed: {}", show::line(id)));
    Ok(())
}

fn import(process: &Process<'_>, told: &Told, file: &std::path::Path, provider: Option<&str>) -> Result<(), Refused> {
    let name = file.display().to_string();
    let bytes = if name == "-" {
        read(std::io::stdin(), "standard input")?
    } else {
        let file = std::fs::File::open(file).map_err(|why| Refused::saying(format!("{name}: {why}")))?;
        read(file, &name)?
    };
    let query = provider.map(|provider| format!("?provider={}", show::segment(provider))).unwrap_or_default();
    let done = process.ask("POST", &format!("/api/v1/tokens/import{query}"), &bytes)?;
    told.say(&done, show::imported);
    Ok(())
}

/// All of it, unless that is too much to be what is meant.
fn read(from: impl Read, name: &str) -> Result<zeroize::Zeroizing<Vec<u8>>, Refused> {
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    let read = from.take(LONGEST_INPUT + 1).read_to_end(&mut bytes);
    read.map_err(|why| Refused::saying(format!("{name}: {why}")))?;
    match bytes.len() as u64 > LONGEST_INPUT {
        true => Err(Refused::saying(format!("{name} is larger than {} MiB", LONGEST_INPUT >> 20))),
        false => Ok(bytes),
    }
}

fn text_of(bytes: zeroize::Zeroizing<Vec<u8>>, name: &str) -> Result<String, Refused> {
    let text = std::str::from_utf8(&bytes).map_err(|_| Refused::saying(format!("{name} is no text")))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::parse;

    #[test]
    fn each_call_takes_what_it_needs() {
        for line in [
            &["list"][..],
            &["list", "--json", "-c", "edge.yaml"],
            &["-c", "edge.yaml", "login", "sso"],
            &["login", "sso", "--device"],
            &["callback", "http://127.0.0.1:9090/oauth/callback?code=a&state=b"],
            &["callback", "-"],
            &["refresh", "a-1"],
            &["remove", "a-1"],
            &["import", "tokens.json", "--provider", "sso"],
        ] {
            assert!(parse::<Args>(line).is_ok(), "{line:?}");
        }
        for line in [&[][..], &["login"], &["callback"], &["remove"], &["import"], &["list", "x"], &["nothing"]] {
            assert!(parse::<Args>(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn nobody_to_ask_is_an_exit_code() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edge.yaml");
        std::fs::write(&path, "admin: { address: \"127.0.0.1:1\", state_dir: state }\n").unwrap();
        assert_eq!(run(parse(&["-c", path.to_str().unwrap(), "list"]).unwrap()), 1);
    }

    #[test]
    fn what_is_too_much_is_not_read_to_its_end() {
        assert!(read(std::io::repeat(b'x'), "endless").is_err());
        assert_eq!(text_of(read(&b" a\n"[..], "short").ok().unwrap(), "short").ok().unwrap(), "a");
    }
}
