//! What is shipped to be read or started is true: every file in `conf/` and every YAML block marked `yaml complete` in the
//! README and in `docs/` loads and compiles, without so much as a warning. Secrets that they name are put in their places.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use countersign::config::{Loading, load, load_text, render};
use countersign::table::compile::{Stamp, compile};

use crate::support::tls::Authority;

/// A secret of its own for each name: two clients may not have one token.
fn secret(name: &str) -> String {
    let own: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("0123456789abcdef0123456789abcdef{own}")
}

/// Variables that a document leaves to the reader are secrets; those with a default keep it.
fn variable(name: &str) -> Option<String> {
    name.ends_with("_TOKEN").then(|| secret(name))
}

/// What a shipped file cannot do without.
fn required(name: &str) -> Option<String> {
    (name == "KIRO_CLIENT_TOKEN").then(|| secret(name))
}

fn no_variable(_: &str) -> Option<String> {
    None
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files(directory: &str, ending: &str) -> Vec<PathBuf> {
    let listed = fs::read_dir(directory).unwrap_or_else(|error| panic!("{directory}: {error}"));
    let mut found: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == ending));
    found.sort();
    assert!(!found.is_empty(), "no .{ending} in {directory}");
    found
}

/// Everything that `check --strict` would say, as text; empty when it holds.
fn complaints(loading: Loading) -> String {
    let mut text = render::human(&loading.sources, &loading.diagnostics, false);
    match loading.model {
        Some(model) => {
            let stamp = Stamp { generation: 1, sha256: loading.sha256, now: 1_795_290_358_123 };
            let compiled = compile(model, &loading.sources, stamp, None);
            text.push_str(&render::human(&loading.sources, &compiled.diagnostics, false));
            assert!(compiled.table.is_some() || !text.is_empty(), "refused without a reason");
        }
        None => assert!(!text.is_empty(), "refused without a reason"),
    }
    text
}

/// Makes every file that `file:…` names, as the documentation tells the operator to.
fn make_secrets(text: &str, directory: &Path) {
    for (start, _) in text.match_indices("file:") {
        let end = |c: char| c.is_whitespace() || "\",}'".contains(c);
        let name = text[start + 5..].split(end).next().unwrap_or_default();
        // A key such as `file: access.log` is no reference.
        if name.is_empty() {
            continue;
        }
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, secret(name)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// Makes every certificate, key and CA that a listener names.
fn make_certificates(text: &str, directory: &Path) {
    let authority = Authority::default();
    let named = |line: &str, key: &str| {
        let (_, after) = line.split_once(&format!("{key}: "))?;
        let name = after.split([',', ' ', '}']).next().unwrap_or_default();
        (!name.is_empty() && !name.starts_with('/')).then(|| directory.join(name))
    };
    let write = |path: &Path, text: &str| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    for line in text.lines() {
        if let Some((cert, key)) = named(line, "{ cert").zip(named(line, " key")) {
            let pem = authority.server(&["example.com"]);
            write(&cert, &pem.cert);
            write(&key, &pem.key);
        }
        if let Some(path) = named(line, "client_ca") {
            write(&path, &authority.pem);
        }
    }
}

/// What `htpasswd -nbB` prints.
const USERS: &str = "ann@example.com:$2y$04$Vu.VmFUyVA7uRKsadvEcQujVW4VfHVKikH6w84nDam9akUFSfrYmK\n";

/// Makes every users' file that is named.
fn make_users(text: &str, directory: &Path) {
    for (start, key) in text.match_indices("users_file: ") {
        let name: String = text[start + key.len()..].chars().take_while(|c| !c.is_whitespace() && *c != '}').collect();
        fs::write(directory.join(name), USERS).unwrap();
    }
}

/// The blocks that say `yaml complete`, with the line at which they begin.
fn complete_blocks(page: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line.trim() == "```yaml complete" {
            let block: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            blocks.push((number + 2, block.join("\n")));
        }
    }
    blocks
}

#[test]
fn every_configuration_that_is_shipped_holds_strictly() {
    for shipped in files("conf", "yaml") {
        let directory = tempfile::tempdir().unwrap();
        let conf = directory.path().join("conf");
        fs::create_dir(&conf).unwrap();
        let text = read(&shipped);
        let path = conf.join(shipped.file_name().unwrap());
        fs::write(&path, &text).unwrap();
        make_secrets(&text, &conf);
        make_certificates(&text, &conf);
        make_users(&text, &conf);
        assert_eq!(complaints(load(&path, &required)), "", "{}", shipped.display());
    }
}

/// The variables that the remote-deployment guide names.
#[test]
fn the_remote_set_up_is_moved_by_its_variables() {
    let place = tempfile::tempdir().unwrap();
    let read = |variables: &'static [(&'static str, &'static str)]| {
        let env =
            move |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        load_text("kiro.yaml", &read(Path::new("conf/kiro.yaml")), place.path(), &env)
    };
    let loading = read(&[
        ("PORT", "9999"),
        ("KIRO_CLIENT_TOKEN", "a-token-of-the-operators-own-making"),
        ("KIRO_TOKENS_DIR", "/var/lib/kiro/tokens"),
        ("LOG_LEVEL", "debug"),
        ("LOG_FORMAT", "json"),
        ("LOG_FILE", "/var/log/kiro.log"),
    ]);
    let model = loading.model.expect("it holds");
    assert_eq!(model.listeners[0].address.port(), 9999);
    assert_eq!(model.tokens_dir, Path::new("/var/lib/kiro/tokens"));
    assert_eq!(model.logging.level, log::LevelFilter::Debug);
    assert_eq!(model.logging.file.as_deref(), Some(Path::new("/var/log/kiro.log")));
    let route = &model.projects[0].environments[0].routes[0];
    assert_eq!((route.prefix.as_str(), route.credential.as_ref().map(|name| name.as_str())), ("/v1", Some("kiro")));
    for (variables, code) in
        [(&[][..], "unset_variable"), (&[("KIRO_CLIENT_TOKEN", "your-secure-token")][..], "placeholder_token")]
    {
        let loading = read(variables);
        assert!(loading.model.is_none() && loading.diagnostics.iter().any(|it| it.code == code), "{code}");
    }
    let without = read(&[]).diagnostics.remove(0);
    assert!(without.message.contains("set KIRO_CLIENT_TOKEN"), "{}", without.message);
}

#[test]
fn every_complete_example_in_the_documentation_holds_strictly() {
    let mut pages = files("docs", "md");
    pages.push(PathBuf::from("README.md"));
    let mut seen = 0;
    for page in pages {
        for (line, block) in complete_blocks(&read(&page)) {
            let directory = tempfile::tempdir().unwrap();
            let place = format!("{}:{line}", page.display());
            make_secrets(&block, directory.path());
            make_certificates(&block, directory.path());
            make_users(&block, directory.path());
            assert_eq!(complaints(load_text(&place, &block, directory.path(), &variable)), "", "{place}");
            seen += 1;
        }
    }
    assert!(seen >= 3, "only {seen} complete examples: is the fence still `yaml complete`?");
}
