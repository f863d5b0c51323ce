//! Other processes: killed at any instant, racing over one token, on a disk that is really full. A process is this test binary
//! again, told by a variable what it is to do.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::*;

/// What a child is to do.
const TASK: &str = "COUNTERSIGN_TEST_STORE_TASK";
/// In which directory.
const DIRECTORY: &str = "COUNTERSIGN_TEST_STORE_DIRECTORY";

/// How often a process is killed: all of them when everything is to be tested.
fn kills() -> usize {
    if std::env::var_os("COUNTERSIGN_FULL").is_some() { 1_000 } else { 60 }
}

/// The child's side of these tests; by itself it does nothing.
#[test]
fn child() {
    let (Some(task), Some(directory)) = (std::env::var_os(TASK), std::env::var_os(DIRECTORY)) else { return };
    let options = Options { directory: directory.into(), encryption_key: None, allow_network_filesystem: false };
    let store = Store::open(&options).unwrap();
    match task.to_str().unwrap() {
        "refresh on and on" => refresh_on_and_on(&store),
        "save 200 times" => save_200_times(&store),
        "refresh on a full disk" => refresh_on_a_full_disk(&store, &options.directory),
        task => panic!("{task}?"),
    }
}

fn command(program: &str, task: &str, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.env(TASK, task).env(DIRECTORY, directory);
    command.stdout(Stdio::piped()).stdin(Stdio::null());
    command
}

fn this_test() -> [String; 4] {
    let name = format!("{}::child", module_path!().split_once("::").unwrap().1);
    [name, "--exact".to_owned(), "--nocapture".to_owned(), "--test-threads=1".to_owned()]
}

fn start(task: &str, directory: &Path) -> Child {
    let binary = std::env::current_exe().unwrap();
    command(binary.to_str().unwrap(), task, directory).args(this_test()).spawn().unwrap()
}

/// What the child has acknowledged: lines that begin with `ack `, whole ones only.
fn acknowledged(text: &str) -> Vec<(&str, u64)> {
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines = whole.lines().filter_map(|line| line.strip_prefix("ack "));
    lines.map(|line| line.split_once(' ').unwrap()).map(|(id, number)| (id, number.parse().unwrap())).collect()
}

