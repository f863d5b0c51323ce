//! Packages from npm, pinned with their digests and kept under `target` between runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use super::process::run_within;
use super::python::scripts;
use super::signature;

/// The `node_modules` with what `tests/it/DIRECTORY/package-lock.json` pins.
pub fn modules(directory: &str) -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _guard = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let source = scripts(directory);
    let pinned = std::fs::read_to_string(source.join("package-lock.json")).expect("package-lock.json");
    let name = format!("{directory}-{}", &signature::digest(&[&pinned])[..16]);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let complete = directory.join("complete");
    if !complete.exists() {
        install(&source, &directory);
        std::fs::write(&complete, "").expect("mark it complete");
    }
    directory.join("node_modules")
}

fn install(source: &Path, directory: &Path) {
    std::fs::create_dir_all(directory).expect("a directory for packages");
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(source.join(name), directory.join(name)).expect("copy what is pinned");
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]).current_dir(directory);
    let done = run_within(Duration::from_secs(300), &mut npm);
    assert_eq!(done.code, Some(0), "the pinned packages cannot be installed (apt-get install npm): {}", done.stderr);
}
