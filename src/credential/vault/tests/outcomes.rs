//! The table of outcomes, row by row: what is answered to a refresh inside the margin, and what follows.

use super::*;

const MARGIN: Duration = Duration::from_secs(3335);

/// A token inside its margin, refreshed with these answers.
async fn refreshed(says: &[Say]) -> (Place, Arc<Idp>, Running, TokenId) {
    let place = Place::new();
    let idp = Idp::new();
    idp.say(says.iter().cloned());
    let vault = Running::with_idp(Some(&place), &idp);
    let token = vault.log_in(&idp, HOUR).await;
    pass(MARGIN).await;
    until("the call", || idp.calls() > 0).await;
    settled(&vault).await;
    (place, idp, vault, token.id)
}

/// Until nothing is under way.
async fn settled(vault: &Running) {
    until("nothing under way", || *vault.vault.holdings.flights.borrow() == 0).await;
}

/// Until that moment after the login.
async fn at(vault: &Running, seconds: u64) {
    let now = vault.vault.holdings.now();
    pass(super::super::moment::Moment(0).after(Duration::from_secs(seconds)).since(now)).await;
    settled(vault).await;
}

#[tokio::test(start_paused = true)]
async fn a_rotated_token_is_saved() {
    let (place, _idp, vault, id) = refreshed(&[Say::Honest]).await;
    let record = place.record(&id);
    assert_eq!((record.generation, record.refresh_token.unwrap().expose()), (2, "refresh-2"));
    assert_eq!(record.previous.unwrap().0, 1);
    let token = vault.token(&id);
    assert_eq!((token.generation, token.durable, token.last_error, token.status), (2, true, None, Status::Valid));
    assert!(token.last_refresh.is_some());
}

#[tokio::test(start_paused = true)]
async fn without_a_new_refresh_token_the_old_one_goes_on() {
    let (place, ..) = refreshed(&[]).await;
    drop(place);
    let place = Place::new();
    let idp = Idp::new();
    idp.keep_refresh_tokens();
    let vault = Running::with_idp(Some(&place), &idp);
    let token = vault.log_in(&idp, HOUR).await;
    pass(MARGIN).await;
    until("the refresh", || vault.token(&token.id).generation == 2).await;
    assert_eq!(place.record(&token.id).refresh_token.unwrap().expose(), "refresh-1");
}

