//! What the service manager is told. Without `NOTIFY_SOCKET` in the environment every call does nothing.

use std::io;

use sd_notify::NotifyState;

/// Serving: the first table is in force and the listeners accept; also the end of a reload.
pub fn ready(status: &str) {
    tell(sd_notify::notify(false, &[NotifyState::Ready, NotifyState::Status(&one_line(status))]));
}

/// A reload has begun. Must be followed by [`ready`], however it ends.
pub fn reloading() {
    // `Type=notify-reload` wants the moment with it.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(sd_notify::notify(false, &[NotifyState::Reloading, now])),
        Err(error) => tell(Err(error)),
    }
}

/// Draining has begun.
pub fn stopping(status: &str) {
    tell(sd_notify::notify(false, &[NotifyState::Stopping, NotifyState::Status(&one_line(status))]));
}

/// A line for `systemctl status`.
pub fn status(status: &str) {
    tell(sd_notify::notify(false, &[NotifyState::Status(&one_line(status))]));
}

/// The protocol is one assignment a line.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// A service manager that cannot be reached stops nothing.
fn tell(outcome: io::Result<()>) {
    if let Err(error) = outcome {
        log::warn!("the service manager cannot be notified: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;

    const CHILD: &str = "observe::systemd::tests::says_everything_once";

    /// Runs only in the child of the test below, which has a socket to notify.
    #[test]
    #[ignore = "started by the_service_manager_hears_every_state"]
    fn says_everything_once() {
        super::ready("generation 1\nREADY=0");
        super::reloading();
        super::stopping("draining");
        super::status("idle");
    }

    #[test]
    fn the_service_manager_hears_every_state() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", CHILD, "--ignored"])
            .env("NOTIFY_SOCKET", &path)
            .output()
            .unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
        let heard = || {
            let mut buffer = [0; 512];
            let length = socket.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        assert_eq!(heard(), "READY=1\nSTATUS=generation 1 READY=0\n");
        assert!(heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
        assert_eq!(heard(), "STOPPING=1\nSTATUS=draining\n");
        assert_eq!(heard(), "STATUS=idle\n");
    }
}
