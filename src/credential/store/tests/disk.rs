//! Disks that fail at every step, and that are full after every byte: nothing that was acknowledged is lost, nothing is torn, and it
//! goes on when the disk does.

use rustix::io::Errno;

use super::*;

/// What a refresh had come to.
#[derive(Debug, Default)]
struct Progress {
    created: bool,
    intended: bool,
    answered: bool,
    saved: bool,
}

const ANSWER: &[u8] = b"{\"access_token\":\"access-2\",\"refresh_token\":\"refresh-2\"}";

fn successor(first: &Record) -> Record {
    first.next(&granted("access-2", Some("refresh-2")), 1_795_313_760_000)
}

/// A login and a refresh, as far as they come.
fn go(store: &Store, first: &Record) -> Progress {
    let mut progress = Progress::default();
    let _ = attempt(store, first, &mut progress);
    progress
}

fn attempt(store: &Store, first: &Record, progress: &mut Progress) -> Result<(), SaveError> {
    store.create(first)?;
    progress.created = true;
    refresh(store, first, progress)
}

fn refresh(store: &Store, first: &Record, progress: &mut Progress) -> Result<(), SaveError> {
    let mut locked = store.lock(&first.id)?;
    locked.intend(&intent(first))?;
    progress.intended = true;
    // From here on the provider has the old refresh token; what fails now must not stop what follows.
    progress.answered = locked.answered(200, ANSWER).is_ok();
    locked.save(&successor(first))?;
    progress.saved = true;
    Ok(())
}

/// What a new process finds.
fn holds(place: &Place, first: &Record, progress: &Progress, what: &str) {
    let store = place.open();
    let (records, faults) = store.load();
    assert_eq!(faults, [], "{what}: {progress:?}");
    let second = successor(first);
    match &records[..] {
        [] => assert!(!progress.created, "{what}: lost ({progress:?})"),
        [record] if *record == second => assert!(progress.intended, "{what}: {progress:?}"),
        [record] => {
            assert!(record == first && !progress.saved, "{what}: lost ({progress:?})");
            let unfinished = store.lock(&first.id).unwrap().unfinished().unwrap();
            let answer = unfinished.and_then(|unfinished| unfinished.answer);
            assert!(!progress.answered || answer == Some((200, ANSWER.to_vec())), "{what}: the answer is lost");
        }
        more => panic!("{what}: {more:?}"),
    }
    let visible = place.names();
    assert!(visible.len() == records.len(), "{what}: {visible:?}");
}

/// The disk is good again, and so is everything.
fn goes_on(place: &Place, store: &Store, first: &Record, what: &str) {
    if store.read(&first.id).unwrap().is_none() {
        store.create(first).unwrap();
    }
    let mut locked = store.lock(&first.id).unwrap();
    let now = locked.current().unwrap().unwrap();
    locked.intend(&intent(&now)).unwrap();
    let next = now.next(&granted("access-9", None), 1_795_313_780_000);
    locked.save(&next).unwrap();
    drop(locked);
    assert!(store.is_durable(), "{what}");
    assert_eq!(place.open().load(), (vec![next], vec![]), "{what}");
}

#[test]
fn no_step_that_fails_loses_anything() {
    for errno in [Errno::IO, Errno::NOSPC, Errno::ROFS] {
        for for_good in [false, true] {
            let mut step = 0;
            loop {
                let (place, disk, first) = (Place::quick(), Disk::default(), record());
                let store = Store::open_on(&place.options(None), disk.clone()).unwrap();
                disk.trip.fail(step, errno, for_good);
                let progress = go(&store, &first);
                let steps = disk.trip.heal();
                let what = format!("{errno:?} at step {step} of {steps}, for good: {for_good}");
                holds(&place, &first, &progress, &what);
                goes_on(&place, &store, &first, &what);
                step += 1;
                if step > steps {
                    assert!(progress.saved && steps > 20, "{what}: {progress:?}");
                    break;
                }
            }
        }
    }
}

#[test]
fn no_byte_at_which_the_disk_is_full_loses_anything() {
    let mut room = 0;
    loop {
        let (place, disk, first) = (Place::quick(), Disk::default(), record());
        let store = Store::open_on(&place.options(None), disk.clone()).unwrap();
        disk.trip.full_after(room);
        let progress = go(&store, &first);
        disk.trip.heal();
        holds(&place, &first, &progress, &format!("full after {room} bytes"));
        if room % 50 == 0 {
            goes_on(&place, &store, &first, &format!("full after {room} bytes"));
        }
        if progress.saved {
            assert!(room > 1_000, "{room}");
            break;
        }
        room += 1;
    }
}

#[test]
fn without_room_nothing_is_asked_and_the_token_stays() {
    let (place, disk, first) = (Place::quick(), Disk::default(), record());
    let store = Store::open_on(&place.options(None), disk.clone()).unwrap();
    store.create(&first).unwrap();
    for step in 0..4 {
        disk.trip.fail(step, Errno::NOSPC, true);
        // The lock's file is there already, and opening it takes no room.
        let mut locked = match store.lock(&first.id) {
            Ok(locked) => locked,
            Err(error) => {
                assert_eq!((step, error.raw_os_error()), (0, Some(Errno::NOSPC.raw_os_error())));
                continue;
            }
        };
        let error = locked.intend(&intent(&first)).unwrap_err();
        assert!(matches!(&error, SaveError::Io(error) if error.kind() == io::ErrorKind::StorageFull), "{error}");
        assert!(error.to_string().contains(place.path().to_str().unwrap()), "{error}");
        drop(locked);
        disk.trip.heal();
        assert!(store.lock(&first.id).unwrap().unfinished().unwrap().is_none());
        assert_eq!(place.open().load(), (vec![first.clone()], vec![]));
    }
}

#[test]
fn a_failed_sync_is_never_called_durable() {
    let (place, disk, first) = (Place::quick(), Disk::default(), record());
    let store = Store::open_on(&place.options(None), disk.clone()).unwrap();
    store.create(&first).unwrap();
    let other = record();
    let second = successor(&first);
    let mut syncs = 0;
    for step in 0.. {
        disk.trip.fail(step, Errno::IO, false);
        let outcome = store.lock(&first.id).map(|mut locked| locked.save(&second));
        let steps = disk.trip.heal();
        if !store.is_durable() {
            syncs += 1;
            assert!(!matches!(outcome, Ok(Ok(()))), "step {step}");
            // Another token's good save changes nothing about it.
            let _ = store.create(&other);
            assert!(!store.is_durable(), "step {step}");
            store.lock(&first.id).unwrap().save(&second).unwrap();
        }
        assert!(store.is_durable(), "step {step}");
        if step >= steps {
            break;
        }
    }
    assert_eq!(syncs, 2, "the file and the directory are synced");
}

#[test]
fn a_removal_that_fails_is_done_again() {
    for step in 0..12 {
        let (place, disk, first) = (Place::quick(), Disk::default(), record());
        let store = Store::open_on(&place.options(None), disk.clone()).unwrap();
        store.create(&first).unwrap();
        disk.trip.fail(step, Errno::IO, false);
        let removed = store.lock(&first.id).and_then(Locked::remove);
        disk.trip.heal();
        if removed.is_err() {
            store.lock(&first.id).unwrap().remove().unwrap();
        }
        assert_eq!(place.open().load(), (vec![], vec![]), "step {step}");
    }
}