fn acknowledge(id: &TokenId, generation: u64) {
    let mut out = std::io::stdout().lock();
    // One write, so that a line is there or not.
    out.write_all(format!("\nack {id} {generation}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// What generation a token's secrets belong to.
fn of_generation(record: &Record, generation: u64) -> bool {
    record.generation == generation
        && record.access_token.expose() == format!("access-{generation}")
        && record.refresh_token.as_ref().unwrap().expose() == format!("refresh-{generation}")
}

fn next_of(record: &Record) -> Record {
    let next = record.generation + 1;
    record.next(&granted(&format!("access-{next}"), Some(&format!("refresh-{next}"))), 1_795_313_760_000)
}

/// Refreshes the tokens that are there, each in turn; makes a new one, and takes an old one away, now and then.
fn refresh_on_and_on(store: &Store) {
    for round in 1.. {
        let (records, _) = store.load();
        for record in &records {
            let mut locked = store.lock(&record.id).unwrap();
            let current = locked.current().unwrap().unwrap();
            locked.intend(&intent(&current)).unwrap();
            locked.answered(200, format!("answer-{}", current.generation).as_bytes()).unwrap();
            locked.save(&next_of(&current)).unwrap();
            acknowledge(&record.id, current.generation + 1);
        }
        if records.len() < 3 {
            let fresh = record();
            store.create(&fresh).unwrap();
            acknowledge(&fresh.id, 1);
        } else if round % 7 == 0 {
            let last = &records.last().unwrap().id;
            // Said before, as it may be done and not be said any more.
            acknowledge(last, 0);
            store.lock(last).unwrap().remove().unwrap();
        }
    }
}

#[test]
fn a_process_that_is_killed_at_any_instant_tears_nothing_and_loses_nothing() {
    // A kill leaves the system's own memory of the disk alone: no disk is needed.
    let place = Place::quick();
    let start_of_all = Instant::now();
    let mut chance = 0x9e37_79b9_7f4a_7c15_u64;
    let (mut acks, mut interrupted, mut answers) = (0, 0, 0);
    let mut before: Vec<(TokenId, u64)> = Vec::new();
    for kill in 0..kills() {
        let text = killed_after(&place, &mut chance);
        let told = acknowledged(&text);
        acks += told.len();
        let store = place.open();
        let (records, faults) = store.load();
        assert_eq!(faults, [], "kill {kill}");
        let removed: BTreeSet<_> = told.iter().filter(|(_, generation)| *generation == 0).map(|(id, _)| *id).collect();
        let known = before.iter().map(|(id, generation)| (id.as_str(), *generation));
        for (id, generation) in known.chain(told.iter().copied()).filter(|(id, _)| !removed.contains(id)) {
            let record = records.iter().find(|record| record.id.as_str() == id);
            let record = record.unwrap_or_else(|| panic!("kill {kill}: {id} is lost"));
            assert!(record.generation >= generation, "kill {kill}: {id} {generation} is lost");
        }
        for record in &records {
            assert!(of_generation(record, record.generation), "kill {kill}: torn: {record:?}");
            let unfinished = store.lock(&record.id).unwrap().unfinished().unwrap();
            interrupted += usize::from(unfinished.is_some());
            if let Some(answer) = unfinished.and_then(|unfinished| unfinished.answer) {
                assert_eq!(answer, (200, format!("answer-{}", record.generation).into_bytes()), "kill {kill}");
                answers += 1;
            }
        }
        let leftovers: Vec<_> = place.names().into_iter().filter(|name| name.starts_with('.')).collect();
        assert!(leftovers.is_empty(), "kill {kill}: {leftovers:?}");
        before = records.into_iter().map(|record| (record.id, record.generation)).collect();
    }
    println!(
        "{} kills in {:?}: {acks} acknowledged, {interrupted} interrupted, {answers} answers kept",
        kills(),
        start_of_all.elapsed()
    );
    assert!(acks > kills() && interrupted > 0 && answers > 0, "{acks}, {interrupted}, {answers}");
}

/// Starts a child, lets it do something, kills it; what it has said.
fn killed_after(place: &Place, chance: &mut u64) -> String {
    let mut child = start("refresh on and on", &place.path());
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    let enough = next(chance) % 6;
    while acknowledged(&text).len() < 1 + usize::try_from(enough).unwrap() {
        assert!(out.read_line(&mut text).unwrap() > 0, "the child has ended by itself: {text}");
    }
    // Somewhere in the next refresh.
    let until = Instant::now() + Duration::from_micros(next(chance) % 3_000);
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    out.read_to_string(&mut text).unwrap();
    text
}

fn next(chance: &mut u64) -> u64 {
    *chance ^= *chance << 13;
    *chance ^= *chance >> 7;
    *chance ^= *chance << 17;
    *chance >> 17
}

/// Two threads of this process, 100 saves each.
fn save_200_times(store: &Store) {
    let id = store.load().0.pop().unwrap().id;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let mut locked = store.lock(&id).unwrap();
                    let next = next_of(&locked.current().unwrap().unwrap());
                    locked.save(&next).unwrap();
                    acknowledge(&id, next.generation);
                }
            });
        }
    });
}

#[test]
fn two_processes_over_one_token_lose_no_save() {
    let place = Place::new();
    let (store, first) = (place.open(), record());
    store.create(&first).unwrap();
    let children = [start("save 200 times", &place.path()), start("save 200 times", &place.path())];
    // Whoever only looks is never stopped, and sees whole generations that go up.
    let mut seen = 1;
    let mut texts = Vec::new();
    std::thread::scope(|scope| {
        let waits = children.map(|child| scope.spawn(|| child.wait_with_output().unwrap()));
        while waits.iter().any(|wait| !wait.is_finished()) {
            let record = store.read(&first.id).unwrap().unwrap();
            assert!(of_generation(&record, record.generation) && record.generation >= seen, "{record:?} after {seen}");
            seen = record.generation;
        }
        for wait in waits {
            let output = wait.join().unwrap();
            assert!(output.status.success());
            texts.push(String::from_utf8(output.stdout).unwrap());
        }
    });
    let saves: Vec<Vec<u64>> =
        texts.iter().map(|text| acknowledged(text).into_iter().map(|(_, generation)| generation).collect()).collect();
    assert!(saves.iter().all(|saves| saves.len() == 200), "{saves:?}");
    let all: BTreeSet<u64> = saves.into_iter().flatten().collect();
    assert_eq!(all, (2..=401).collect::<BTreeSet<u64>>(), "two have saved the same generation");
    assert!(of_generation(&store.read(&first.id).unwrap().unwrap(), 401));
}

