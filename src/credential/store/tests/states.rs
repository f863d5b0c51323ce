//! The states that a directory of tokens can be found in: what cannot be used is named with what to do about it, and never takes the
//! other tokens with it.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::SystemTime;

use super::*;

/// How it is made, of a directory and the record whose file is to be spoilt.
type Spoil = fn(&Place, &Record);

/// A bad state of one file: what it is called, how it is made, the fault's code, and what its message says.
const FILES: [(&str, Spoil, &str, &str); 34] = [
    ("mode 0644", |p, r| chmod(&p.file(r), 0o644), WRONG_MODE, "chmod 600"),
    ("mode 0640", |p, r| chmod(&p.file(r), 0o640), WRONG_MODE, "chmod 600"),
    ("mode 0604", |p, r| chmod(&p.file(r), 0o604), WRONG_MODE, "chmod 600"),
    ("mode 0660", |p, r| chmod(&p.file(r), 0o660), WRONG_MODE, "0660"),
    ("mode 0666", |p, r| chmod(&p.file(r), 0o666), WRONG_MODE, "0666"),
    ("mode 0777", |p, r| chmod(&p.file(r), 0o777), WRONG_MODE, "0777"),
    ("mode 4610", |p, r| chmod(&p.file(r), 0o4610), WRONG_MODE, "4610"),
    ("a link to a file beside it", link_beside, NOT_A_FILE, "symbolic link"),
    ("a link to a file elsewhere", link_elsewhere, NOT_A_FILE, "symbolic link"),
    ("a link to nothing", |p, r| link(p, r, "nowhere"), NOT_A_FILE, "symbolic link"),
    ("a link to itself", |p, r| link(p, r, &file_name(&r.id)), NOT_A_FILE, "symbolic link"),
    ("a link to a device", |p, r| link(p, r, "/dev/zero"), NOT_A_FILE, "symbolic link"),
    ("a link to what the process has open", |p, r| link(p, r, "/proc/self/fd/0"), NOT_A_FILE, "symbolic link"),
    ("a second name beside it", hard_link_beside, NOT_A_FILE, "2 names"),
    ("a second name elsewhere", hard_link_elsewhere, NOT_A_FILE, "2 names"),
    ("a pipe", |p, r| instead(p, r, |path| run("mkfifo", &[path])), NOT_A_FILE, "a pipe: remove it"),
    ("a socket", |p, r| instead(p, r, |path| drop(UnixListener::bind(path).unwrap())), NOT_A_FILE, "a socket"),
    ("a directory", |p, r| instead(p, r, |path| fs::create_dir(path).unwrap()), NOT_A_FILE, "a directory"),
    ("a full directory", full_directory, NOT_A_FILE, "a directory"),
    ("no byte", |p, r| rewrite(p, r, |_| Vec::new()), CORRUPT, ".corrupt-"),
    ("the first byte", |p, r| rewrite(p, r, |bytes| bytes[..1].to_vec()), CORRUPT, ".corrupt-"),
    (
        "half of it",
        |p, r| rewrite(p, r, |bytes| bytes[..bytes.len() / 2].to_vec()),
        CORRUPT,
        "restore it from a backup",
    ),
    ("all but the last brace", |p, r| rewrite(p, r, |bytes| bytes[..bytes.len() - 2].to_vec()), CORRUPT, "JSON"),
    ("zeros, as after a power cut", |p, r| rewrite(p, r, |bytes| vec![0; bytes.len()]), CORRUPT, "log in again"),
    ("zeros at the end", zeros_at_the_end, CORRUPT, ".corrupt-"),
    ("twice", |p, r| rewrite(p, r, |bytes| bytes.repeat(2)), CORRUPT, ".corrupt-"),
    ("another access token", |p, r| replace(p, r, "access-1", "access-9"), CORRUPT, "checksum"),
    ("another end", |p, r| replace(p, r, "2026-", "2036-"), CORRUPT, "take `crc32c` and `v` out"),
    ("no checksum", |p, r| replace(p, r, "\"crc32c\"", "\"crc\""), CORRUPT, "checksum"),
    ("no text", |p, r| rewrite(p, r, |_| vec![0xff; 300]), CORRUPT, "not a JSON object"),
    ("huge", |p, r| rewrite(p, r, |_| vec![b' '; 64 * 1024 + 1]), UNREADABLE, "65537 bytes"),
    ("sparse and enormous", enormous, UNREADABLE, "move it elsewhere"),
    ("another token's file", copied, UNREADABLE, "another token"),
    ("something else in JSON", |p, r| rewrite(p, r, |_| b"{\"name\": \"x\"}".to_vec()), UNREADABLE, "holds no token"),
];

