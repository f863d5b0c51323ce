//! What requests get.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_token_is_lent_and_counted() {
    let (idp, vault) = started().await;
    let token = vault.log_in(&idp, HOUR).await;
    let lease = vault.lease(&spec(Choice::InOrder), &[]).await.unwrap();
    assert_eq!((&lease.id, lease.generation, lease.token.expose()), (&token.id, 1, "access-1"));
    let seen = vault.token(&token.id);
    assert_eq!((seen.requests, seen.status, seen.last_used.is_some()), (1, Status::Valid, true));
    assert_eq!(idp.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_requests_are_one_call() {
    let (idp, vault) = started().await;
    idp.close();
    vault.log_in(&idp, Duration::ZERO).await;
    let mut waiting: Vec<_> = (0..10_000).map(|_| tokio::spawn(lease_of(&vault))).collect();
    until_called(&idp, 1).await;
    // Half of them go away; nothing of what is under way does.
    for gone in waiting.drain(..5_000) {
        gone.abort();
    }
    idp.open();
    for lease in waiting {
        assert_eq!(lease.await.unwrap().unwrap(), "access-2");
    }
    assert_eq!((idp.calls(), idp.reused()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_ends_although_everybody_has_left() {
    let place = Place::new();
    let idp = Idp::new();
    let vault = Running::with_idp(Some(&place), &idp);
    idp.close();
    let token = vault.log_in(&idp, Duration::ZERO).await;
    let waiting: Vec<_> = (0..100).map(|_| tokio::spawn(lease_of(&vault))).collect();
    until_called(&idp, 1).await;
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    idp.open();
    until("the new token", || vault.token(&token.id).generation == 2).await;
    assert_eq!(place.record(&token.id).access_token.expose(), "access-2");
    assert_eq!(idp.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_refreshed_before_its_end_and_served_meanwhile() {
    let (idp, vault) = started().await;
    let token = vault.log_in(&idp, HOUR).await;
    pass(Duration::from_secs(3299)).await;
    assert_eq!(idp.calls(), 0);
    idp.close();
    tokio::time::advance(Duration::from_secs(32)).await;
    until_called(&idp, 1).await;
    assert_eq!(vault.token(&token.id).status, Status::Expiring);
    assert_eq!(vault.leased().await.unwrap(), "access-1");
    idp.open();
    until("the new token", || vault.token(&token.id).generation == 2).await;
    assert_eq!(vault.leased().await.unwrap(), "access-2");
}

#[tokio::test(start_paused = true)]
async fn short_lives_are_refreshed_at_their_half_and_not_more_often() {
    let (idp, vault) = started().await;
    idp.lives(Some(4));
    vault.log_in(&idp, Duration::from_secs(4)).await;
    for _ in 0..60 {
        pass(Duration::from_secs(1)).await;
        assert!(vault.leased().await.is_ok());
    }
    assert!((28..=31).contains(&idp.calls()), "{}", idp.calls());
}

#[tokio::test(start_paused = true)]
async fn tokens_without_a_life_cause_no_storm() {
    let (idp, vault) = started().await;
    vault.log_in(&idp, Duration::ZERO).await;
    // Not said: five minutes. Said, and nothing: the same.
    idp.lives(None);
    assert_eq!(vault.leased().await.unwrap(), "access-2");
    pass(Duration::from_secs(60)).await;
    assert_eq!(idp.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_ten_seconds_and_no_longer() {
    let (idp, vault) = started().await;
    idp.close();
    vault.log_in(&idp, Duration::ZERO).await;
    let began = tokio::time::Instant::now();
    // The clock stands still while the call blocks a thread.
    let lease = lease_of(&vault);
    tokio::pin!(lease);
    let refused = loop {
        tokio::select! {
            biased;
            refused = &mut lease => break refused.unwrap_err(),
            () = tokio::task::yield_now() => tokio::time::advance(Duration::from_millis(50)).await,
        }
    };
    assert!((10_000..10_200).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!(refused.retry_after, Duration::from_secs(1));
    idp.open();
    until("the refresh", || vault.tokens()[0].generation == 2).await;
}

#[tokio::test(start_paused = true)]
async fn the_choices() {
    let (idp, vault) = started().await;
    for _ in 0..3 {
        vault.log_in(&idp, HOUR).await;
        pass(Duration::from_millis(5)).await;
    }
    let take = async |choice| {
        let mut taken = Vec::new();
        for _ in 0..6 {
            taken.push(vault.lease(&spec(choice), &[]).await.unwrap().token.expose().to_owned());
        }
        taken
    };
    assert_eq!(take(Choice::InOrder).await, ["access-1"; 6]);
    let turns = ["access-1", "access-2", "access-3", "access-1", "access-2", "access-3"];
    assert_eq!(take(Choice::RoundRobin).await, turns);
    // The first had eight, the others two each.
    let least = take(Choice::LeastUsed).await;
    assert_eq!(least, ["access-2", "access-3", "access-2", "access-3", "access-2", "access-3"]);
    let held = vault.lease(&spec(Choice::LeastUsed), &[]).await.unwrap();
    let other = vault.lease(&spec(Choice::LeastUsed), &[]).await.unwrap();
    assert_ne!(held.id, other.id, "one in flight comes after none");
}

#[tokio::test(start_paused = true)]
async fn tokens_rest_after_429_and_the_next_one_serves() {
    let (idp, vault) = started().await;
    let (first, second) = (vault.log_in(&idp, HOUR).await, vault.log_in(&idp, HOUR).await);
    let spec = spec(Choice::InOrder);
    let lease = vault.lease(&spec, &[]).await.unwrap();
    let one = lease.id.clone();
    vault.report(&spec, &lease, Report::Limited { retry_after: Some(Duration::from_secs(30)) });
    assert!(vault.has_another(&spec, &[(one.clone(), 1)]));
    let lease = vault.lease(&spec, &[(one.clone(), 1)]).await.unwrap();
    assert_ne!(lease.id, one);
    vault.report(&spec, &lease, Report::Limited { retry_after: None });
    assert!(!vault.has_another(&spec, &[]));
    let refused = vault.lease(&spec, &[]).await.unwrap_err();
    assert_eq!(refused.retry_after, Duration::from_secs(30));
    assert!(refused.why.contains("2 resting"), "{}", refused.why);
    assert_eq!((vault.token(&first.id).status, vault.token(&second.id).status), (Status::Resting, Status::Resting));
    pass(Duration::from_secs(30)).await;
    assert_eq!(vault.lease(&spec, &[]).await.unwrap().id, one);
    assert_eq!(idp.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_rest_is_bounded() {
    let (idp, vault) = started().await;
    vault.log_in(&idp, HOUR * 100).await;
    let spec = spec(Choice::InOrder);
    for (asked, rests) in [(Duration::ZERO, 1), (Duration::MAX, 24 * 3600)] {
        let lease = vault.lease(&spec, &[]).await.unwrap();
        vault.report(&spec, &lease, Report::Limited { retry_after: Some(asked) });
        assert_eq!(vault.lease(&spec, &[]).await.unwrap_err().retry_after, Duration::from_secs(rests));
        pass(Duration::from_secs(rests)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_401_is_refreshed_once_and_the_request_gets_the_new_generation() {
    let (idp, vault) = started().await;
    vault.log_in(&idp, HOUR).await;
    let spec = spec(Choice::InOrder);
    let lease = vault.lease(&spec, &[]).await.unwrap();
    for _ in 0..50 {
        vault.report(&spec, &lease, Report::Rejected);
    }
    let avoid = [(lease.id.clone(), lease.generation)];
    assert!(vault.has_another(&spec, &avoid));
    let again = vault.lease(&spec, &avoid).await.unwrap();
    assert_eq!((again.generation, again.token.expose()), (2, "access-2"));
    // A late report of the old generation says nothing of the new one.
    vault.report(&spec, &lease, Report::Rejected);
    assert_eq!(vault.leased().await.unwrap(), "access-2");
    assert_eq!(idp.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_always_says_401_costs_one_refresh_a_minute() {
    let (idp, vault) = started().await;
    vault.log_in(&idp, HOUR).await;
    let spec = spec(Choice::InOrder);
    for _ in 0..290 {
        let lease = vault.lease(&spec, &[]).await.unwrap();
        vault.report(&spec, &lease, Report::Rejected);
        drop(lease);
        pass(Duration::from_secs(1)).await;
    }
    assert!((4..=6).contains(&idp.calls()), "{}", idp.calls());
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_is_the_last_resort() {
    let (idp, vault) = started().await;
    vault.log_in(&idp, HOUR).await;
    let spec = spec(Choice::InOrder);
    idp.say([Say::Unsent, Say::Unsent]);
    let lease = vault.lease(&spec, &[]).await.unwrap();
    vault.report(&spec, &lease, Report::Rejected);
    // Nothing better is to be had at the moment.
    assert_eq!(vault.leased().await.unwrap(), "access-1");
    // But not for the request that has tried it.
    let avoid = [(lease.id.clone(), 1)];
    assert!(vault.lease(&spec, &avoid).await.unwrap_err().retry_after >= Duration::from_secs(1));
    assert!(!vault.has_another(&spec, &avoid));
    pass(Duration::from_secs(5)).await;
    until("the refresh", || vault.tokens()[0].generation == 2).await;
    assert_eq!((vault.leased().await.unwrap().as_str(), idp.calls()), ("access-2", 3));
}

#[tokio::test(start_paused = true)]
async fn without_a_token_nobody_waits() {
    let (_idp, vault) = started().await;
    let refused = vault.leased().await.unwrap_err();
    assert_eq!(refused.retry_after, Duration::from_secs(60));
    assert!(refused.why.contains("log in"), "{}", refused.why);
    let other = Spec { provider: "nobody".into(), ..spec(Choice::InOrder) };
    assert!(vault.lease(&other, &[]).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_machines_token_is_granted_when_it_is_wanted() {
    let place = Place::new();
    let idp = Idp::new();
    let vault = Running::start(Some(&place), &idp, Clock::manual(WALL));
    vault.use_provider(machine("idp"));
    pass(Duration::from_secs(5)).await;
    assert_eq!((idp.calls(), vault.tokens().len()), (0, 0));
    let waiting: Vec<_> = (0..100).map(|_| tokio::spawn(lease_of(&vault))).collect();
    for lease in waiting {
        assert_eq!(lease.await.unwrap().unwrap(), "access-1");
    }
    assert_eq!(idp.asked(), ["client_credentials"]);
    let token = vault.tokens().remove(0);
    assert_eq!((token.durable, token.refreshable, token.generation), (true, true, 1));
    assert_eq!(place.record(&token.id).refresh_token, None);
    // Before its end, another; after a 401, another.
    pass(Duration::from_secs(3400)).await;
    until("the next", || vault.token(&token.id).generation == 2).await;
    let spec = spec(Choice::InOrder);
    let lease = vault.lease(&spec, &[]).await.unwrap();
    vault.report(&spec, &lease, Report::Rejected);
    assert_eq!(vault.leased().await.unwrap(), "access-3");
    // Removed, it is granted anew.
    vault.remove(&token.id).await.unwrap();
    assert_eq!(vault.leased().await.unwrap(), "access-4");
    assert_eq!(idp.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_machines_token_is_granted_anew_though_the_disk_takes_none() {
    let (place, idp) = (Place::new(), Idp::new());
    let vault = Running::start(Some(&place), &idp, Clock::manual(WALL));
    vault.use_provider(machine("idp"));
    assert_eq!(vault.leased().await.unwrap(), "access-1");
    vault.fill_disk();
    for hour in 1..=3 {
        pass(HOUR).await;
        let lease = vault.leased().await.unwrap();
        assert_eq!(lease, format!("access-{}", idp.calls()), "after {hour} hours");
        assert!(idp.calls() > hour && idp.calls() <= 4 * (hour + 1), "{} calls in {hour} hours", idp.calls());
    }
    assert!(!vault.tokens().remove(0).durable);
    vault.free_disk();
    until("the disk to have it", || vault.tokens().remove(0).durable).await;
}

async fn started() -> (Arc<Idp>, Running) {
    let idp = Idp::new();
    let vault = Running::with_idp(None, &idp);
    (idp, vault)
}

/// Of one request.
fn lease_of(vault: &Running) -> impl Future<Output = Result<String, Unavailable>> + Send + use<> {
    let vault = Arc::clone(&vault.vault);
    async move {
        let lease = vault.lease(&spec(Choice::InOrder), &[]).await?;
        Ok(lease.token.expose().to_owned())
    }
}
