//! `countersign verify`: checks the signature headers of one request, as an upstream should.
//!
//! Flow: what the request presents (from `--sign` and `--stamp`, or from header lines) is compared with who is expected,
//! then with the clock, then with the signature; the first thing that is wrong is said. Exit code 0 valid, 1 not, 2 when
//! the call makes no sense.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::{UnixMillis, unix_millis};
use crate::config;
use crate::policy::sign::{self, Claims, Message, Scheme, canonical_user, masked_base, verify};
use crate::secret::Secret;

use super::sign::{Called, RequestArgs, TokenArgs, complaint, parse_prefix, parse_scheme, read_text, usage};

/// A stamp has that many digits from 2001 until 2286; others could have swallowed digits of the field in front.
const STAMP_DIGITS: usize = 13;

/// Checks the signature headers of one request.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is signed: user-stamp, user-project-stamp, user-project-appid-stamp, hmac-sha256 or rfc9421
    #[arg(long, value_name = "SCHEME", value_parser = parse_scheme)]
    scheme: Scheme,
    /// The user that is expected [default with headers: whoever they name]
    #[arg(long, value_name = "MAIL", value_parser = canonical_user)]
    user: Option<String>,
    /// The project that is expected [default with headers: the one they name]
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// The app id that is expected [default with headers: the one they name]
    #[arg(long, value_name = "ID")]
    app_id: Option<String>,
    /// The signature, 64 hexadecimal digits
    #[arg(long, value_name = "HEX", requires = "stamp", conflicts_with_all = ["header", "headers_from"])]
    sign: Option<String>,
    /// The stamp that was signed, in milliseconds since 1970-01-01 UTC
    #[arg(long, value_name = "MS", requires = "sign")]
    stamp: Option<String>,
    /// A header line of the request; may be given several times
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// A file with the request's header lines, with or without its request line; `-` is standard input
    #[arg(long, value_name = "FILE")]
    headers_from: Option<PathBuf>,
    /// What the header names begin with
    #[arg(long, value_name = "PREFIX", default_value = "x-kms-", value_parser = parse_prefix)]
    header_prefix: String,
    /// How old the stamp may be (500ms, 300s, 5m, 1h)
    #[arg(long, value_name = "DURATION", default_value = "300s", value_parser = parse_duration)]
    max_age: Duration,
    /// How far ahead of this machine's clock the stamp may be
    #[arg(long, value_name = "DURATION", default_value = "300s", value_parser = parse_duration)]
    max_ahead: Duration,
    /// Accept a stamp of any age
    #[arg(long, conflicts_with_all = ["max_age", "max_ahead"])]
    no_window: bool,
    #[command(flatten)]
    request: RequestArgs,
    #[command(flatten)]
    token: TokenArgs,
}

/// Runs the command.
pub fn run(args: Args) -> u8 {
    let (presented, called, token) = match read(&args) {
        Ok(read) => read,
        Err(problem) => return usage("verify", &problem),
    };
    let verdict = presented.and_then(|presented| judge(&args, &presented, &called, token.as_ref(), unix_millis()));
    let (text, code) = match verdict {
        Ok(()) => ("valid\n".to_owned(), 0),
        Err(reason) => (format!("not valid: {reason}\n"), 1),
    };
    // The exit code says the same to a reader that has gone.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    code
}

/// What a request says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Presented {
    /// As it travels; only schemes that bind the request sign it.
    username: String,
    /// `signature-input`, of RFC 9421.
    input: String,
    user: String,
    project: String,
    app_id: String,
    stamp: String,
    sign: String,
}

/// Why a signature is not accepted.
type Reason = String;

/// What was read: what the request presents, which one it is, and the token.
type Read = (Result<Presented, Reason>, Called, Option<Secret>);
/// `(lower-case name, value)`
type Line = (String, String);

/// Everything from outside: an inner error is the request's fault, an outer one the call's.
fn read(args: &Args) -> Result<Read, String> {
    let (presented, called) = match (&args.sign, &args.stamp) {
        (Some(_), Some(_)) if args.scheme.binds_request() => {
            return Err(format!("{} is checked over the request's headers: give them", args.scheme.name()));
        }
        (Some(sign), Some(stamp)) => (Ok(stated(args, sign, stamp)?), Called::default()),
        _ => {
            let (lines, request_line) = header_lines(args)?;
            let called = called(args, request_line.as_deref(), &lines)?;
            (from_headers(args, &lines), called)
        }
    };
    Ok((presented, called, args.token.read()?))
}

