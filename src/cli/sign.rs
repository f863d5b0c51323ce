//! `countersign sign`: the headers of one signed request, for trying an upstream by hand.
//!
//! Computes with the same functions as the data plane; reads no configuration. Results go to standard output, warnings to
//! standard error. Exit code 0, or 2 when the call makes no sense. `verify` shares its options for identity and token.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use http::HeaderValue;

use crate::clock::{UnixMillis, unix_millis};
use crate::config::{self, Problem, SHORTEST_SIGN_TOKEN};
use crate::id::RequestId;
use crate::policy::sign::{Claims, Message, Scheme, Signature, canonical_user, percent_encode, signature};
use crate::secret::Secret;

/// Prints the signature headers of one request.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is signed: user-stamp, user-project-stamp, user-project-appid-stamp, hmac-sha256 or rfc9421
    #[arg(long, value_name = "SCHEME", value_parser = parse_scheme)]
    scheme: Scheme,
    /// The user's mail address; lower-cased. Empty: an anonymous caller
    #[arg(long, value_name = "MAIL", value_parser = canonical_user)]
    user: String,
    /// The user's display name [default: the user]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The project's name
    #[arg(long, value_name = "NAME")]
    project: String,
    /// The project's app id
    #[arg(long, value_name = "ID", default_value = "")]
    app_id: String,
    /// Milliseconds since 1970-01-01 UTC [default: now]
    #[arg(long, value_name = "MS")]
    stamp: Option<UnixMillis>,
    /// How the display name travels
    #[arg(long, value_name = "HOW", default_value = "percent")]
    username_encoding: UsernameEncoding,
    /// What the header names begin with
    #[arg(long, value_name = "PREFIX", default_value = "x-kms-", value_parser = parse_prefix)]
    header_prefix: String,
    /// How the headers are printed
    #[arg(long, value_name = "FORMAT", default_value = "headers")]
    format: Format,
    #[command(flatten)]
    request: RequestArgs,
    /// Makes one signature unlike another (rfc9421) [default: a random one]
    #[arg(long, value_name = "TEXT", value_parser = parse_nonce)]
    nonce: Option<String>,
    #[command(flatten)]
    token: TokenArgs,
}

/// The request, for the schemes that bind it.
#[derive(Debug, clap::Args)]
pub(super) struct RequestArgs {
    /// The request's method (hmac-sha256, rfc9421)
    #[arg(long, value_name = "METHOD")]
    pub(super) method: Option<http::Method>,
    /// The URL as the upstream is called (hmac-sha256, rfc9421)
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<http::Uri>,
}

/// The shared secret, from wherever it is kept.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub(super) struct TokenArgs {
    /// The sign token. Everyone on this machine can read it in the list of processes, and the shell may keep it in its
    /// history: prefer --token-file or --token-env
    #[arg(long, value_name = "TOKEN", value_parser = parse_secret)]
    token: Option<Secret>,
    /// A file with the sign token; `-` is standard input. One line end at its end is not part of it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The environment variable that holds the sign token
    #[arg(long, value_name = "VAR")]
    token_env: Option<String>,
}

/// How a display name travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum UsernameEncoding {
    /// UTF-8, percent-encoded but for letters, digits and - . _ ~
    Percent,
    /// As it is
    Raw,
}

/// How headers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// `name: value` lines
    Headers,
    /// One JSON object
    Json,
    /// Options for curl, quoted for a shell
    Curl,
}

/// Runs the command.
pub fn run(args: Args) -> u8 {
    let stamp = args.stamp.unwrap_or_else(unix_millis);
    match headers(&args, stamp).map(|headers| print(args.format, &headers)) {
        Ok(text) => {
            // A reader that has seen enough may close its end.
            let _ = std::io::stdout().lock().write_all(text.as_bytes());
            0
        }
        Err(problem) => usage("sign", &problem),
    }
}

/// Reports a call that makes no sense.
pub(super) fn usage(command: &str, problem: &str) -> u8 {
    let _ = writeln!(std::io::stderr().lock(), "countersign {command}: {problem}");
    2
}

