//! What a crash leaves behind, at every stage of a refresh.

use super::*;
use crate::credential::store::Intent;

/// A token on the disk that a process has left; as it was then.
fn left(place: &Place, idp: &Idp, lifetime: Duration) -> Record {
    let record = Record::first(&"idp".into(), &idp.login(lifetime), None, WALL);
    place.store().create(&record).unwrap();
    record
}

fn intent(record: &Record) -> Intent {
    Intent { generation: record.generation, refresh_sha256: record.refresh_sha256().unwrap(), started_at: WALL }
}

/// What it had begun.
fn begun(place: &Place, record: &Record, answer: Option<(u16, &str)>) {
    let store = place.store();
    let mut locked = store.lock(&record.id).unwrap();
    locked.intend(&intent(record)).unwrap();
    if let Some((status, body)) = answer {
        locked.answered(status, body.as_bytes()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_written_down_is_taken_up() {
    let (place, idp) = (Place::new(), Idp::new());
    let record = left(&place, &idp, HOUR);
    let answer = r#"{"access_token":"access-9","refresh_token":"refresh-9","expires_in":3600}"#;
    begun(&place, &record, Some((200, answer)));
    let vault = Running::with_idp(Some(&place), &idp);
    until("the recovery", || vault.token(&record.id).generation == 2).await;
    assert_eq!((vault.leased().await.unwrap().as_str(), idp.calls()), ("access-9", 0));
    let saved = place.record(&record.id);
    assert_eq!(saved.refresh_token.unwrap().expose(), "refresh-9");
    assert!(place.store().lock(&record.id).unwrap().unfinished().unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_the_recovery_of_a_token_that_has_ended() {
    let (place, idp) = (Place::new(), Idp::new());
    let record = left(&place, &idp, Duration::ZERO);
    let answer = r#"{"access_token":"access-9","refresh_token":"refresh-9","expires_in":3600}"#;
    begun(&place, &record, Some((200, answer)));
    let vault = Running::with_idp(Some(&place), &idp);
    assert_eq!((vault.leased().await.unwrap().as_str(), idp.calls()), ("access-9", 0));
}

#[tokio::test(start_paused = true)]
async fn a_no_that_was_written_down_is_taken_up() {
    let (place, idp) = (Place::new(), Idp::new());
    let record = left(&place, &idp, HOUR);
    begun(&place, &record, Some((400, r#"{"error":"invalid_grant"}"#)));
    let vault = Running::with_idp(Some(&place), &idp);
    until("the recovery", || vault.token(&record.id).status == Status::NeedsLogin).await;
    let saved = place.record(&record.id);
    assert_eq!((saved.reason.as_deref(), saved.refresh_token), (Some("invalid_grant"), record.refresh_token));
    assert_eq!(idp.calls(), 0);
}

/// Garbage that was written down is as good as nothing.
#[tokio::test(start_paused = true)]
async fn without_an_answer_the_old_token_serves_until_its_end() {
    for answer in [None, Some((200, "<html>")), Some((502, ""))] {
        let (place, idp) = (Place::new(), Idp::new());
        let record = left(&place, &idp, HOUR);
        begun(&place, &record, answer);
        let vault = Running::with_idp(Some(&place), &idp);
        pass(Duration::from_secs(3590)).await;
        assert_eq!((vault.leased().await.unwrap().as_str(), idp.calls()), ("access-1", 0), "{answer:?}");
        assert!(vault.token(&record.id).last_error.unwrap().contains("interrupted"));
        pass(Duration::from_secs(11)).await;
        assert_eq!((vault.leased().await.unwrap().as_str(), idp.calls()), ("access-2", 1), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_loss_is_reported_as_such() {
    for crashes in 1..=2 {
        let (place, idp) = (Place::new(), Idp::new());
        let record = left(&place, &idp, HOUR);
        begun(&place, &record, None);
        // The provider had done it.
        idp.inner.lock().good.clear();
        for _ in 1..crashes {
            let vault = Running::with_idp(Some(&place), &idp);
            pass(Duration::from_secs(5)).await;
            vault.kill();
        }
        let vault = Running::with_idp(Some(&place), &idp);
        pass(Duration::from_secs(3605)).await;
        until("the loss", || vault.token(&record.id).status == Status::NeedsLogin).await;
        assert_eq!(place.record(&record.id).reason.as_deref(), Some("rotation_outcome_unknown"), "{crashes}");
        assert_eq!(idp.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_loss_is_reported_as_such_though_the_provider_was_away_first() {
    let (place, idp) = (Place::new(), Idp::new());
    let record = left(&place, &idp, Duration::ZERO);
    begun(&place, &record, None);
    idp.inner.lock().good.clear();
    idp.say([Say::Unsent, Say::Later(429, 30)]);
    let vault = Running::with_idp(Some(&place), &idp);
    until("the first two", || idp.calls() == 2).await;
    until("nothing under way", || *vault.vault.holdings.flights.borrow() == 0).await;
    vault.kill();
    let vault = Running::with_idp(Some(&place), &idp);
    until("the loss", || vault.token(&record.id).status == Status::NeedsLogin).await;
    assert_eq!(place.record(&record.id).reason.as_deref(), Some("rotation_outcome_unknown"));
}

#[tokio::test(start_paused = true)]
async fn what_was_saved_before_the_crash_is_not_done_again() {
    let (place, idp) = (Place::new(), Idp::new());
    let record = left(&place, &idp, HOUR);
    begun(&place, &record, None);
    {
        let store = place.store();
        let mut locked = store.lock(&record.id).unwrap();
        locked.save(&record.next(&granted("access-9", Some("refresh-9"), HOUR), WALL)).unwrap();
    }
    let vault = Running::with_idp(Some(&place), &idp);
    pass(Duration::from_secs(60)).await;
    let token = vault.token(&record.id);
    assert_eq!((token.generation, token.last_error, idp.calls()), (2, None, 0));
}

#[tokio::test(start_paused = true)]
async fn a_backup_is_refreshed_once() {
    for spent in [false, true] {
        let (place, idp) = (Place::new(), Idp::new());
        let record = left(&place, &idp, HOUR);
        let file = place.path().join(format!("{}.json", record.id));
        let backup = std::fs::read(&file).unwrap();
        {
            let store = place.store();
            let next = record.next(&granted("access-8", Some("refresh-8"), HOUR), WALL);
            store.lock(&record.id).unwrap().save(&next).unwrap();
        }
        std::fs::write(&file, backup).unwrap();
        if spent {
            idp.inner.lock().good.clear();
        }
        let vault = Running::with_idp(Some(&place), &idp);
        assert_eq!(vault.faults()[0].code, "stale_restore");
        pass(Duration::from_secs(60)).await;
        let (token, saved) = (vault.token(&record.id), place.record(&record.id));
        assert_eq!(idp.asked(), ["refresh-1"]);
        if spent {
            assert_eq!((token.status, saved.reason.as_deref()), (Status::NeedsLogin, Some("stale_restore")));
        } else {
            assert_eq!((token.status, saved.generation, saved.reason), (Status::Valid, 3, None));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_what_is_under_way_and_begins_nothing() {
    let (place, idp) = (Place::new(), Idp::new());
    let vault = Running::with_idp(Some(&place), &idp);
    idp.close();
    let token = vault.log_in(&idp, Duration::ZERO).await;
    let waiting = tokio::spawn({
        let vault = Arc::clone(&vault.vault);
        async move { vault.lease(&spec(Choice::InOrder), &[]).await.map(|lease| lease.generation) }
    });
    until_called(&idp, 1).await;
    let stopping = tokio::spawn({
        let vault = Arc::clone(&vault.vault);
        async move { vault.stop().await }
    });
    tokio::task::yield_now().await;
    assert!(!stopping.is_finished());
    idp.open();
    stopping.await.unwrap();
    assert_eq!((waiting.await.unwrap(), place.record(&token.id).generation), (Ok(2), 2));
    assert_eq!(vault.refresh(&token.id).await, Err(VaultError::Stopping));
    pass(HOUR).await;
    assert_eq!(idp.calls(), 1);
    assert!(vault.leased().await.is_err());
}
