use std::fs;
use std::net::IpAddr;

use super::*;

const SECRET: &str = "$2y$04$uk/sa1fcirTbcv9qGhsVS.e3XkqXd4Jp/Ed3Rzqo5RmLs9FMTID02";
const OTHER: &str = "$2y$04$lwB7DrAqwPmLRIgcOZXwt.BRphlpIpx.enIquWEwPksWepdkZ.da.";
const NOW: UnixMillis = 1_700_000_000_000;

fn here() -> Network {
    IpAddr::from([192, 0, 2, 1]).into()
}

#[test]
fn a_changed_file_forgets() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users");
    fs::write(&path, format!("ann:{SECRET}\n")).unwrap();
    let users = UsersFile::open(&path).unwrap();
    let (secret, other) = (Secret::new("secret"), Secret::new("other"));
    assert!(!users.knows(here(), "ann", &secret, NOW));
    assert!(users.verify_from(here(), "ann", &secret, NOW) && users.knows(here(), "ann", &secret, NOW));
    fs::write(&path, format!("ann:{SECRET}\n")).unwrap();
    users.refresh();
    assert!(users.knows(here(), "ann", &secret, NOW), "the same text is no change");
    fs::write(&path, format!("ann:{OTHER}\n")).unwrap();
    users.refresh();
    assert!(!users.knows(here(), "ann", &secret, NOW));
    assert!(!users.verify("ann", &secret) && users.verify("ann", &other));
}

#[test]
fn a_broken_file_keeps_the_old() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users");
    fs::write(&path, format!("ann:{SECRET}\n")).unwrap();
    let users = UsersFile::open(&path).unwrap();
    for broken in ["ann", "ann:$2y$05$", "ann:secret\n:x\n"] {
        fs::write(&path, broken).unwrap();
        assert!(users.read_again().is_err(), "{broken}");
        assert!(users.verify("ann", &Secret::new("secret")), "{broken}");
    }
    fs::write(&path, [0xff, b':', 0xfe]).unwrap();
    assert!(matches!(users.read_again(), Err(OpenError::NoText)));
    fs::remove_file(&path).unwrap();
    assert!(matches!(users.read_again(), Err(OpenError::Unreadable(_))));
    users.refresh();
    assert_eq!(users.len(), 1);
}

#[test]
fn what_is_no_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(UsersFile::open(dir.path()), Err(OpenError::Unreadable(_))));
    assert!(matches!(UsersFile::open(&dir.path().join("none")), Err(OpenError::Unreadable(_))));
}

#[test]
fn nothing_secret_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users");
    fs::write(&path, format!("ann:{SECRET}\n")).unwrap();
    let users = UsersFile::open(&path).unwrap();
    users.verify_from(here(), "ann", &Secret::new("secret"), NOW);
    let shown = format!("{users:?}");
    assert!(!shown.contains("secret") && !shown.contains("$2y"), "{shown}");
}