/// Those of the signature, in the order of the interface.
fn headers(args: &Args, stamp: UnixMillis) -> Result<Vec<(String, String)>, String> {
    let token = args.token.read()?;
    let claims = Claims { user: &args.user, project: &args.project, app_id: &args.app_id, stamp };
    let name = args.name.as_ref().unwrap_or(&args.user);
    let username = match args.username_encoding {
        UsernameEncoding::Percent => percent_encode(name),
        UsernameEncoding::Raw => name.clone(),
    };
    let called = Called::of(args.scheme, args.request.method.as_ref(), args.request.url.as_ref())?;
    let nonce = args.nonce.clone().unwrap_or_else(|| RequestId::fresh().to_string());
    let message = called.message(&username, &args.header_prefix, &nonce);
    let signature = signature(args.scheme, &claims, &message, token.as_ref());
    let values = [
        ("user", args.user.clone()),
        ("username", username),
        ("stamp", stamp.to_string()),
        ("appid", args.app_id.clone()),
        ("project", args.project.clone()),
    ];
    let identity = values.into_iter().map(|(name, value)| header(&args.header_prefix, name, value));
    identity.chain(signed(args, signature)).collect()
}

fn signed(args: &Args, signature: Option<Signature>) -> Vec<Result<(String, String), String>> {
    match signature {
        Some(Signature::Sign(sign)) => {
            vec![header(&args.header_prefix, "sign", String::from_utf8_lossy(&sign).into_owned())]
        }
        Some(Signature::Message(message)) => {
            vec![header("", "signature-input", message.input), header("", "signature", message.signature)]
        }
        None => vec![Err(format!("{} cannot be made without a token", args.scheme.name()))],
    }
}

/// The request as the upstream is called.
#[derive(Debug, Default)]
pub(super) struct Called {
    method: String,
    authority: String,
    path: String,
    query: String,
}

impl Called {
    /// Nothing of it matters to a scheme that does not bind it.
    pub(super) fn of(scheme: Scheme, method: Option<&http::Method>, url: Option<&http::Uri>) -> Result<Self, String> {
        if !scheme.binds_request() {
            return Ok(Self::default());
        }
        let needed = |option: &str| format!("{} binds the request: give {option}", scheme.name());
        let (method, url) = (method.ok_or_else(|| needed("--method"))?, url.ok_or_else(|| needed("--url"))?);
        let authority = url.authority().map(|authority| without_own_port(url, authority.as_str()));
        if scheme == Scheme::Rfc9421 && authority.is_none() {
            return Err(needed("--url with its host"));
        }
        Ok(Self {
            method: method.to_string(),
            authority: authority.unwrap_or_default(),
            path: url.path().to_owned(),
            query: url.query().unwrap_or_default().to_owned(),
        })
    }

    /// What is signed of it.
    pub(super) fn message<'a>(&'a self, username: &'a str, prefix: &'a str, nonce: &'a str) -> Message<'a> {
        let Self { method, authority, path, query } = self;
        Message { method, authority, path, query, username, prefix, nonce }
    }
}

/// RFC 9421 §2.2.3: lower case, without the scheme's own port.
fn without_own_port(url: &http::Uri, authority: &str) -> String {
    let own = if url.scheme_str() == Some("https") { ":443" } else { ":80" };
    authority.strip_suffix(own).unwrap_or(authority).to_ascii_lowercase()
}

fn parse_nonce(text: &str) -> Result<String, String> {
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if fits { Ok(text.to_owned()) } else { Err("a nonce has 1 to 64 letters, digits and hyphens".to_owned()) }
}

fn header(prefix: &str, name: &str, value: String) -> Result<(String, String), String> {
    match HeaderValue::from_bytes(value.as_bytes()) {
        Ok(_) => Ok((format!("{prefix}{name}"), value)),
        Err(_) => Err(format!("the value of {prefix}{name} has a character that no header may hold")),
    }
}