/// The request: as the options say, else as the file's request line and `Host` do.
fn called(args: &Args, request_line: Option<&str>, lines: &[Line]) -> Result<Called, String> {
    let mut words = request_line.unwrap_or_default().split(' ');
    let method = args.request.method.clone().or_else(|| words.next()?.parse().ok());
    let target = words.next().unwrap_or_default();
    let host = single(lines, "host")?.unwrap_or_default();
    let absolute = if host.is_empty() { target.to_owned() } else { format!("http://{host}{target}") };
    let url = args.request.url.clone().or_else(|| absolute.parse().ok());
    Called::of(args.scheme, method.as_ref(), url.as_ref())
}

fn stated(args: &Args, sign: &str, stamp: &str) -> Result<Presented, String> {
    let needed =
        |option: &Option<String>, name: &str| option.clone().ok_or_else(|| format!("--{name} is needed beside --sign"));
    Ok(Presented {
        username: String::new(),
        input: String::new(),
        user: needed(&args.user, "user")?,
        project: match args.scheme {
            Scheme::UserStamp => args.project.clone().unwrap_or_default(),
            _ => needed(&args.project, "project")?,
        },
        app_id: args.app_id.clone().unwrap_or_default(),
        stamp: stamp.to_owned(),
        sign: sign.to_owned(),
    })
}

/// Every line that was given, and the request line of the file.
fn header_lines(args: &Args) -> Result<(Vec<Line>, Option<String>), String> {
    let mut lines: Vec<String> = args.header.clone();
    let mut request_line = None;
    if let Some(file) = &args.headers_from {
        if file == Path::new("-") && args.token.is_standard_input() {
            return Err("standard input can hold the headers or the token, not both".to_owned());
        }
        let text = read_text(file).map_err(|error| format!("{}: {error}", file.display()))?;
        request_line = text.lines().next().filter(|line| is_request_line(line)).map(str::to_owned);
        lines.extend(head_lines(&text).map(str::to_owned));
    }
    if lines.is_empty() {
        return Err("give --sign and --stamp, or the request's headers with -H or --headers-from".to_owned());
    }
    let lines = lines.iter().map(|line| header_line(line)).collect::<Result<_, _>>()?;
    Ok((lines, request_line))
}

/// The field lines of a head: no request line, nothing after the empty line.
fn head_lines(text: &str) -> impl Iterator<Item = &str> {
    let skip = text.lines().next().is_some_and(is_request_line);
    text.lines().skip(usize::from(skip)).take_while(|line| !line.is_empty())
}

fn is_request_line(line: &str) -> bool {
    line.ends_with(" HTTP/1.1") || line.ends_with(" HTTP/1.0")
}

fn header_line(line: &str) -> Result<(String, String), String> {
    match line.split_once(':') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_ascii_lowercase(), value.trim().to_owned())),
        _ => Err("a header line is not `name: value`".to_owned()),
    }
}

fn from_headers(args: &Args, lines: &[Line]) -> Result<Presented, Reason> {
    let field = |name: &str| single(lines, &format!("{}{name}", args.header_prefix));
    let required = |name: &str| field(name)?.ok_or_else(|| format!("there is no {}{name} header", args.header_prefix));
    let project = match args.scheme {
        Scheme::UserStamp => field("project")?,
        _ => Some(required("project")?),
    };
    let app_id = match args.scheme {
        Scheme::UserStamp | Scheme::UserProjectStamp => field("appid")?,
        _ => Some(required("appid")?),
    };
    let username = if args.scheme.binds_request() { required("username")? } else { String::new() };
    let message = |name: &str| single(lines, name)?.ok_or_else(|| format!("there is no {name} header"));
    let (input, sign) = match args.scheme {
        Scheme::Rfc9421 => (message("signature-input")?, message("signature")?),
        _ => (String::new(), required("sign")?),
    };
    Ok(Presented {
        username,
        input,
        user: required("user")?,
        project: project.unwrap_or_default(),
        app_id: app_id.unwrap_or_default(),
        stamp: required("stamp")?,
        sign,
    })
}

fn single(lines: &[Line], name: &str) -> Result<Option<String>, Reason> {
    let mut values = lines.iter().filter(|(candidate, _)| candidate == name).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (value, None) => Ok(value.cloned()),
        _ => Err(format!("there is more than one {name} header")),
    }
}

