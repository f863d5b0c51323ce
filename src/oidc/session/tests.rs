use std::time::Duration;

use super::super::testing::{self, NOW, settings};
use super::super::{Client, Issuer, Settings};
use super::*;

fn sealer(secret: &str) -> Sealer {
    Sealer::of(&Secret::new(secret))
}

fn client() -> Client {
    Client::new(settings(Arc::new(Issuer::new("https://sso.example.com", Vec::new(), None).unwrap())))
}

fn session() -> Session {
    testing::session(&client(), "wang.fang@example.com", "王芳", NOW)
}

/// With tokens of these lengths.
fn carrying(refresh: usize, id: usize) -> Session {
    let token = |length: usize| Some(Secret::new("t".repeat(length)));
    Session { refresh_token: token(refresh), id_token: token(id), ..session() }
}

fn opened(pieces: &[String]) -> Option<Session> {
    Session::open(&sealer("s"), &pieces.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_session_comes_back_as_it_went() {
    for session in [session(), carrying(40, 1000), carrying(2000, 2048), carrying(8192, 2048)] {
        let pieces = session.seal(&sealer("s")).unwrap();
        assert!(pieces.len() <= 4 && pieces.iter().all(|piece| piece.len() <= 3800));
        assert!(
            pieces
                .iter()
                .flat_map(|piece| piece.bytes())
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        );
        assert_eq!(opened(&pieces), Some(session));
    }
    assert_eq!(session().seal(&sealer("s")).unwrap().len(), 1);
    assert!(carrying(8192, 0).seal(&sealer("s")).unwrap().len() > 2);
}

#[test]
fn what_is_too_much_is_not_carried() {
    let with_a_long_hint = carrying(40, 2049);
    let back = opened(&with_a_long_hint.seal(&sealer("s")).unwrap()).unwrap();
    assert_eq!(back, Session { id_token: None, ..with_a_long_hint });
    assert_eq!(carrying(20_000, 40).seal(&sealer("s")), None);
}

#[test]
fn every_piece_counts_in_its_place() {
    let pieces = carrying(8000, 0).seal(&sealer("s")).unwrap();
    assert_eq!(pieces.len(), 3);
    for missing in 0..3 {
        let mut fewer = pieces.clone();
        fewer.remove(missing);
        assert_eq!(opened(&fewer), None, "without {missing}");
    }
    for (one, two) in [(0, 1), (1, 2), (0, 2)] {
        let mut swapped = pieces.clone();
        swapped.swap(one, two);
        assert_eq!(opened(&swapped), None, "{one} for {two}");
    }
    let others = carrying(8000, 0).seal(&sealer("s")).unwrap();
    for at in 0..3 {
        let mut mixed = pieces.clone();
        mixed[at].clone_from(&others[at]);
        assert_eq!(opened(&mixed), None, "{at} of another session");
    }
    for at in 0..3 {
        for place in [0, 1, 2, 100, pieces[at].len() - 1] {
            let mut changed = pieces.clone();
            let mut bytes = changed[at].clone().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            changed[at] = String::from_utf8(bytes).unwrap();
            assert_eq!(opened(&changed), None, "{place} of {at}");
        }
    }
    assert!(opened(&pieces).is_some());
}

#[test]
fn what_a_longer_session_left_behind_is_passed_over() {
    let left = carrying(8000, 0).seal(&sealer("s")).unwrap();
    let mut pieces = session().seal(&sealer("s")).unwrap();
    pieces.extend_from_slice(&left[1..]);
    assert_eq!(opened(&pieces), Some(session()));
}

#[test]
fn what_nobody_sealed_opens_nothing() {
    for pieces in [
        &[][..],
        &[""],
        &["."],
        &["1."],
        &["0.x"],
        &["5.x", "x", "x", "x", "x"],
        &["-1.x"],
        &["99999999999999999999.x"],
    ] {
        assert_eq!(Session::open(&sealer("s"), pieces), None, "{pieces:?}");
    }
    let elsewhere = session().seal(&sealer("other")).unwrap();
    assert_eq!(opened(&elsewhere), None);
    let for_something_else = sealer("s").seal("oidc login", b"{}").unwrap();
    assert_eq!(opened(&[format!("1.{for_something_else}")]), None);
    let nonsense = sealer("s").seal(PURPOSE, b"{\"u\":1}").unwrap();
    assert_eq!(opened(&[format!("1.{nonsense}")]), None);
}

#[test]
fn a_session_is_of_one_client_and_ends() {
    let client = client();
    let process = sealer("s");
    let pieces = session().seal(&process).unwrap();
    let pieces: Vec<_> = pieces.iter().map(String::as_str).collect();
    let end = NOW + 8 * 3600 * 1000;
    assert_eq!(client.session(Some(&process), &pieces, NOW), Some(session()));
    assert!(client.session(Some(&process), &pieces, end - 1).is_some());
    assert_eq!(client.session(Some(&process), &pieces, end), None);
    assert_eq!(client.session(None, &pieces, NOW), None);
    let other = |change: fn(&mut Settings)| {
        let mut settings = client.settings.clone();
        change(&mut settings);
        Client::new(settings).session(Some(&process), &pieces, NOW + 3_600_000)
    };
    assert!(other(|_| {}).is_some());
    assert_eq!(other(|settings| settings.client_id = "another".to_owned()), None);
    assert_eq!(
        other(|settings| settings.issuer = Arc::new(Issuer::new("https://b.example", vec![], None).unwrap())),
        None
    );
    assert_eq!(other(|settings| settings.sealer = Some(sealer("own"))), None);
    assert_eq!(other(|settings| settings.session = Duration::from_secs(3600)), None, "sessions were made shorter");
}

#[test]
fn a_session_is_due_if_there_is_something_to_show() {
    let due = NOW + 300_000;
    assert!(!session().is_due(due));
    assert!(!carrying(10, 10).is_due(due - 1) && carrying(10, 10).is_due(due));
}

#[test]
fn nothing_secret_is_shown() {
    let session =
        Session { refresh_token: Some(Secret::new("refresh-t")), id_token: Some(Secret::new("id-t")), ..session() };
    let shown = format!("{session:?} {session:#?}");
    assert!(shown.contains("wang.fang") && !shown.contains("refresh-t") && !shown.contains("id-t"), "{shown}");
    let begun =
        super::super::Begun { location: "l?state=s".to_owned(), state_cookie: "c".to_owned(), mark: "m".to_owned() };
    assert!(!format!("{begun:?}").contains("state=s"));
}
