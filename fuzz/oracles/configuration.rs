//! Whatever a configuration file holds, reading it ends with a model or with diagnostics that can be shown.

use std::path::Path;

use countersign::config::{load_text, render};
use countersign::table::compile::{Stamp, compile};

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.len() > 64 * 1024 || text.contains("include") || text.contains("file:") {
        return;
    }
    let loading = load_text("fuzz.yaml", text, Path::new("/nonexistent"), &|_| None);
    let shown = render::human(&loading.sources, &loading.diagnostics, false);
    let Some(model) = loading.model else {
        assert!(!shown.is_empty(), "refused without a reason");
        return;
    };
    let stamp = Stamp { generation: 1, sha256: loading.sha256, now: 0 };
    let compiled = compile(model, &loading.sources, stamp, None);
    assert!(compiled.table.is_some() || compiled.diagnostics.iter().any(|problem| problem.is_error()));
    let _ = render::human(&loading.sources, &compiled.diagnostics, false);
}