/// Leaves that many pages free, and refreshes: either nothing is asked, or everything is saved.
fn refresh_on_a_full_disk(store: &Store, directory: &Path) {
    let first = record();
    store.create(&first).unwrap();
    let filler = directory.join("filler");
    let (mut refused, mut saved) = (0, 0);
    for pages in 0..80 {
        fill_but(&filler, pages);
        let mut locked = store.lock(&first.id).unwrap();
        let current = locked.current().unwrap().unwrap();
        match locked.intend(&intent(&current)) {
            Ok(()) => {
                locked.answered(200, &[b'x'; 60 * 1024]).unwrap_or_else(|error| panic!("{pages} pages: {error}"));
                locked.save(&next_of(&current)).unwrap_or_else(|error| panic!("{pages} pages: {error}"));
                saved += 1;
                // What it has taken is not there for the next round otherwise.
                fs::remove_file(directory.join(".wal").join(first.id.as_str())).unwrap();
            }
            Err(SaveError::Io(error)) => {
                assert!(matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge), "{error}");
                refused += 1;
                assert!(locked.unfinished().unwrap().is_none(), "{pages} pages");
                fs::remove_file(directory.join(".wal").join(first.id.as_str())).ok();
            }
            Err(error) => panic!("{error}"),
        }
        drop(locked);
        let (records, faults) = store.load();
        assert!(
            faults.is_empty() && records.len() == 1 && records[0].generation == 1 + saved,
            "{pages} pages: {faults:?}"
        );
    }
    acknowledge(&first.id, refused);
    acknowledge(&first.id, saved);
}

/// Takes all room of the disk, and gives that many pages back.
fn fill_but(filler: &Path, pages: u64) {
    let _ = fs::remove_file(filler);
    let mut file = fs::File::create(filler).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    let length = file.metadata().unwrap().len();
    file.set_len(length.saturating_sub(pages * 4096) / 4096 * 4096).unwrap();
}

#[test]
fn on_a_full_disk_nothing_is_asked_or_everything_is_saved() {
    let place = Place::new();
    let disk = place.directory.path().join("disk");
    fs::create_dir(&disk).unwrap();
    // A disk of 1 MiB, in name spaces of the child's own, so that it goes with it.
    let script = "mount -t tmpfs -o size=1m,mode=0700 tokens \"$0\" && exec \"$@\"";
    let binary = std::env::current_exe().unwrap();
    let output = command("unshare", "refresh on a full disk", &disk.join("tokens"))
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .args([disk.as_os_str(), binary.as_os_str()])
        .args(this_test())
        .stderr(Stdio::piped())
        .output()
        .expect("unshare (util-linux) makes the disk");
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}{errors}");
    let told: Vec<_> = acknowledged(&text).into_iter().map(|(_, number)| number).collect();
    let [refused, saved] = told[..] else { panic!("{text}") };
    assert!(refused > 40 && saved > 10 && refused + saved == 80, "{refused} refused, {saved} saved");
}

#[test]
fn a_name_that_is_turned_into_a_link_never_leads_out() {
    let rounds = if std::env::var_os("COUNTERSIGN_FULL").is_some() { 100_000 } else { 20_000 };
    let place = Place::new();
    let (store, first) = (place.open(), record());
    store.create(&first).unwrap();
    // A good file of the same token, outside.
    let outside = place.directory.path().join("outside");
    let theirs = Record { access_token: Secret::new("outside"), ..first.clone() };
    fs::write(&outside, theirs.to_json()).unwrap();
    fs::set_permissions(&outside, Permissions::from_mode(0o600)).unwrap();
    let (inside, turned) = (fs::read(place.file(&first)).unwrap(), place.directory.path().join("turned"));
    let stop = AtomicBool::new(false);
    let (mut good, mut refused, mut wrong) = (0, 0, Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                symlink(&outside, &turned).unwrap();
                fs::rename(&turned, place.file(&first)).unwrap();
                fs::hard_link(&outside, &turned).unwrap();
                fs::rename(&turned, place.file(&first)).unwrap();
                fs::write(&turned, &inside).unwrap();
                fs::set_permissions(&turned, Permissions::from_mode(0o600)).unwrap();
                fs::rename(&turned, place.file(&first)).unwrap();
            }
        });
        for round in 0..rounds {
            match store.read(&first.id) {
                Ok(Some(record)) if record == first => good += 1,
                // Outside, or nothing although there always is something.
                Ok(other) => wrong.push((round, other)),
                Err(fault) => refused += usize::from(fault.code == NOT_A_FILE),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(good > 0 && refused > 0, "{good} good, {refused} refused");
}
