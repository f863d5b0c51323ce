use std::path::PathBuf;

use super::*;
use crate::config::{Loading, Model, load, load_with, render};
use crate::secret::Secret;

const NAME: RouteName<'_> = RouteName { project: "demo", environment: "production", prefix: "/a0" };
const KEPT: &str = "kept-c4n4ry-0123456789abcdef0123456789";
const NEXT: &str = "next-c4n4ry-0123456789abcdef0123456789";
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A configuration with one route, and its state directory.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new(sign: &str) -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        place.configure(sign, "");
        std::fs::create_dir_all(place.folder()).unwrap();
        place
    }

    fn configure(&self, sign: &str, further: &str) {
        let text = format!(
            "listeners: {{ http: {{ address: \"127.0.0.1:8080\" }} }}\nadmin: {{ state_dir: state }}\n{further}\n\
             projects: {{ demo: {{ environments: {{ production: {{ routes: [{{ prefix: /a0, upstream: \"http://o.example\", \
             sign: {sign} }}] }} }} }} }}\n"
        );
        std::fs::write(self.path("c.yaml"), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn folder(&self) -> PathBuf {
        self.path("state").join(sign_token::DIRECTORY)
    }

    fn record(&self) -> PathBuf {
        self.folder().join(record::file_name(NAME))
    }

    fn keep(&self, kept: &Kept, key: Option<&str>) {
        let key = key.map(|key| Sealer::of(&Secret::new(key)));
        std::fs::write(self.record(), record::write(NAME, kept, key.as_ref()).unwrap()).unwrap();
    }

    fn load(&self) -> Loading {
        load(&self.path("c.yaml"), &|_| None)
    }
}

fn held(token: &str) -> Option<Held> {
    Some(Held { token: Secret::new(token), set_at: Some(7) })
}

fn kept() -> Kept {
    Kept { current: held(KEPT), next: held(NEXT), previous: None }
}

fn sign(model: &Model) -> &Sign {
    model.projects[0].environments[0].routes[0].sign.as_ref().unwrap()
}

fn shown(loading: &Loading) -> String {
    let text = render::human(&loading.sources, &loading.diagnostics, false);
    assert!(!text.contains("c4n4ry"), "{text}");
    text
}

fn refused(place: &Place, code: &str, words: &str) {
    let loading = place.load();
    let text = shown(&loading);
    assert!(loading.model.is_none() && text.contains(code) && text.contains(words), "{text}");
}

#[test]
fn a_route_without_a_token_gets_the_one_that_is_kept() {
    let place = Place::new("{ scheme: user-stamp }");
    let without = place.load();
    assert_eq!(sign(without.model.as_ref().unwrap()).tokens.home, Home::Nowhere);
    place.keep(&kept(), None);
    let with = place.load();
    assert_eq!(shown(&with), "");
    let model = with.model.unwrap();
    let sign = sign(&model);
    assert_eq!(sign.token.as_ref().unwrap().expose(), KEPT);
    assert_eq!((&sign.tokens.home, sign.tokens.set_at), (&Home::Kept, Some(7)));
    assert_eq!((sign.tokens.next.clone(), sign.tokens.previous.clone()), (held(NEXT), None));
    assert_ne!(with.sha256, without.sha256, "the token is part of the configuration");
    assert!(with.watched.contains(&place.record()) && without.watched.contains(&place.folder()));
}

#[test]
fn what_is_written_goes_first() {
    let place = Place::new("{ scheme: user-stamp, token: file:a0.token }");
    std::fs::write(place.path("a0.token"), format!("{}\n", "w".repeat(31))).unwrap();
    place.keep(&kept(), None);
    let loading = place.load();
    assert!(shown(&loading).contains("unused_sign_token"), "{}", shown(&loading));
    let model = loading.model.unwrap();
    assert_eq!(sign(&model).token.as_ref().unwrap().expose(), "w".repeat(31));
    assert_eq!(sign(&model).tokens.next, None);
    // Beside a file stand the next and the previous one.
    let previous = Some(Held { token: Secret::new("w".repeat(31)), set_at: None });
    place.keep(&Kept { current: None, next: held(NEXT), previous }, None);
    let loading = place.load();
    let model = loading.model.as_ref().unwrap();
    assert_eq!(
        (sign(model).tokens.next.clone(), &sign(model).tokens.previous),
        (held(NEXT), &None),
        "{}",
        shown(&loading)
    );
    assert!(matches!(&sign(model).tokens.home, Home::File(path) if path.ends_with("a0.token")));
    assert!(sign(model).tokens.set_at.is_some());
}

#[test]
fn the_key_opens_what_is_sealed_however_it_is_spelt() {
    let place = Place::new("{ scheme: user-stamp }");
    place.keep(&kept(), Some(KEY));
    refused(&place, "sign_token_unreadable", "no `tokens.encryption_key`");
    let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    for key in [KEY, &KEY.to_uppercase(), base64] {
        place.configure("{ scheme: user-stamp }", &format!("tokens: {{ encryption_key: \"{key}\" }}"));
        let model = place.load().model.unwrap();
        assert_eq!(sign(&model).token.as_ref().unwrap().expose(), KEPT, "{key}");
    }
    place.configure("{ scheme: user-stamp }", &format!("tokens: {{ encryption_key: {} }}", "f".repeat(64)));
    refused(&place, "sign_token_unreadable", "does not open");
}

#[test]
fn what_cannot_be_used_is_an_error() {
    let place = Place::new("{ scheme: user-stamp }");
    std::fs::write(place.record(), format!("{{ \"{KEPT}\"")).unwrap();
    refused(&place, "sign_token_unreadable", "is damaged");
    place.keep(&Kept { current: held("c4n4ry"), ..Kept::default() }, None);
    refused(&place, "weak_sign_token", "has 6 characters");
    place.keep(&Kept { previous: held("c4n4ry c4n4ry c4n4ry c4n4ry c4n4ry c4n4ry"), ..kept() }, None);
    refused(&place, "weak_sign_token", "visible ASCII");
    let other = RouteName { prefix: "/a1", ..NAME };
    std::fs::write(place.record(), record::write(other, &kept(), None).unwrap()).unwrap();
    refused(&place, "sign_token_unreadable", "is of another route");
    std::fs::remove_file(place.record()).unwrap();
    std::fs::create_dir(place.record()).unwrap();
    refused(&place, "sign_token_unreadable", "cannot be read");
    std::fs::remove_dir_all(place.folder()).unwrap();
    std::fs::write(place.folder(), "").unwrap();
    refused(&place, "sign_token_unreadable", "`sign-tokens` in the state directory");
}

#[test]
fn a_token_that_got_lost_is_missed() {
    let place = Place::new("{ scheme: user-stamp }");
    std::fs::write(place.folder().join(index::NAME), Index::default().with(NAME, true).write()).unwrap();
    refused(&place, "sign_token_missing", "is missing");
    // One without a token was made so on purpose, but then it is in no index.
    place.keep(&Kept::default(), None);
    refused(&place, "sign_token_missing", "is missing");
    std::fs::write(place.folder().join(index::NAME), Index::default().write()).unwrap();
    assert_eq!(sign(&place.load().model.unwrap()).tokens.home, Home::LetGo);
    std::fs::write(place.folder().join(index::NAME), "{").unwrap();
    refused(&place, "sign_token_unreadable", "list of routes");
    place.configure("{ scheme: none }", "");
    assert!(place.load().model.is_some(), "nothing is signed");
}

#[test]
fn files_are_read_as_they_would_be() {
    let place = Place::new("{ scheme: user-stamp }");
    let mut overlay = Overlay::default();
    overlay.set(&place.record(), Some(record::write(NAME, &kept(), None).unwrap().to_vec()));
    let loading = load_with(&place.path("c.yaml"), &|_| None, &overlay);
    assert_eq!(sign(&loading.model.unwrap()).token.as_ref().unwrap().expose(), KEPT);
    place.configure("{ scheme: user-stamp, token: file:a0.token }", "");
    overlay.set(&place.path("a0.token"), Some(b"short-c4n4ry\n".to_vec()));
    let loading = load_with(&place.path("c.yaml"), &|_| None, &overlay);
    assert!(shown(&loading).contains("has 12 characters"), "{}", shown(&loading));
    overlay.set(&place.path("a0.token"), None);
    let loading = load_with(&place.path("c.yaml"), &|_| None, &overlay);
    assert!(shown(&loading).contains("no such file"), "{}", shown(&loading));
}