fn print(format: Format, headers: &[(String, String)]) -> String {
    match format {
        Format::Headers => headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect(),
        Format::Json => {
            let members = headers.iter().map(|(name, value)| format!("  {}: {}", json(name), json(value)));
            format!("{{\n{}\n}}\n", members.collect::<Vec<_>>().join(",\n"))
        }
        Format::Curl => {
            let options = headers.iter().map(|(name, value)| format!("-H {}", shell_quoted(&curl_field(name, value))));
            format!("{}\n", options.collect::<Vec<_>>().join(" \\\n"))
        }
    }
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// To curl, `name:` means to leave the header out, and `name;` to send it empty.
fn curl_field(name: &str, value: &str) -> String {
    if value.is_empty() { format!("{name};") } else { format!("{name}: {value}") }
}

fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

impl TokenArgs {
    /// Whether it is read from standard input.
    pub(super) fn is_standard_input(&self) -> bool {
        self.token_file.as_deref() == Some(Path::new("-"))
    }

    /// The token, if there is one. The configuration refuses short ones; here they are only remarked on.
    pub(super) fn read(&self) -> Result<Option<Secret>, String> {
        let token = self.find()?;
        if token.as_ref().is_some_and(|token| token.expose().chars().count() < SHORTEST_SIGN_TOKEN) {
            let _ = writeln!(
                std::io::stderr().lock(),
                "warning: the sign token is shorter than {SHORTEST_SIGN_TOKEN} characters; a configuration would be refused"
            );
        }
        Ok(token)
    }

    fn find(&self) -> Result<Option<Secret>, String> {
        if let Some(variable) = &self.token_env {
            let value = std::env::var(variable).map_err(|error| format!("the variable {variable}: {error}"))?;
            return Ok(Some(Secret::new(value)));
        }
        if let Some(file) = &self.token_file {
            let text = read_text(file).map_err(|error| format!("{}: {error}", file.display()))?;
            return Ok(Some(Secret::new(without_line_end(&text))));
        }
        Ok(self.token.clone())
    }
}

/// A file, or standard input for `-`.
pub(super) fn read_text(file: &Path) -> std::io::Result<String> {
    if file != Path::new("-") {
        return std::fs::read_to_string(file);
    }
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text)?;
    Ok(text)
}

fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

/// For clap.
pub(super) fn parse_scheme(word: &str) -> Result<Scheme, String> {
    let known = || Scheme::ALL.map(Scheme::name).join(", ");
    Scheme::parse(word).ok_or_else(|| format!("the schemes are {}", known()))
}

/// For clap: as the configuration's `sign_defaults.header_prefix`.
pub(super) fn parse_prefix(prefix: &str) -> Result<String, String> {
    config::parse_header_prefix(prefix).map_err(complaint)
}

/// What the configuration has against a value, as clap ends its sentence.
pub(super) fn complaint(problem: Problem) -> String {
    let Problem { clause, hint, .. } = problem;
    if hint.is_empty() { format!("it {clause}") } else { format!("it {clause}; {hint}") }
}

