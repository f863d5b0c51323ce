//! What the operator reads when it starts: one line a listener, and where the control plane is.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

use crate::admin::ListenerAddress;
use crate::table::Table;

/// Writes a line to standard error; a terminal that has gone away is no reason to stop.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
}

/// Says where everything is.
pub fn announce(listeners: &[ListenerAddress], admin: Option<SocketAddr>, table: &Table) {
    let (routes, projects) = (table.routes.len(), projects(table));
    say(&format!(
        "countersign {} · generation {} · {projects} · {routes} routes",
        env!("CARGO_PKG_VERSION"),
        table.generation
    ));
    for ListenerAddress { name, address, tls } in listeners {
        let scheme = if *tls { "https" } else { "http" };
        say(&format!("  listener {name}: {scheme}://{address}"));
    }
    if let Some(address) = admin {
        let token = tidy(&table.admin.state_dir.join("admin.token"));
        say(&format!("  admin: http://{address} (status, metrics, API; bearer token in {})", token.display()));
    }
}

/// `conf/../state` as `state`; for reading only, because a link could make them differ.
pub fn tidy(path: &Path) -> PathBuf {
    let mut tidied = PathBuf::new();
    for part in path.components() {
        match (part, tidied.components().next_back()) {
            (Component::ParentDir, Some(Component::Normal(_))) => drop(tidied.pop()),
            _ => tidied.push(part),
        }
    }
    tidied
}

fn projects(table: &Table) -> String {
    let mut names: Vec<&str> = table.routes.iter().map(|route| &*route.project).collect();
    names.sort_unstable();
    names.dedup();
    match names.as_slice() {
        [one] => format!("project {one}"),
        many => format!("{} projects", many.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_tidied_for_reading() {
        for (path, tidied) in
            [("conf/../state/x", "state/x"), ("../a", "../a"), ("a/b/../../c", "c"), ("/etc/c/..", "/etc")]
        {
            assert_eq!(tidy(Path::new(path)), Path::new(tidied));
        }
    }
}
