//! Logins, imports, removals, and a disk that does not take them.

use super::*;
use crate::credential::import::Imported;

fn imported(access: Option<&str>, refresh: Option<&str>) -> Imported {
    Imported {
        provider: None,
        access_token: access.map(Secret::new),
        refresh_token: refresh.map(Secret::new),
        expires_at: None,
        registration: None,
        further: serde_json::Map::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_is_on_the_disk_before_it_is_lent() {
    let (place, idp) = (Place::new(), Idp::new());
    let vault = Running::with_idp(Some(&place), &idp);
    let token = vault.log_in(&idp, HOUR).await;
    assert_eq!((place.record(&token.id).generation, token.durable), (1, true));
    assert_eq!(token.status, Status::Valid);
    vault.end().await;
    let vault = Running::with_idp(Some(&place), &idp);
    assert_eq!(vault.leased().await.unwrap(), "access-1");
    assert_eq!(vault.token(&token.id).fingerprint, token.fingerprint);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_cannot_be_saved_is_in_use_and_saved_later() {
    let (place, idp) = (Place::new(), Idp::new());
    let vault = Running::with_idp(Some(&place), &idp);
    vault.fill_disk();
    let new = NewToken { provider: "idp".into(), granted: idp.login(HOUR), registration: None };
    let failed = vault.adopt(new).await;
    let Err(VaultError::Save(_)) = failed else { panic!("{failed:?}") };
    let token = vault.tokens().remove(0);
    assert_eq!((token.durable, vault.leased().await.unwrap().as_str()), (false, "access-1"));
    let metrics = || vault.vault.holdings.observer.metrics.render();
    assert!(metrics().contains("countersign_token_store_durable 0"));
    pass(Duration::from_secs(60)).await;
    assert!(!vault.token(&token.id).durable);
    vault.free_disk();
    pass(Duration::from_secs(5)).await;
    assert!(vault.token(&token.id).durable);
    assert_eq!(place.record(&token.id).access_token.expose(), "access-1");
    assert!(metrics().contains("countersign_token_store_durable 1"));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_cannot_be_saved_is_in_use_and_never_refreshed_until_it_is() {
    let (place, idp) = (Place::new(), Idp::new());
    let vault = Running::with_idp(Some(&place), &idp);
    let token = vault.log_in(&idp, HOUR).await;
    pass(Duration::from_secs(3299)).await;
    idp.lives(Some(100));
    idp.close();
    tokio::time::advance(Duration::from_secs(32)).await;
    until_called(&idp, 1).await;
    vault.fill_disk();
    idp.open();
    until("the new token", || vault.token(&token.id).generation == 2).await;
    let seen = vault.token(&token.id);
    assert!(!seen.durable && seen.last_error.unwrap().contains("Failed to save token"));
    assert_eq!(vault.leased().await.unwrap(), "access-2");
    let spec = spec(Choice::InOrder);
    let lease = vault.lease(&spec, &[]).await.unwrap();
    vault.report(&spec, &lease, Report::Rejected);
    pass(Duration::from_secs(200)).await;
    assert_eq!(idp.calls(), 1);
    vault.free_disk();
    pass(Duration::from_secs(5)).await;
    let seen = vault.token(&token.id);
    assert!(seen.durable && idp.calls() == 2, "{} calls, {:?}", idp.calls(), vault.vault.holdings.pools());
    assert_eq!(idp.reused(), 0);
}

#[tokio::test(start_paused = true)]
async fn imports() {
    let (place, idp) = (Place::new(), Idp::new());
    let vault = Running::with_idp(Some(&place), &idp);
    let spent = idp.login(HOUR).refresh_token.unwrap();
    let taken = vault.import(vec![imported(None, Some(spent.expose())), imported(Some("fixed"), None)], None).await;
    let taken = taken.unwrap();
    assert_eq!((taken[0].generation, taken[0].status), (2, Status::Valid), "refreshed at once");
    assert_eq!((taken[1].refreshable, taken[1].status), (false, Status::Valid));
    assert!(taken.iter().all(|token| token.durable));
    assert_eq!(idp.calls(), 1);
    // A year without anybody saying when it ends.
    assert!(taken[1].expires_at > WALL + 300 * 24 * 3600 * 1000);
    // The same once more is the same token: two would revoke each other.
    let current = place.record(&taken[0].id).refresh_token.unwrap();
    let again = vault.import(vec![imported(None, Some(current.expose()))], Some("idp")).await.unwrap();
    assert_eq!((again[0].id.clone(), vault.tokens().len()), (taken[0].id.clone(), 2));
    assert_eq!(vault.refresh(&taken[1].id).await, Err(VaultError::NotRefreshable));
    // What the provider does not take is there, and says so.
    let bad = vault.import(vec![imported(None, Some("bad"))], None).await.unwrap();
    assert_eq!(bad[0].status, Status::NeedsLogin);
}

#[tokio::test(start_paused = true)]
async fn imports_need_a_provider() {
    let idp = Idp::new();
    let vault = Running::with_idp(None, &idp);
    let token = || vec![imported(Some("x"), None)];
    let unknown = vault.import(token(), Some("other")).await;
    assert_eq!(unknown, Err(VaultError::NoProvider("other".to_owned())));
    let both = [oauth2("idp"), oauth2("second")].map(|provider| (provider, Duration::from_secs(300)));
    vault.vault.configure(Settings { providers: both.to_vec() });
    let which = vault.import(token(), None).await.unwrap_err().to_string();
    assert_eq!(which, "there is no provider named for the token: it could be any of idp, second");
    assert_eq!(&*vault.import(token(), Some("second")).await.unwrap()[0].provider, "second");
}

#[tokio::test(start_paused = true)]
async fn a_removed_token_is_gone() {
    let (place, idp) = (Place::new(), Idp::new());
    let vault = Running::with_idp(Some(&place), &idp);
    let token = vault.log_in(&idp, HOUR).await;
    vault.remove(&token.id).await.unwrap();
    assert!(vault.leased().await.is_err() && vault.tokens().is_empty());
    assert_eq!(place.store().read(&token.id).unwrap(), None);
    assert_eq!(vault.remove(&token.id).await, Err(VaultError::Unknown(token.id.to_string())));
    assert_eq!(vault.refresh(&token.id).await, Err(VaultError::Unknown(token.id.to_string())));
    pass(HOUR).await;
    assert_eq!(idp.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_wants_a_refresh_joins_the_one_under_way() {
    let idp = Idp::new();
    let vault = Running::with_idp(None, &idp);
    let token = vault.log_in(&idp, HOUR).await;
    idp.close();
    let wanted: Vec<_> = (0..20)
        .map(|_| {
            let (vault, id) = (Arc::clone(&vault.vault), token.id.clone());
            tokio::spawn(async move { vault.refresh(&id).await })
        })
        .collect();
    until_called(&idp, 1).await;
    idp.open();
    for refreshed in wanted {
        assert_eq!(refreshed.await.unwrap().unwrap().generation, 2);
    }
    assert_eq!(idp.calls(), 1);
    idp.say([Say::Unsent]);
    let failed = vault.refresh(&token.id).await;
    assert_eq!(failed, Err(VaultError::Refresh("no connection to idp.test".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn tokens_of_a_provider_that_is_gone_are_kept_and_left_alone() {
    let (place, idp) = (Place::new(), Idp::new());
    let vault = Running::with_idp(Some(&place), &idp);
    let token = vault.log_in(&idp, HOUR).await;
    vault.vault.configure(Settings::default());
    pass(HOUR).await;
    assert_eq!((idp.calls(), vault.token(&token.id).status), (0, Status::Expired));
    assert!(vault.provider("idp").is_none());
    vault.use_provider(oauth2("idp"));
    assert_eq!(vault.leased().await.unwrap(), "access-2");
}

#[tokio::test(start_paused = true)]
async fn no_secret_is_shown() {
    let idp = Idp::new();
    let vault = Running::with_idp(None, &idp);
    let token = vault.log_in(&idp, HOUR).await;
    let lease = vault.lease(&spec(Choice::InOrder), &[]).await.unwrap();
    let shown = format!("{token:?} {lease:?} {:?} {:?}", vault.vault.holdings.pools(), vault.vault.tokens());
    assert!(!shown.contains("access-1") && !shown.contains("refresh-1"), "{shown}");
}