#[test]
fn a_file_that_cannot_be_used_is_named_and_the_others_keep_working() {
    for (state, spoil, code, says) in FILES {
        let place = Place::new();
        let (good, spoilt) = (record(), record());
        let store = place.open();
        store.create(&good).unwrap();
        store.create(&spoilt).unwrap();
        spoil(&place, &spoilt);
        let read = store.read(&spoilt.id).unwrap_err();
        assert_eq!(read.code, code, "{state}: {read:?}");
        let (records, faults) = place.open().load();
        assert_eq!(records, std::slice::from_ref(&good), "{state}");
        let [fault] = &faults[..] else { panic!("{state}: {faults:?}") };
        assert_eq!((fault.code, fault.file.as_str()), (code, &*file_name(&spoilt.id)), "{state}: {fault:?}");
        assert!(fault.message.contains(says), "{state}: {}", fault.message);
        assert!(fault.message.contains(place.file(&spoilt).to_str().unwrap()), "{state}: {}", fault.message);
        assert!(!fault.message.contains("access-") && !fault.message.contains("refresh-1"), "{}", fault.message);
        is_set_aside_if_damaged(&place, &spoilt, code, state);
        // The good one can be refreshed meanwhile.
        let second = good.next(&granted("access-2", None), 1_795_313_760_000);
        store.lock(&good.id).unwrap().save(&second).unwrap();
        assert_eq!(store.read(&good.id), Ok(Some(second)), "{state}");
    }
}

fn is_set_aside_if_damaged(place: &Place, spoilt: &Record, code: &str, state: &str) {
    let aside: Vec<_> = place.names().into_iter().filter(|name| name.starts_with(".corrupt-")).collect();
    let there = place.file(spoilt).symlink_metadata().is_ok();
    assert_eq!((aside.len(), there), if code == CORRUPT { (1, false) } else { (0, true) }, "{state}");
    if let [aside] = &aside[..] {
        assert!(aside.ends_with(&file_name(&spoilt.id)), "{aside}");
        assert_eq!(mode(&place.path().join(aside)), 0o600, "{state}");
        let (records, faults) = place.open().load();
        assert_eq!((records.len(), faults.len()), (1, 0), "{state}: what was set aside is read again");
    }
}

/// Makes a state.
type Make = fn(&Path);

/// A bad state of the directory: what it is called, how it is made, and what is said.
const DIRECTORIES: [(&str, Make, &str); 7] = [
    ("a file", |path| fs::write(path, "").unwrap(), "not a directory"),
    ("a link to a directory", link_to_a_directory, "symbolic link: name the directory /"),
    ("a link to nothing", |path| symlink("nowhere", path).unwrap(), "symbolic link"),
    ("shared", |path| make(path, 0o1777), "shared with other programs"),
    ("with a link for its journals", |path| with_a_link(path, ".wal"), ".wal"),
    ("with a link for its locks", |path| with_a_link(path, ".lock"), ".lock"),
    ("with a file for its marks", |path| with_a_file(path, ".hw"), ".hw"),
];

#[test]
fn a_directory_that_cannot_be_used_is_refused_by_name() {
    for (state, spoil, says) in DIRECTORIES {
        let place = Place::new();
        spoil(&place.path());
        let error = Store::open(&place.options(None)).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains(place.path().to_str().unwrap()), "{state}: {error}");
        let with_a_slash = Options { directory: place.path().join(""), ..place.options(None) };
        assert!(Store::open(&with_a_slash).is_err(), "{state}, with a slash behind it");
    }
}

#[test]
fn a_directory_of_somebody_elses_is_refused() {
    // The root directory is root's; a root that runs the tests makes one of another user's.
    let place = Place::new();
    let theirs = if rustix::process::geteuid().is_root() {
        make(&place.path(), 0o700);
        std::os::unix::fs::chown(place.path(), Some(65534), None).unwrap();
        place.path()
    } else {
        PathBuf::from("/")
    };
    let error = Store::open(&Options { directory: theirs, ..place.options(None) }).unwrap_err().to_string();
    assert!(error.contains("chown"), "{error}");
}

