//! From a login over refreshes to the removal.

use super::*;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

#[test]
fn a_login_is_there_after_a_restart() {
    let place = Place::new();
    let record = record();
    place.open().create(&record).unwrap();
    let store = place.open();
    assert_eq!(store.load(), (vec![record.clone()], vec![]));
    assert_eq!(store.read(&record.id), Ok(Some(record.clone())));
    assert_eq!(store.read(&TokenId::fresh("idp")), Ok(None));
    assert_eq!(mode(&place.file(&record)), 0o600);
    assert_eq!(mode(&place.path()), 0o700);
    assert_eq!(place.names(), [file_name(&record.id)], "something was left beside it");
    assert!(store.is_durable());
}

#[test]
fn a_refresh_is_journalled_saved_and_over() {
    let place = Place::new();
    let (store, first) = (place.open(), record());
    store.create(&first).unwrap();
    let mut locked = store.lock(&first.id).unwrap();
    assert!(locked.unfinished().unwrap().is_none());
    locked.intend(&intent(&first)).unwrap();
    assert_eq!(locked.unfinished().unwrap().unwrap().answer, None);
    locked.answered(200, b"{\"access_token\":\"access-2\"}").unwrap();
    let unfinished = locked.unfinished().unwrap().unwrap();
    assert_eq!(unfinished.intent, intent(&first));
    assert_eq!(unfinished.answer, Some((200, b"{\"access_token\":\"access-2\"}".to_vec())));
    let second = first.next(&granted("access-2", None), 1_795_313_760_000);
    locked.save(&second).unwrap();
    assert!(locked.unfinished().unwrap().is_none());
    assert_eq!(locked.current(), Ok(Some(second.clone())));
    drop(locked);
    assert_eq!(place.open().load(), (vec![second.clone()], vec![]));
    let journal = fs::read(place.path().join(".wal").join(second.id.as_str())).unwrap();
    assert!(journal.iter().all(|byte| *byte == 0), "the journal still says something");
    assert_eq!(journal.len(), journal::LENGTH);
}

#[test]
fn what_a_crash_interrupts_is_found_at_the_next_start() {
    for key in [None, Some(KEY)] {
        let place = Place::new();
        let first = record();
        {
            let store = Store::open(&place.options(key)).unwrap();
            store.create(&first).unwrap();
            let mut locked = store.lock(&first.id).unwrap();
            locked.intend(&intent(&first)).unwrap();
            locked.answered(200, b"access-2 refresh-2").unwrap();
            // As a crash does: nothing is tidied up.
            std::mem::forget(locked);
        }
        assert_eq!(place.names().len(), 2, "the file written aside");
        let copy = Place::new();
        copy_tree(&place.path(), &copy.path());
        let store = Store::open(&copy.options(key)).unwrap();
        assert_eq!(copy.names().len(), 1, "the file written aside is still there");
        let mut locked = store.lock(&first.id).unwrap();
        let unfinished = locked.unfinished().unwrap().unwrap();
        assert_eq!(unfinished.answer, Some((200, b"access-2 refresh-2".to_vec())));
        locked.save(&first.next(&granted("access-2", Some("refresh-2")), 1_795_313_760_000)).unwrap();
        assert!(locked.unfinished().unwrap().is_none());
    }
}

#[test]
fn a_successor_on_the_disk_ends_what_the_journal_says() {
    let place = Place::new();
    let (store, first) = (place.open(), record());
    store.create(&first).unwrap();
    let mut locked = store.lock(&first.id).unwrap();
    locked.intend(&intent(&first)).unwrap();
    locked.answered(200, b"answer").unwrap();
    let path = place.path().join(".wal").join(first.id.as_str());
    let journal = fs::read(&path).unwrap();
    locked.save(&first.next(&granted("access-2", None), 1_795_313_760_000)).unwrap();
    // As if the crash had come between the file and the journal.
    fs::write(&path, journal).unwrap();
    assert!(locked.unfinished().unwrap().is_none());
}

#[test]
fn who_is_overtaken_changes_nothing() {
    let place = Place::new();
    let (store, first) = (place.open(), record());
    store.create(&first).unwrap();
    let second = first.next(&granted("access-2", None), 1_795_313_760_000);
    let mut locked = store.lock(&first.id).unwrap();
    locked.save(&second).unwrap();
    assert!(matches!(locked.save(&first), Err(SaveError::Overtaken(2))));
    let mut of_another_login = second.clone();
    of_another_login.lineage = "another".to_owned();
    assert!(matches!(locked.save(&of_another_login), Err(SaveError::Overtaken(2))));
    let paused = Record { state: crate::credential::record::State::NeedsLogin, ..second.clone() };
    locked.save(&paused).unwrap();
    assert_eq!(locked.current(), Ok(Some(paused)));
    assert!(matches!(store_create_again(&place, &first), SaveError::Overtaken(2)));
}

fn store_create_again(place: &Place, record: &Record) -> SaveError {
    let store = place.open();
    let mut other = record.clone();
    other.id = TokenId::parse(&format!("{}x", record.id)).unwrap();
    store.create(&other).unwrap();
    store.create(&other).unwrap();
    let mut locked = store.lock(&other.id).unwrap();
    locked.save(&other.next(&granted("access-2", None), 1_795_313_760_000)).unwrap();
    drop(locked);
    store.create(&other).unwrap_err()
}

#[test]
fn a_token_that_is_removed_leaves_nothing() {
    let place = Place::new();
    let (store, first) = (place.open(), record());
    store.create(&first).unwrap();
    let mut locked = store.lock(&first.id).unwrap();
    locked.intend(&intent(&first)).unwrap();
    locked.remove().unwrap();
    assert!(place.names().is_empty());
    for own in [".wal", ".hw", ".lock"] {
        assert_eq!(fs::read_dir(place.path().join(own)).unwrap().count(), 0, "{own}");
    }
    assert_eq!(store.load(), (vec![], vec![]));
}

pub fn copy_tree(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}
