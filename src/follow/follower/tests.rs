use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// Remembers what it read last, and how often.
struct Reader {
    path: PathBuf,
    text: Mutex<String>,
    reads: AtomicUsize,
    seen: Option<Fingerprint>,
    panics: AtomicBool,
}

impl Reader {
    fn of(path: &Path) -> Arc<Self> {
        Self::seeing(path, Some(Fingerprint::of(&[path.to_owned()])))
    }

    fn seeing(path: &Path, seen: Option<Fingerprint>) -> Arc<Self> {
        let text = fs::read_to_string(path).unwrap_or_default();
        Arc::new(Self {
            path: path.to_owned(),
            text: Mutex::new(text),
            reads: AtomicUsize::new(0),
            seen,
            panics: AtomicBool::new(false),
        })
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    fn becomes(&self, text: &str) {
        wait_until(&format!("{:?} to be read as {text:?}", self.path), || *self.text.lock() == text);
    }
}

impl Followed for Reader {
    fn paths(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn refresh(&self) {
        self.reads.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics.load(Ordering::SeqCst), "on purpose");
        *self.text.lock() = fs::read_to_string(&self.path).unwrap_or_default();
    }

    fn seen(&self) -> Option<Fingerprint> {
        self.seen.clone()
    }
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn follow(readers: &[&Arc<Reader>]) -> Follower {
    let all: Vec<Arc<dyn Followed>> = readers.iter().map(|reader| Arc::clone(reader) as Arc<dyn Followed>).collect();
    Follower::start(Arc::new(move || all.clone())).unwrap()
}

/// A directory with two files.
fn bench() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    fs::write(&one, "1").unwrap();
    fs::write(&other, "1").unwrap();
    (dir, one, other)
}

#[test]
fn every_way_to_write_is_noticed() {
    let (dir, path, _) = bench();
    let reader = Reader::of(&path);
    let _follower = follow(&[&reader]);
    fs::write(&path, "in place").unwrap();
    reader.becomes("in place");
    for text in ["renamed over", "and again"] {
        fs::write(dir.path().join(".swp"), text).unwrap();
        fs::rename(dir.path().join(".swp"), &path).unwrap();
        reader.becomes(text);
    }
    fs::remove_file(&path).unwrap();
    reader.becomes("");
    fs::write(&path, "back").unwrap();
    reader.becomes("back");
}

#[test]
fn only_whom_it_concerns_is_told() {
    let (dir, path, other) = bench();
    let (reader, bystander) = (Reader::of(&path), Reader::of(&other));
    let _follower = follow(&[&reader, &bystander]);
    for number in 0..100 {
        fs::write(dir.path().join("a.log"), number.to_string()).unwrap();
    }
    fs::write(&path, "2").unwrap();
    reader.becomes("2");
    assert_eq!(bystander.reads(), 0);
    fs::write(&other, "2").unwrap();
    bystander.becomes("2");
    assert_eq!(reader.reads(), 1, "told although nothing had changed");
}

#[test]
fn a_flip_of_links_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for name in ["1", "2"] {
        fs::create_dir(root.join(format!("..{name}"))).unwrap();
        fs::write(root.join(format!("..{name}/tls.crt")), name).unwrap();
    }
    symlink("..1", root.join("..data")).unwrap();
    symlink("..data/tls.crt", root.join("tls.crt")).unwrap();
    let reader = Reader::of(&root.join("tls.crt"));
    let _follower = follow(&[&reader]);
    for number in ["2", "1", "2"] {
        symlink(format!("..{number}"), root.join("..tmp")).unwrap();
        fs::rename(root.join("..tmp"), root.join("..data")).unwrap();
        reader.becomes(number);
    }
}

#[test]
fn what_changed_since_it_was_read_is_read_again() {
    let (_dir, path, _) = bench();
    let (told, untold) = (Reader::of(&path), Reader::seeing(&path, None));
    fs::write(&path, "written before anybody followed").unwrap();
    let _follower = follow(&[&told, &untold]);
    told.becomes("written before anybody followed");
    untold.becomes("written before anybody followed");
}

#[test]
fn a_directory_that_is_put_in_the_place_of_another_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (tls, aside) = (dir.path().join("tls"), dir.path().join("aside"));
    for (path, text) in [(&tls, "1"), (&aside, "2")] {
        fs::create_dir(path).unwrap();
        fs::write(path.join("crt"), text).unwrap();
    }
    let reader = Reader::of(&tls.join("crt"));
    let _follower = follow(&[&reader]);
    fs::rename(&tls, dir.path().join("old")).unwrap();
    fs::rename(&aside, &tls).unwrap();
    reader.becomes("2");
    fs::write(tls.join("crt"), "3").unwrap();
    reader.becomes("3");
}

#[test]
fn after_a_poke_others_are_followed_and_the_old_let_go() {
    let (_dir, path, other) = bench();
    let (first, second) = (Reader::of(&path), Reader::of(&other));
    let current: Arc<Mutex<Arc<Reader>>> = Arc::new(Mutex::new(Arc::clone(&first)));
    let follower = {
        let current = Arc::clone(&current);
        Follower::start(Arc::new(move || vec![Arc::clone(&current.lock()) as Arc<dyn Followed>])).unwrap()
    };
    fs::write(&path, "2").unwrap();
    first.becomes("2");
    *current.lock() = Arc::clone(&second);
    follower.poke();
    wait_until("the first to be let go", || Arc::strong_count(&first) == 1);
    fs::write(&other, "2").unwrap();
    second.becomes("2");
    drop((follower, current));
    wait_until("the thread to end", || Arc::strong_count(&second) == 1);
}

#[test]
fn a_panic_is_not_the_end() {
    let (_dir, path, other) = bench();
    let (clumsy, reader) = (Reader::of(&path), Reader::of(&other));
    let _follower = follow(&[&clumsy, &reader]);
    clumsy.panics.store(true, Ordering::SeqCst);
    fs::write(&path, "2").unwrap();
    wait_until("the panic", || clumsy.reads() > 0);
    fs::write(&other, "2").unwrap();
    reader.becomes("2");
    clumsy.panics.store(false, Ordering::SeqCst);
    fs::write(&path, "3").unwrap();
    clumsy.becomes("3");
}