#[test]
fn a_file_of_somebody_elses_is_refused() {
    if !rustix::process::geteuid().is_root() {
        // Only root can give a file away: the check itself is the same as of any other file of root's.
        let stat = rustix::fs::stat("/etc/passwd").unwrap();
        let fault = file::check(Path::new("/etc/passwd"), &stat, LARGEST).unwrap_err();
        assert_eq!(fault.code, WRONG_OWNER);
        return;
    }
    let place = Place::new();
    let (store, record) = (place.open(), record());
    store.create(&record).unwrap();
    std::os::unix::fs::chown(place.file(&record), Some(65534), None).unwrap();
    let fault = store.read(&record.id).unwrap_err();
    assert!(fault.code == WRONG_OWNER && fault.message.contains("`chown` it"), "{fault:?}");
    assert_eq!(store.load(), (vec![], vec![fault]));
    let mut locked = store.lock(&record.id).unwrap();
    let second = record.next(&granted("access-2", None), 1_795_313_760_000);
    assert!(matches!(locked.save(&second), Err(SaveError::Fault(fault)) if fault.code == WRONG_OWNER));
}

#[test]
fn a_directory_that_was_left_open_is_closed() {
    let place = Place::new();
    make(&place.path(), 0o755);
    place.open();
    assert_eq!(mode(&place.path()), 0o700);
    chmod(&place.path().join(".wal"), 0o777);
    place.open();
    assert_eq!(mode(&place.path().join(".wal")), 0o700);
}

#[test]
fn a_wrong_key_is_refused_before_anything_is_made() {
    let place = Place::new();
    let error = Store::open(&place.options(Some("hunter2"))).unwrap_err().to_string();
    assert!(error.contains("tokens.encryption_key") && !error.contains("hunter2"), "{error}");
    assert!(!place.path().exists());
}

#[test]
fn saving_over_what_is_no_file_of_ours_is_refused() {
    for spoil in [link_elsewhere as Spoil, hard_link_elsewhere, full_directory] {
        let place = Place::new();
        let (store, first) = (place.open(), record());
        store.create(&first).unwrap();
        spoil(&place, &first);
        let before = place.file(&first).symlink_metadata().unwrap().file_type();
        let mut locked = store.lock(&first.id).unwrap();
        let second = first.next(&granted("access-2", None), 1_795_313_760_000);
        assert!(matches!(locked.save(&second), Err(SaveError::Fault(fault)) if fault.code == NOT_A_FILE));
        assert_eq!(place.file(&first).symlink_metadata().unwrap().file_type(), before);
    }
}

#[test]
fn saving_over_a_damaged_file_keeps_it_aside() {
    let place = Place::new();
    let (store, first) = (place.open(), record());
    store.create(&first).unwrap();
    replace(&place, &first, "access-1", "access-9");
    let second = first.next(&granted("access-2", None), 1_795_313_760_000);
    store.lock(&first.id).unwrap().save(&second).unwrap();
    assert_eq!(store.load(), (vec![second], vec![]));
    assert!(place.names().iter().any(|name| name.starts_with(".corrupt-")));
}

#[test]
fn a_journal_that_is_not_ours_alone_is_neither_read_nor_written() {
    for spoil in [
        |path: &Path, victim: &Path| symlink(victim, path).unwrap(),
        |path: &Path, victim: &Path| {
            fs::hard_link(victim, path).unwrap();
        },
    ] {
        let place = Place::new();
        let (store, first) = (place.open(), record());
        store.create(&first).unwrap();
        let victim = place.directory.path().join("victim");
        fs::write(&victim, "untouched").unwrap();
        spoil(&place.path().join(".wal").join(first.id.as_str()), &victim);
        let mut locked = store.lock(&first.id).unwrap();
        assert!(locked.intend(&intent(&first)).is_err());
        assert!(locked.unfinished().is_err());
        assert!(locked.settle().is_err());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    }
}

#[test]
fn a_file_from_a_backup_is_said_to_be_one() {
    let place = Place::new();
    let (store, first) = (place.open(), record());
    store.create(&first).unwrap();
    let backup = fs::read(place.file(&first)).unwrap();
    let mut latest = first.clone();
    for generation in 2..=5 {
        latest = latest.next(&granted(&format!("access-{generation}"), None), 1_795_313_760_000);
        store.lock(&first.id).unwrap().save(&latest).unwrap();
    }
    place.put(&file_name(&first.id), backup);
    let (records, faults) = place.open().load();
    let expected = Record { generation: 5, reason: Some(STALE_RESTORE.to_owned()), ..first.clone() };
    assert_eq!(records, std::slice::from_ref(&expected));
    assert_eq!((faults.len(), faults[0].code), (1, STALE_RESTORE));
    assert!(faults[0].message.contains("generation 1") && faults[0].message.contains("generation 5"));
    // What is had with it is above everything that was there.
    let mut locked = store.lock(&first.id).unwrap();
    assert_eq!(locked.current(), Ok(Some(expected.clone())));
    let next = expected.next(&granted("access-6", None), 1_795_313_761_000);
    locked.save(&next).unwrap();
    assert_eq!((next.generation, next.reason.as_deref()), (6, None));
    assert_eq!(place.open().load(), (vec![next], vec![]));
}

