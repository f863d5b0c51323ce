use std::fs;
use std::net::IpAddr;
use std::time::Instant;

use super::*;

/// Cost 7: slow enough to have many under way.
const SECRET: &str = "$2y$07$z2XaX3n3appWqaVNVHJtQeZUa0F5nqKXv09CmWvMC9RdhZLNVICJS";
const NOW: UnixMillis = 1_700_000_000_000;

struct Bench {
    _dir: tempfile::TempDir,
    users: Arc<UsersFile>,
    guesses: Arc<Guesses>,
    verifier: Arc<Verifier>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("users"), format!("ann:{SECRET}\n")).unwrap();
        let users = Arc::new(UsersFile::open(&dir.path().join("users")).unwrap());
        Self { _dir: dir, users, guesses: Arc::new(Guesses::new(5)), verifier: Verifier::start(1).unwrap() }
    }

    fn login(&self, from: [u8; 4], password: &str) -> Login {
        Login {
            users: Arc::clone(&self.users),
            guesses: Arc::clone(&self.guesses),
            from: IpAddr::from(from).into(),
            user: "ann".into(),
            password: Secret::new(password),
        }
    }

    async fn check(&self, from: [u8; 4], password: &str) -> Outcome {
        self.verifier.check(&self.login(from, password), || NOW).await
    }
}

#[tokio::test]
async fn the_right_password_is_right_and_remembered() {
    let bench = Bench::new();
    assert_eq!(bench.check([192, 0, 2, 1], "wrong").await, Outcome::Wrong);
    assert_eq!(bench.check([192, 0, 2, 1], "secret").await, Outcome::Right);
    let knows = |from: [u8; 4]| bench.users.knows(IpAddr::from(from).into(), "ann", &Secret::new("secret"), NOW);
    assert!(knows([192, 0, 2, 1]) && !knows([192, 0, 2, 2]));
}

#[tokio::test]
async fn a_thousand_guesses_at_once_are_five_verifications() {
    let bench = Bench::new();
    let begun = Instant::now();
    assert_eq!(bench.check([192, 0, 2, 9], "wrong").await, Outcome::Wrong);
    let one = begun.elapsed();
    let begun = Instant::now();
    let passwords: Vec<String> = (0..1000).map(|number| format!("guess {number}")).collect();
    let all = passwords.iter().map(|password| bench.check([192, 0, 2, 1], password));
    let outcomes = futures_util::future::join_all(all).await;
    let wrong = outcomes.iter().filter(|outcome| **outcome == Outcome::Wrong).count();
    let closed = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::TooMany(_))).count();
    assert_eq!((wrong, closed), (5, 995));
    assert!(begun.elapsed() < one * 100, "{:?} for five, {one:?} for one", begun.elapsed());
    assert_eq!(bench.check([192, 0, 2, 2], "secret").await, Outcome::Right, "somebody else");
}

#[tokio::test]
async fn the_same_at_once_is_verified_once() {
    let bench = Bench::new();
    let outcomes = futures_util::future::join_all((0..50).map(|_| bench.check([192, 0, 2, 1], "wrong"))).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Wrong), "{outcomes:?}");
    let outcomes = futures_util::future::join_all((0..50).map(|_| bench.check([192, 0, 2, 1], "secret"))).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Right), "{outcomes:?}");
    assert!(bench.verifier.flights.lock().is_empty());
}

#[tokio::test]
async fn many_right_ones_behind_one_address_wait_for_each_other() {
    let bench = Bench::new();
    let names: String = (0..12).map(|number| format!("user{number}:{SECRET}\n")).collect();
    fs::write(bench.users.path(), names).unwrap();
    bench.users.read_again().unwrap();
    let all = (0..12).map(|number| {
        let login = Login { user: format!("user{number}").into(), ..bench.login([192, 0, 2, 1], "secret") };
        let verifier = Arc::clone(&bench.verifier);
        async move { verifier.check(&login, || NOW).await }
    });
    let outcomes = futures_util::future::join_all(all).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Right), "{outcomes:?}");
}

#[tokio::test]
async fn who_leaves_is_replaced_by_the_next() {
    let bench = Bench::new();
    let login = bench.login([192, 0, 2, 1], "secret");
    let mut first = Box::pin(bench.verifier.check(&login, || NOW));
    let second = bench.verifier.check(&login, || NOW);
    assert!(futures_util::poll!(first.as_mut()).is_pending());
    let mut second = Box::pin(second);
    assert!(futures_util::poll!(second.as_mut()).is_pending());
    drop(first);
    assert_eq!(second.await, Outcome::Right);
}

#[tokio::test]
async fn a_full_queue_says_so_at_once() {
    let bench = Bench::new();
    let all = (0..QUEUE + 50).map(|number| {
        let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
        let login = bench.login([10, 0, high, low], "wrong");
        let verifier = Arc::clone(&bench.verifier);
        Box::pin(async move { verifier.check(&login, || NOW).await })
    });
    let mut waiting: Vec<_> = all.collect();
    let mut overloaded = 0;
    for one in &mut waiting {
        overloaded += usize::from(futures_util::poll!(one.as_mut()) == std::task::Poll::Ready(Outcome::Overloaded));
    }
    assert!((40..=50).contains(&overloaded), "{overloaded}");
}
