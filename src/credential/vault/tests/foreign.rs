//! Other processes: two vaults over one directory. The system's events take real time.

use super::*;

fn started(place: &Place, idp: &Arc<Idp>) -> Running {
    let running = Running::start(Some(place), idp, Clock::start());
    running.use_provider(oauth2("idp"));
    running
}

#[tokio::test]
async fn what_another_process_saves_is_in_use_at_once() {
    let (place, idp) = (Place::new(), Idp::new());
    let vault = started(&place, &idp);
    let token = vault.log_in(&idp, HOUR).await;
    let other = place.store();
    let record = other.read(&token.id).unwrap().unwrap();
    let next = record.next(&granted("access-9", Some("refresh-9"), HOUR), crate::clock::unix_millis());
    other.lock(&token.id).unwrap().save(&next).unwrap();
    let saved = std::time::Instant::now();
    until("the other's token", || vault.token(&token.id).generation == 2).await;
    assert_eq!(vault.leased().await.unwrap(), "access-9");
    // A hundred milliseconds are promised; a busy machine gets more.
    assert!(saved.elapsed() < Duration::from_secs(2), "{:?}", saved.elapsed());
    // A new one, one that needs a login, one that is gone.
    let second = Record::first(&"idp".into(), &idp.login(HOUR), None, crate::clock::unix_millis());
    other.create(&second).unwrap();
    until("the second", || vault.tokens().len() == 2).await;
    let lost = Record { state: State::NeedsLogin, reason: Some("invalid_grant".into()), ..next };
    other.lock(&token.id).unwrap().save(&lost).unwrap();
    until("the loss", || vault.token(&token.id).status == Status::NeedsLogin).await;
    other.lock(&token.id).unwrap().remove().unwrap();
    until("the removal", || vault.tokens().len() == 1).await;
    assert_eq!((vault.tokens()[0].id.clone(), idp.calls()), (second.id, 0));
}

#[tokio::test]
async fn a_broken_file_beside_the_others_is_told_of() {
    let (place, idp) = (Place::new(), Idp::new());
    let vault = started(&place, &idp);
    vault.log_in(&idp, HOUR).await;
    std::fs::write(place.path().join("odd.json"), "{").unwrap();
    until("the fault", || !vault.faults().is_empty()).await;
    assert!(vault.leased().await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_vaults_ask_once_a_generation() {
    let (place, idp) = (Place::new(), Idp::new());
    idp.lives(Some(2));
    let (one, two) = (started(&place, &idp), started(&place, &idp));
    for _ in 0..4 {
        one.log_in(&idp, Duration::ZERO).await;
    }
    until("the other's tokens", || two.tokens().len() == 4).await;
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        let (a, b) = tokio::join!(one.leased(), two.leased());
        assert!(a.is_ok() && b.is_ok(), "{a:?} {b:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    one.vault.stop().await;
    two.vault.stop().await;
    let asked = idp.asked();
    let different: HashSet<_> = asked.iter().collect();
    assert_eq!((asked.len(), idp.reused()), (different.len(), 0), "each refresh token comes once");
    assert!(asked.len() >= 12, "{asked:?}");
    for token in one.tokens() {
        let record = place.record(&token.id);
        assert_eq!(record.state, State::Valid);
    }
}

#[tokio::test]
async fn a_loser_takes_the_winners_token() {
    let (place, idp) = (Place::new(), Idp::new());
    let vault = started(&place, &idp);
    let token = vault.log_in(&idp, HOUR).await;
    let other = place.store();
    let winner = {
        // The other process has the lock, calls, and saves, while ours wants to refresh too.
        let mut locked = other.lock(&token.id).unwrap();
        let wanted = tokio::spawn({
            let (vault, id) = (Arc::clone(&vault.vault), token.id.clone());
            async move { vault.refresh(&id).await }
        });
        until("ours waiting", || *vault.vault.holdings.flights.borrow() == 1).await;
        let record = locked.current().unwrap().unwrap();
        let next = record.next(&granted("access-9", Some("refresh-9"), HOUR), crate::clock::unix_millis());
        locked.save(&next).unwrap();
        drop(locked);
        assert_eq!(wanted.await.unwrap().unwrap().generation, 2);
        next
    };
    assert_eq!(idp.calls(), 0);
    assert_eq!(vault.leased().await.unwrap(), "access-9");
    assert_eq!(place.record(&token.id).refresh_token, winner.refresh_token);
}

#[tokio::test]
async fn an_old_file_does_not_replace_what_is_in_use() {
    let (place, idp) = (Place::new(), Idp::new());
    let vault = started(&place, &idp);
    let token = vault.log_in(&idp, HOUR).await;
    let file = place.path().join(format!("{}.json", token.id));
    let backup = std::fs::read(&file).unwrap();
    vault.refresh(&token.id).await.unwrap();
    std::fs::write(&file, backup).unwrap();
    until("ours, saved again", || {
        let record = place.store().read(&token.id);
        matches!(record, Ok(Some(record)) if record.access_token.expose() == "access-2" && record.reason.is_none())
    })
    .await;
    assert_eq!(vault.refresh(&token.id).await.unwrap().generation, 3);
    assert_eq!(idp.reused(), 0);
}