#[test]
fn marks_that_are_damaged_are_none() {
    let place = Place::new();
    let (store, first) = (place.open(), record());
    store.create(&first).unwrap();
    let mark = place.path().join(".hw").join(first.id.as_str());
    for damaged in [&b""[..], b"99999999999999999999 00000000\n", &[0; 30]] {
        fs::write(&mark, damaged).unwrap();
        assert_eq!(place.open().load(), (vec![first.clone()], vec![]));
    }
    assert_eq!(high_water::read(&store.marks, &first.id), 1, "it is set again");
}

#[test]
fn files_that_are_none_of_ours_are_left_alone() {
    let place = Place::new();
    place.open();
    for name in ["README", "notes.txt", "x.json~", ".hidden.json", ".corrupt-x-y.json", "x.JSON", ".json"] {
        place.put(name, "{");
    }
    let before = place.names();
    assert_eq!(place.open().load(), (vec![], vec![]));
    assert_eq!(place.names(), before);
}

#[test]
fn what_is_still_being_copied_is_not_judged() {
    let place = Place::new();
    let (store, record) = (place.open(), record());
    store.create(&record).unwrap();
    let bytes = fs::read(place.file(&record)).unwrap();
    let half = place.put(&file_name(&record.id), &bytes[..100]);
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| store.load());
        // The load has seen the half when it waits; that it had not is as good.
        std::thread::sleep(SETTLING / 4);
        fs::write(half, &bytes).unwrap();
        assert_eq!(loading.join().unwrap(), (vec![record], vec![]));
    });
}

/// As long as the store waits.
const SETTLING: Duration = Duration::from_secs(1);

#[test]
fn what_a_crash_left_is_swept_and_what_is_in_use_is_not() {
    let place = Place::new();
    let (store, first) = (place.open(), record());
    store.create(&first).unwrap();
    place.put(".tmp.idp-abc.0123", "secrets");
    place.put(".tmp.odd", "recent");
    let old = fs::File::create(place.path().join(".tmp.old")).unwrap();
    old.set_modified(SystemTime::now() - 2 * ABANDONED).unwrap();
    let mut locked = store.lock(&first.id).unwrap();
    locked.intend(&intent(&first)).unwrap();
    place.open();
    let names = place.names();
    assert!(names.contains(&".tmp.odd".to_owned()) && names.len() == 3, "{names:?}");
    assert!(names.iter().any(|name| name.starts_with(&format!(".tmp.{}.", first.id))), "{names:?}");
}

#[test]
fn a_sealed_file_opens_with_its_key_only() {
    let key = |digit: &str| digit.repeat(64);
    let place = Place::new();
    let first = record();
    Store::open(&place.options(None)).unwrap().create(&first).unwrap();
    // A plain file is taken, and sealed by the next save.
    let store = Store::open(&place.options(Some(&key("1")))).unwrap();
    let second = first.next(&granted("access-2", Some("refresh-2")), 1_795_313_760_000);
    assert_eq!(store.load(), (vec![first.clone()], vec![]));
    store.lock(&first.id).unwrap().save(&second).unwrap();
    let bytes = fs::read(place.file(&first)).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("\"sealed\"") && text.contains("\"generation\": 2") && !text.contains("access"), "{text}");
    assert_eq!(store.load(), (vec![second.clone()], vec![]));
    for (other, says) in [(None, "is not set"), (Some(key("2")), "is not the key")] {
        let other = Store::open(&place.options(other.as_deref())).unwrap();
        let fault = other.read(&first.id).unwrap_err();
        assert!(fault.code == SEALED && fault.message.contains(says), "{fault:?}");
        assert_eq!(other.load(), (vec![], vec![fault]));
        let third = second.next(&granted("access-3", None), 1_795_313_770_000);
        assert!(matches!(other.lock(&first.id).unwrap().save(&third), Err(SaveError::Fault(_))));
        assert_eq!(fs::read(place.file(&first)).unwrap(), bytes, "it is not untouched");
    }
}

