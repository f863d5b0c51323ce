//! `countersign health`: asks the running process whether it takes requests; for health checks of containers.
//!
//! Exit codes: 0 ready, 1 not ready, or nobody to ask.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use crate::admin::client::Target;

/// A health check that takes longer is a failed one.
const PATIENCE: Duration = Duration::from_secs(5);

/// The arguments of `health`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration [default: conf/countersign.yaml, then /etc/countersign/countersign.yaml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Asks, prints, and answers the exit code.
pub fn run(args: Args) -> u8 {
    let path = super::config_path(args.config.as_deref());
    let target = Target::find(&path, &|name| super::environment(name));
    match target.call("GET", "/readyz?verbose", None, PATIENCE) {
        Ok(answer) => {
            // The verdict is the exit code too.
            let _ = write!(std::io::stdout(), "{}", String::from_utf8_lossy(&answer.body));
            u8::from(answer.status != 200)
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "countersign: {error}");
            1
        }
    }
}
