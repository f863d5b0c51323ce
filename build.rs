//! Tells the program what it was built with, for `build_info` and `--version`.
//!
//! The revision comes from `COUNTERSIGN_REVISION`, which packaging sets; guessing it from a checkout would either be
//! stale or rebuild everything at each commit.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=COUNTERSIGN_REVISION");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(rustc).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    if let Some(version) = text.split_whitespace().nth(1) {
        println!("cargo:rustc-env=COUNTERSIGN_RUSTC={version}");
    }
}