fn parse_secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{command, parse};

    const LINE: &[&str] = &[
        "--scheme",
        "user-project-stamp",
        "--user",
        "Dev@Example.com",
        "--project",
        "demo",
        "--stamp",
        "1700000000000",
    ];

    fn printed(further: &[&str]) -> String {
        let args = parse::<Args>(&[LINE, further].concat()).unwrap();
        print(args.format, &headers(&args, args.stamp.unwrap()).unwrap())
    }

    #[test]
    fn six_headers_are_printed() {
        let text =
            printed(&["--token", "0123456789abcdef0123456789abcde", "--app-id", "7", "--name", "\u{5f20}\u{4e09}"]);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("x-kms-user: dev@example.com"));
        assert_eq!(lines.next(), Some("x-kms-username: %E5%BC%A0%E4%B8%89"));
        assert_eq!(lines.next(), Some("x-kms-stamp: 1700000000000"));
        assert_eq!(lines.next(), Some("x-kms-appid: 7"));
        assert_eq!(lines.next(), Some("x-kms-project: demo"));
        let last = lines.next().unwrap().strip_prefix("x-kms-sign: ").unwrap();
        use sha2::Digest;
        let base = "dev@example.comdemo17000000000000123456789abcdef0123456789abcde";
        assert_eq!(last, hex::encode(sha2::Sha256::digest(base)));
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn json_and_curl_are_readable_by_their_readers() {
        let value: serde_json::Value =
            serde_json::from_str(&printed(&["--format", "json", "--header-prefix", "X-Sso-"])).unwrap();
        assert_eq!(value["x-sso-user"], "dev@example.com");
        assert_eq!(value["x-sso-username"], "dev%40example.com");
        assert_eq!(value.as_object().unwrap().len(), 6);
        let curl = printed(&["--format", "curl", "--username-encoding", "raw", "--name", "O'Neil"]);
        assert!(curl.contains("-H 'x-kms-username: O'\\''Neil' \\\n"), "{curl}");
        assert!(curl.contains("-H 'x-kms-appid;' \\\n"), "an empty header is sent, not left out: {curl}");
        assert!(curl.ends_with("'\n"), "{curl}");
    }

    #[test]
    fn tokens_come_from_files_and_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let with_token = printed(&["--token", "0123456789abcdef0123456789abcde"]);
        for text in [
            "0123456789abcdef0123456789abcde",
            "0123456789abcdef0123456789abcde\n",
            "0123456789abcdef0123456789abcde\r\n",
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(printed(&["--token-file", file.to_str().unwrap()]), with_token, "{text:?}");
        }
        std::fs::write(&file, "0123456789abcdef0123456789abcde\n\n").unwrap();
        assert_ne!(
            printed(&["--token-file", file.to_str().unwrap()]),
            with_token,
            "only one line end is not part of it"
        );
        assert_ne!(printed(&[]), with_token);
        let missing = parse::<Args>(&[LINE, &["--token-env", "COUNTERSIGN_NO_SUCH_VARIABLE"]].concat()).unwrap();
        assert!(headers(&missing, 1).unwrap_err().contains("COUNTERSIGN_NO_SUCH_VARIABLE"));
        let missing = parse::<Args>(&[LINE, &["--token-file", "/no/such/file"]].concat()).unwrap();
        assert!(headers(&missing, 1).unwrap_err().contains("/no/such/file"));
    }

    #[test]
    fn calls_that_make_no_sense_are_refused() {
        for further in [
            &["--token", "x", "--token-env", "Y"][..],
            &["--header-prefix", "x kms-"],
            &["--header-prefix", "x-kms"],
            &["--header-prefix", ""],
            &["--format", "xml"],
        ] {
            assert!(parse::<Args>(&[LINE, further].concat()).is_err(), "{further:?}");
        }
        assert!(parse::<Args>(&["--scheme", "none", "--user", "", "--project", "x"]).is_err());
        assert!(parse::<Args>(&["--scheme", "user-stamp", "--user", "\u{212a}@x", "--project", "x"]).is_err());
        assert!(parse::<Args>(&["--scheme", "user-stamp", "--project", "x"]).is_err());
        let raw = parse::<Args>(&[LINE, &["--username-encoding", "raw", "--name", "a\r\nb"]].concat()).unwrap();
        assert!(headers(&raw, 1).unwrap_err().contains("x-kms-username"));
    }

    #[test]
    fn the_token_is_not_shown() {
        let args = parse::<Args>(&[LINE, &["--token", "correct horse battery staple and so on"]].concat()).unwrap();
        assert!(!format!("{args:?}").contains("horse"));
    }

    #[test]
    fn the_options_are_consistent_and_warn_about_the_process_list() {
        command::<Args>().debug_assert();
        let help = command::<Args>().render_long_help().to_string();
        assert!(help.contains("list of processes"), "{help}");
    }
}