#[test]
fn a_sealed_answer_opens_with_its_key_only() {
    let place = Place::new();
    let (key, first) = ("1".repeat(64), record());
    let store = Store::open(&place.options(Some(&key))).unwrap();
    store.create(&first).unwrap();
    let mut locked = store.lock(&first.id).unwrap();
    locked.intend(&intent(&first)).unwrap();
    locked.answered(200, b"access-2").unwrap();
    let journal = fs::read(place.path().join(".wal").join(first.id.as_str())).unwrap();
    assert!(!journal.windows(8).any(|window| window == b"access-2"));
    assert_eq!(locked.unfinished().unwrap().unwrap().answer, Some((200, b"access-2".to_vec())));
    drop(locked);
    let without = place.open();
    let locked = without.lock(&first.id).unwrap();
    assert!(locked.unfinished().unwrap_err().to_string().contains("another key"));
}

#[test]
fn a_token_that_is_too_large_is_refused_before_it_is_written() {
    let place = Place::new();
    let store = place.open();
    let large = Record { access_token: Secret::new("x".repeat(LARGEST)), ..record() };
    let error = store.create(&large).unwrap_err().to_string();
    assert!(error.contains("too large"), "{error}");
    assert!(place.names().is_empty());
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn make(path: &Path, mode: u32) {
    fs::create_dir(path).unwrap();
    chmod(path, mode);
}

fn run(program: &str, paths: &[&Path]) {
    assert!(Command::new(program).args(paths).status().unwrap().success());
}

fn instead(place: &Place, record: &Record, make: impl Fn(&Path)) {
    fs::remove_file(place.file(record)).unwrap();
    make(&place.file(record));
}

fn full_directory(place: &Place, record: &Record) {
    instead(place, record, |path| {
        fs::create_dir(path).unwrap();
        fs::write(path.join("x"), "").unwrap();
    });
}

fn link(place: &Place, record: &Record, target: &str) {
    instead(place, record, |path| symlink(target, path).unwrap());
}

fn link_beside(place: &Place, record: &Record) {
    fs::rename(place.file(record), place.path().join("beside")).unwrap();
    symlink("beside", place.file(record)).unwrap();
}

fn link_elsewhere(place: &Place, record: &Record) {
    let elsewhere = place.directory.path().join("elsewhere");
    fs::rename(place.file(record), &elsewhere).unwrap();
    symlink(elsewhere, place.file(record)).unwrap();
}

fn hard_link_beside(place: &Place, record: &Record) {
    fs::hard_link(place.file(record), place.path().join("beside")).unwrap();
}

fn hard_link_elsewhere(place: &Place, record: &Record) {
    fs::hard_link(place.file(record), place.directory.path().join("elsewhere")).unwrap();
}

fn rewrite(place: &Place, record: &Record, change: impl Fn(&[u8]) -> Vec<u8>) {
    let bytes = fs::read(place.file(record)).unwrap();
    fs::write(place.file(record), change(&bytes)).unwrap();
    // Long enough ago that nobody can be writing it.
    let file = fs::File::options().write(true).open(place.file(record)).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
}

fn replace(place: &Place, record: &Record, from: &str, to: &str) {
    rewrite(place, record, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        assert!(text.contains(from));
        text.replace(from, to).into_bytes()
    });
}

fn zeros_at_the_end(place: &Place, record: &Record) {
    rewrite(place, record, |bytes| [&bytes[..bytes.len() - 50], &[0; 50]].concat());
}

fn enormous(place: &Place, record: &Record) {
    fs::File::options().write(true).open(place.file(record)).unwrap().set_len(1 << 40).unwrap();
}

fn copied(place: &Place, record: &Record) {
    let other = place.open().load().0.into_iter().find(|other| other.id != record.id).unwrap();
    fs::copy(place.file(&other), place.file(record)).unwrap();
}

fn link_to_a_directory(path: &Path) {
    let real = path.with_file_name("real");
    make(&real, 0o700);
    symlink(&real, path).unwrap();
}

fn with_a_link(path: &Path, name: &str) {
    make(path, 0o700);
    make(&path.with_file_name("elsewhere"), 0o700);
    symlink("../elsewhere", path.join(name)).unwrap();
}

fn with_a_file(path: &Path, name: &str) {
    make(path, 0o700);
    fs::write(path.join(name), "").unwrap();
}
