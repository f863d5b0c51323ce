//! What the process is to the system: its limits and its pid file.

use std::fs;
use std::path::{Path, PathBuf};

use crate::private::{self, DirectoryError};

/// Where the pid file goes when the configuration does not say; forgiven when it can't be made.
const DEFAULT_RUNTIME_DIR: &str = "/run/countersign";
/// Descriptors beside those of connections: logs, listeners, upstream pools, event loops.
const SPARE_DESCRIPTORS: u64 = 256;

/// Raises the descriptor limit as far as allowed, and keeps secrets out of core dumps. Returns what the operator should know.
pub fn prepare(max_connections: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if rustix::process::geteuid().is_root() {
        notes.push(
            "running as root: a user of its own is safer (the systemd unit and the container image have one)"
                .to_owned(),
        );
    }
    let _ = rlimit::Resource::CORE.set(0, 0);
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    // One descriptor for the client and one for the upstream.
    let wanted = 2 * u64::try_from(max_connections).unwrap_or(u64::MAX / 4) + SPARE_DESCRIPTORS;
    match rlimit::increase_nofile_limit(wanted) {
        Ok(granted) if granted < wanted => notes.push(format!(
            "only {granted} file descriptors are allowed; server.max_connections {max_connections} may need {wanted} \
             (LimitNOFILE= in the systemd unit, `ulimit -n` in a shell)"
        )),
        Ok(_) => {}
        Err(error) => notes.push(format!("the file descriptor limit can't be read: {error}")),
    }
    notes
}

/// The pid file; removed when dropped, if it still is ours.
#[derive(Debug)]
pub struct PidFile(PathBuf);

impl PidFile {
    /// Writes `countersign.pid` into the runtime directory. `None` when none is configured and the default can't be used.
    ///
    /// # Errors
    /// When the configured directory can't be used.
    pub fn write(configured: Option<&Path>) -> Result<Option<Self>, DirectoryError> {
        let directory = configured.unwrap_or(Path::new(DEFAULT_RUNTIME_DIR));
        let written = private::directory(directory).and_then(|()| Self::write_into(directory));
        match written {
            Err(_) if configured.is_none() => Ok(None),
            written => written.map(Some),
        }
    }

    fn write_into(directory: &Path) -> Result<Self, DirectoryError> {
        let path = directory.join("countersign.pid");
        let aside = directory.join(format!(".countersign.pid.{}", std::process::id()));
        let io = |source| DirectoryError::Io { path: path.clone(), source };
        fs::write(&aside, format!("{}\n", std::process::id())).map_err(io)?;
        fs::rename(&aside, &path).map_err(io)?;
        Ok(Self(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let ours = fs::read_to_string(&self.0).is_ok_and(|text| text.trim() == std::process::id().to_string());
        if ours {
            let _ = fs::remove_file(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::PidFile;

    #[test]
    fn the_pid_file_lives_as_long_as_the_process_serves() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let pid = PidFile::write(Some(&path)).unwrap().unwrap();
        assert_eq!(fs::read_to_string(path.join("countersign.pid")).unwrap().trim(), std::process::id().to_string());
        drop(pid);
        assert!(!path.join("countersign.pid").exists());
    }
}