fn judge(
    args: &Args,
    presented: &Presented,
    called: &Called,
    token: Option<&Secret>,
    now: UnixMillis,
) -> Result<(), Reason> {
    if presented.sign == "demo" {
        return Err("this is the demonstration signature, which everyone can send".to_owned());
    }
    expect("user", &presented.user, args.user.as_ref())?;
    expect("project", &presented.project, args.project.as_ref())?;
    expect("app id", &presented.app_id, args.app_id.as_ref())?;
    if canonical_user(&presented.user).as_ref() != Ok(&presented.user) {
        return Err("the user is not in lower-case ASCII".to_owned());
    }
    let stamp = parse_stamp(&presented.stamp)?;
    if !args.no_window {
        check_window(args, stamp, now)?;
    }
    let Presented { user, project, app_id, .. } = presented;
    let message = called.message(&presented.username, &args.header_prefix, nonce(&presented.input));
    check_signature(args.scheme, &Claims { user, project, app_id, stamp }, &message, token, presented)
}

/// What the signature's maker put there; what is signed is made from it again.
fn nonce(input: &str) -> &str {
    input.split_once(";nonce=\"").and_then(|(_, rest)| rest.split_once('"')).map_or("", |(nonce, _)| nonce)
}

fn expect(what: &str, presented: &str, expected: Option<&String>) -> Result<(), Reason> {
    match expected {
        Some(expected) if expected != presented => {
            Err(format!("the {what} is {}, not {}", quoted(presented), quoted(expected)))
        }
        _ => Ok(()),
    }
}

fn parse_stamp(text: &str) -> Result<UnixMillis, Reason> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let stamp = if is_plain { text.parse().ok() } else { None };
    stamp.ok_or_else(|| format!("the stamp {} is not a number of milliseconds", quoted(text)))
}

fn check_window(args: &Args, stamp: UnixMillis, now: UnixMillis) -> Result<(), Reason> {
    let digits = stamp.to_string().len();
    if digits != STAMP_DIGITS {
        return Err(format!("the stamp has {digits} digits; milliseconds of today have {STAMP_DIGITS}"));
    }
    let age = Duration::from_millis(now.saturating_sub(stamp));
    let ahead = Duration::from_millis(stamp.saturating_sub(now));
    if age > args.max_age {
        return Err(format!("the stamp is {age:?} old, more than {:?}", args.max_age));
    }
    if ahead > args.max_ahead {
        return Err(format!("the stamp is {ahead:?} ahead of this machine's clock, more than {:?}", args.max_ahead));
    }
    Ok(())
}

fn check_signature(
    scheme: Scheme,
    claims: &Claims<'_>,
    message: &Message<'_>,
    token: Option<&Secret>,
    Presented { input, sign, .. }: &Presented,
) -> Result<(), Reason> {
    if scheme == Scheme::Rfc9421 {
        let presented = sign::Presented::Message { input, signature: sign };
        let valid = verify(scheme, claims, message, token, &presented);
        return if valid { Ok(()) } else { Err(not_that(scheme, claims, message, token, "")) };
    }
    if sign.len() != 64 || !sign.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("the signature is not 64 lower-case hexadecimal digits".to_owned());
    }
    if verify(scheme, claims, message, token, &sign::Presented::Sign(sign)) {
        return Ok(());
    }
    Err(not_that(scheme, claims, message, token, &likely_cause(scheme, claims, message, token, sign)))
}

fn not_that(scheme: Scheme, claims: &Claims<'_>, message: &Message<'_>, token: Option<&Secret>, cause: &str) -> Reason {
    if scheme.binds_request() && token.is_none() {
        return format!("{} cannot be checked without a token", scheme.name());
    }
    format!("the signature is not that of {}{cause}", quoted(&masked_base(scheme, claims, message, token)))
}

/// Whoever runs this has the token: what would have fitted helps them and nobody else.
fn likely_cause(
    scheme: Scheme,
    claims: &Claims<'_>,
    message: &Message<'_>,
    token: Option<&Secret>,
    sign: &str,
) -> String {
    let sign = sign::Presented::Sign(sign);
    let fits = |candidate: &Scheme| *candidate != scheme && verify(*candidate, claims, message, token, &sign);
    if let Some(other) = Scheme::ALL.into_iter().find(fits) {
        return format!("; it fits scheme {}", other.name());
    }
    if token.is_some() && verify(scheme, claims, message, None, &sign) {
        return "; it was made without a token".to_owned();
    }
    String::new()
}