#[tokio::test(start_paused = true)]
async fn nobody_knows_and_the_provider_has_not_done_it() {
    let rows = [
        Say::Died,
        Say::This(500, ""),
        Say::This(200, "<html>"),
        Say::This(200, r#"{"access_token":"x","token_type":"mac"}"#),
        Say::This(503, "busy"),
    ];
    for say in rows {
        let (place, idp, vault, id) = refreshed(std::slice::from_ref(&say)).await;
        // The old one serves until it ends, and nothing is asked meanwhile.
        at(&vault, 3590).await;
        assert_eq!((idp.calls(), vault.leased().await.unwrap()), (1, "access-1".to_owned()), "{say:?}");
        assert!(vault.token(&id).last_error.is_some(), "{say:?}");
        at(&vault, 3601).await;
        assert_eq!(vault.leased().await.unwrap(), "access-2", "{say:?}");
        assert_eq!((idp.calls(), idp.reused(), place.record(&id).generation), (2, 0, 2), "{say:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_knows_and_the_provider_has_done_it() {
    let (place, idp, vault, id) = refreshed(&[Say::Lost]).await;
    at(&vault, 3590).await;
    assert_eq!((idp.calls(), vault.leased().await.unwrap()), (1, "access-1".to_owned()));
    at(&vault, 3605).await;
    let token = vault.token(&id);
    assert_eq!(token.status, Status::NeedsLogin);
    assert!(token.reason.unwrap().contains("rotation_outcome_unknown"));
    let record = place.record(&id);
    assert_eq!((record.state, record.reason.as_deref()), (State::NeedsLogin, Some("rotation_outcome_unknown")));
    assert_eq!(record.refresh_token.unwrap().expose(), "refresh-1", "never blanked");
    assert_eq!(idp.calls(), 2);
    let refused = vault.leased().await.unwrap_err();
    assert!(refused.why.contains("1 needs_login"), "{}", refused.why);
    pass(HOUR).await;
    assert_eq!(idp.calls(), 2, "nothing is asked for a token that needs a login");
}

#[tokio::test(start_paused = true)]
async fn invalid_grant_needs_a_login_and_keeps_the_record() {
    let no = Say::This(400, r#"{"error":"invalid_grant","error_description":"refresh-1 is revoked"}"#);
    let (place, idp, vault, id) = refreshed(&[no]).await;
    let record = place.record(&id);
    assert_eq!((record.generation, record.state), (1, State::NeedsLogin));
    assert_eq!(record.reason.as_deref(), Some("invalid_grant"));
    assert_eq!((record.access_token.expose(), record.refresh_token.unwrap().expose()), ("access-1", "refresh-1"));
    let token = vault.token(&id);
    assert_eq!(token.status, Status::NeedsLogin);
    let said = token.last_error.unwrap();
    assert!(said.contains("is revoked") && !said.contains("refresh-1"), "{said}");
    // It works until it ends.
    assert_eq!(vault.leased().await.unwrap(), "access-1");
    at(&vault, 3600).await;
    assert!(vault.leased().await.is_err());
    // An operator may try all the same.
    idp.say([Say::Honest]);
    assert_eq!(vault.refresh(&id).await.unwrap().status, Status::Valid);
    assert_eq!(vault.leased().await.unwrap(), "access-2");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_nobody_takes_any_more_is_not_lent() {
    let idp = Idp::new();
    let vault = Running::with_idp(None, &idp);
    let token = vault.log_in(&idp, HOUR).await;
    idp.say([Say::This(400, r#"{"error":"invalid_grant"}"#)]);
    let spec = spec(Choice::InOrder);
    let lease = vault.lease(&spec, &[]).await.unwrap();
    vault.report(&spec, &lease, Report::Rejected);
    let refused = vault.lease(&spec, &[(lease.id.clone(), 1)]).await.unwrap_err();
    assert_eq!(vault.token(&token.id).status, Status::NeedsLogin);
    assert!(refused.why.contains("needs_login"), "{}", refused.why);
    pass(Duration::from_secs(120)).await;
    assert!(vault.leased().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_wrong_client_leaves_the_record_alone_and_is_tried_again_later() {
    let no = Say::This(401, r#"{"error":"invalid_client"}"#);
    let (place, idp, vault, id) = refreshed(&vec![no.clone(); 3]).await;
    assert_eq!(place.record(&id).state, State::Valid);
    assert_eq!(vault.leased().await.unwrap(), "access-1");
    // The first was between 3300 and 3330; a minute later comes the second, two minutes later the third.
    for (seconds, calls) in [(3359, 1), (3395, 2), (3475, 2), (3515, 3)] {
        at(&vault, seconds).await;
        assert_eq!(idp.calls(), calls, "after {seconds} s");
    }
    // The operator mends the configuration: nobody has to wait for that.
    let mended = Provider { anchors: vec![vec![1]], ..Arc::try_unwrap(oauth2("idp")).unwrap() };
    vault.use_provider(Arc::new(mended));
    until("the refresh", || vault.token(&id).generation == 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_busy_provider_is_left_alone_as_long_as_it_says() {
    for status in [429, 503] {
        let (place, idp, vault, id) = refreshed(&[Say::Later(status, 120)]).await;
        assert_eq!((place.record(&id).state, vault.leased().await.unwrap()), (State::Valid, "access-1".to_owned()));
        at(&vault, 3300 + 119).await;
        assert_eq!(idp.calls(), 1);
        at(&vault, 3335 + 125).await;
        assert_eq!((idp.calls(), vault.token(&id).generation), (2, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_cannot_be_reached_is_asked_again_and_again_but_not_more_often() {
    let (place, idp, vault, id) = refreshed(&vec![Say::Unsent; 6]).await;
    at(&vault, 3335 + 100).await;
    // After 1, 2, 4, 8, 16, 32 seconds, and a tenth of each at most.
    assert_eq!((idp.calls(), vault.token(&id).generation), (7, 2));
    assert_eq!(place.record(&id).generation, 2);
}

#[tokio::test(start_paused = true)]
async fn one_token_tries_for_all_whether_the_provider_is_back() {
    let idp = Idp::new();
    idp.say(vec![Say::Unsent; 4 + 3]);
    let vault = Running::with_idp(None, &idp);
    for _ in 0..4 {
        vault.log_in(&idp, HOUR).await;
    }
    at(&vault, 3340).await;
    let at_first = idp.calls();
    assert!((1..=6).contains(&at_first), "{at_first}");
    // After 1, 2, 4, 8, 16, 32 and 60 seconds.
    at(&vault, 3340 + 170).await;
    assert!(vault.tokens().iter().all(|token| token.generation == 2), "{:?}", vault.tokens());
    assert!(idp.calls() <= 4 + 3 + 4, "{}", idp.calls());
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_says_when_to_come_back() {
    let idp = Idp::new();
    idp.say([Say::This(401, r#"{"error":"invalid_client"}"#)]);
    let vault = Running::with_idp(None, &idp);
    vault.log_in(&idp, Duration::ZERO).await;
    let refused = vault.leased().await.unwrap_err();
    assert!((58..=60).contains(&refused.retry_after.as_secs()), "{refused:?}");
    assert!(refused.why.contains("1 expired (invalid_client)"), "{}", refused.why);
}

#[tokio::test(start_paused = true)]
async fn a_registration_that_has_expired_is_not_asked_with() {
    let place = Place::new();
    let idp = Idp::new();
    let vault = Running::with_idp(Some(&place), &idp);
    let registration =
        Registration { client_id: "c".to_owned(), client_secret: Secret::new("s"), expires_at: Some(WALL + 1_000_000) };
    let new = NewToken { provider: "idp".into(), granted: idp.login(HOUR), registration: Some(registration) };
    let id = vault.adopt(new).await.unwrap().id;
    pass(MARGIN).await;
    until("the end", || vault.token(&id).status == Status::NeedsLogin).await;
    assert_eq!(place.record(&id).reason.as_deref(), Some("registration_expired"));
    assert_eq!(idp.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_while_nothing_can_be_written() {
    let place = Place::new();
    let idp = Idp::new();
    let vault = Running::with_idp(Some(&place), &idp);
    let token = vault.log_in(&idp, HOUR).await;
    vault.fill_disk();
    at(&vault, 3400).await;
    assert_eq!((idp.calls(), vault.leased().await.unwrap()), (0, "access-1".to_owned()));
    assert!(vault.token(&token.id).last_error.is_some());
    vault.free_disk();
    pass(Duration::from_secs(5)).await;
    until("the refresh", || vault.token(&token.id).generation == 2).await;
    assert_eq!(idp.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn refreshes_are_counted() {
    let (_place, idp, vault, _id) = refreshed(&[Say::Unsent]).await;
    at(&vault, 3345).await;
    assert_eq!(idp.calls(), 2);
    let metrics = vault.vault.holdings.observer.metrics.render();
    for line in [
        r#"countersign_token_refreshes_total{outcome="refreshed",provider="idp"} 1"#,
        r#"countersign_token_refreshes_total{outcome="unreached",provider="idp"} 1"#,
        r#"countersign_token_refresh_seconds_count{provider="idp"} 2"#,
        "countersign_token_store_durable 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    assert!(metrics.contains(r#"state="valid""#) && !metrics.contains("access-"), "{metrics}");
}
