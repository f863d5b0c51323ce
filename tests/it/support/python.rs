//! Virtual environments with pinned packages, kept under `target` between runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use super::process::run_within;
use super::signature;

/// The Python of an environment with what `tests/it/DIRECTORY/requirements.txt` pins.
pub fn python(directory: &str) -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _guard = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let requirements = scripts(directory).join("requirements.txt");
    let pinned = std::fs::read_to_string(&requirements).expect("requirements.txt");
    let name = format!("{directory}-{}", &signature::digest(&[&pinned])[..16]);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let (python, complete) = (directory.join("bin/python"), directory.join("complete"));
    if !complete.exists() {
        let made = run_within(
            Duration::from_secs(60),
            Command::new("python3").args(["-m", "venv", "--clear"]).arg(&directory),
        );
        assert_eq!(made.code, Some(0), "no virtual environment; is python3-venv installed? {made:?}");
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(&requirements);
        let installed = run_within(Duration::from_secs(300), &mut pip);
        assert_eq!(installed.code, Some(0), "the pinned packages cannot be installed: {}", installed.stderr);
        std::fs::write(&complete, "").expect("mark it complete");
    }
    python
}

/// Where the scripts and pins of that name are.
pub fn scripts(directory: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(directory)
}