/// For a terminal: control characters escaped.
fn quoted(text: &str) -> String {
    format!("`{}`", text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>())
}

/// For clap: as the configuration's durations.
fn parse_duration(text: &str) -> Result<Duration, String> {
    config::parse_duration(text).map_err(complaint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{command, parse};
    use crate::policy::sign::signature;

    const TOKEN: &str = "0123456789abcdef0123456789abcde";
    const NOW: u64 = 1_700_000_000_000;

    fn verdict(line: &[&str]) -> Result<(), String> {
        let args = parse::<Args>(&[&["--scheme", "user-project-stamp", "--token", TOKEN], line].concat()).unwrap();
        let (presented, called, token) = read(&args).map_err(|usage| format!("usage: {usage}"))?;
        judge(&args, &presented?, &called, token.as_ref(), NOW)
    }

    fn hex_digits(signature: Option<sign::Signature>) -> String {
        match signature {
            Some(sign::Signature::Sign(sign)) => String::from_utf8(sign.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn sign(user: &str, project: &str, stamp: u64) -> String {
        let claims = Claims { user, project, app_id: "", stamp };
        hex_digits(signature(Scheme::UserProjectStamp, &claims, &Message::default(), Some(&Secret::new(TOKEN))))
    }

    fn stated(stamp: u64, sign: &str, further: &[&str]) -> Result<(), String> {
        let stamp = stamp.to_string();
        let line = ["--user", "Dev@example.com", "--project", "demo", "--stamp", &stamp, "--sign", sign];
        verdict(&[&line, further].concat())
    }

    fn with_headers(change: &[(&str, &str)], further: &[&str]) -> Result<(), String> {
        let sign = sign("dev@example.com", "demo", NOW);
        let stamp = NOW.to_string();
        let mut fields = vec![
            ("X-Kms-User", "dev@example.com"),
            ("x-kms-stamp", &stamp),
            ("X-KMS-PROJECT", "demo"),
            ("x-kms-sign", &sign),
        ];
        for (name, value) in change {
            match fields.iter_mut().find(|field| field.0.eq_ignore_ascii_case(name)) {
                Some(field) if *value != "+" => field.1 = value,
                _ => fields.push((name, "again")),
            }
        }
        let lines: Vec<String> =
            fields.iter().filter(|f| f.1 != "-").map(|(name, value)| format!("{name}: {value}")).collect();
        let options: Vec<&str> = lines.iter().flat_map(|line| ["-H", line]).chain(further.iter().copied()).collect();
        verdict(&options)
    }

    fn fails(verdict: Result<(), String>, words: &str) {
        let reason = verdict.expect_err(words);
        assert!(reason.contains(words), "{reason:?} does not say {words:?}");
        assert!(!reason.contains(TOKEN), "{reason:?}");
    }

    #[test]
    fn what_was_signed_is_valid() {
        assert_eq!(stated(NOW, &sign("dev@example.com", "demo", NOW), &[]), Ok(()));
        assert_eq!(with_headers(&[], &[]), Ok(()));
        assert_eq!(with_headers(&[], &["--user", "dev@example.com", "--project", "demo"]), Ok(()));
        assert_eq!(with_headers(&[("x-other", "+"), ("x-other", "+")], &[]), Ok(()));
    }

    #[test]
    fn what_was_not_signed_is_not() {
        let good = sign("dev@example.com", "demo", NOW);
        fails(stated(NOW + 1, &good, &[]), "not that of `dev@example.comdemo1700000000001***`");
        fails(stated(NOW, &sign("eve@example.com", "demo", NOW), &[]), "not that of");
        fails(stated(NOW, &good.to_uppercase(), &[]), "64 lower-case");
        fails(stated(NOW, "", &[]), "64 lower-case");
        fails(stated(NOW, "demo", &[]), "demonstration");
        fails(with_headers(&[("x-kms-user", "eve@example.com")], &[]), "not that of");
        fails(with_headers(&[("x-kms-user", "DEV@example.com")], &[]), "lower-case ASCII");
        fails(with_headers(&[("x-kms-user", "-")], &[]), "no x-kms-user");
        fails(with_headers(&[("x-kms-project", "-")], &[]), "no x-kms-project");
        fails(with_headers(&[("x-kms-sign", "-")], &[]), "no x-kms-sign");
        fails(with_headers(&[("x-kms-stamp", "-")], &[]), "no x-kms-stamp");
        fails(with_headers(&[("x-kms-user", "+")], &[]), "more than one x-kms-user");
        fails(
            with_headers(&[], &["--user", "eve@example.com"]),
            "the user is `dev@example.com`, not `eve@example.com`",
        );
        fails(with_headers(&[], &["--project", "other"]), "the project is");
        fails(with_headers(&[], &["--app-id", "7"]), "the app id is");
    }

    #[test]
    fn identities_that_share_a_signature_are_told_apart_by_what_is_expected() {
        let sign = sign("a@x.com", "proj", NOW);
        let stamp = NOW.to_string();
        let moved = ["--header", "x-kms-user: a@x.co", "-H", "x-kms-project: mproj", "-H"];
        let rest = [&format!("x-kms-sign: {sign}"), "-H", &format!("x-kms-stamp: {stamp}")];
        assert_eq!(verdict(&[&moved[..], &rest[..]].concat()), Ok(()), "that is what the scheme is like");
        fails(verdict(&[&moved[..], &rest[..], &["--project", "proj"]].concat()), "the project is");
    }

    #[test]
    fn the_stamp_has_a_window() {
        let at = |stamp: u64, further: &[&str]| stated(stamp, &sign("dev@example.com", "demo", stamp), further);
        assert_eq!(at(NOW - 300_000, &[]), Ok(()));
        fails(at(NOW - 300_001, &[]), "old");
        assert_eq!(at(NOW + 300_000, &[]), Ok(()));
        fails(at(NOW + 300_001, &[]), "ahead");
        assert_eq!(at(NOW - 300_001, &["--max-age", "10m"]), Ok(()));
        fails(at(NOW - 1001, &["--max-age", "1s"]), "old");
        assert_eq!(at(5, &["--no-window"]), Ok(()));
        fails(at(170_000_000_000, &[]), "12 digits");
        fails(at(NOW * 10, &[]), "14 digits");
        for stamp in ["", "-1", "+1", "1e3", "0x1", "01", "1700000000000 ", "99999999999999999999999"] {
            fails(
                verdict(&["--user", "", "--project", "x", "--sign", "x", &format!("--stamp={stamp}")]),
                "not a number",
            );
        }
    }

    #[test]
    fn likely_causes_are_said() {
        let claims = Claims { user: "dev@example.com", project: "demo", app_id: "", stamp: NOW };
        let other = |scheme, token: Option<&Secret>| hex_digits(signature(scheme, &claims, &Message::default(), token));
        fails(stated(NOW, &other(Scheme::UserStamp, Some(&Secret::new(TOKEN))), &[]), "it fits scheme user-stamp");
        fails(stated(NOW, &other(Scheme::UserProjectStamp, None), &[]), "made without a token");
    }

    #[test]
    fn heads_are_read_from_files() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("head");
        let sign = sign("dev@example.com", "demo", NOW);
        let fields = format!(
            "x-kms-user: dev@example.com\r\nX-Kms-Project:demo\r\nx-kms-stamp: {NOW}\r\nx-kms-sign: {sign}\r\n"
        );
        for text in
            [fields.clone(), format!("GET /a0 HTTP/1.1\r\n{fields}\r\nx-kms-user: body\r\n"), fields.replace('\r', "")]
        {
            std::fs::write(&file, &text).unwrap();
            assert_eq!(verdict(&["--headers-from", file.to_str().unwrap()]), Ok(()), "{text:?}");
        }
        fails(verdict(&["--headers-from", "/no/such/file"]), "usage: /no/such/file");
    }

    #[test]
    fn calls_that_make_no_sense_are_refused() {
        fails(verdict(&[]), "usage: give --sign and --stamp");
        fails(verdict(&["--sign", "x", "--stamp", "1"]), "usage: --user is needed");
        fails(verdict(&["-H", "no colon"]), "usage: a header line");
        for line in [
            &["--sign", "x"][..],
            &["--stamp", "1"],
            &["--sign", "x", "--stamp", "1", "-H", "a: b"],
            &["-H", "a: b", "--max-age", "5"],
            &["-H", "a: b", "--max-age", "5d"],
            &["-H", "a: b", "--no-window", "--max-age", "5s"],
        ] {
            assert!(parse::<Args>(&[&["--scheme", "user-stamp"], line].concat()).is_err(), "{line:?}");
        }
    }

    #[test]
    fn the_options_are_consistent_and_warn_about_the_process_list() {
        command::<Args>().debug_assert();
        let help = command::<Args>().render_long_help().to_string();
        assert!(help.contains("list of processes"), "{help}");
    }
}
