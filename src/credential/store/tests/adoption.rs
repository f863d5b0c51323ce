//! Files that somebody has put there.

use std::collections::BTreeSet;

use super::*;

const OWN: &str = r#"{ "provider": "kiro", "access_token": "a", "refresh_token": "r", "region": "us-east-1", "pi": 3.14159265358979312 }"#;

fn only(store: &Store) -> Record {
    let (records, faults) = store.load();
    assert_eq!((records.len(), &faults[..]), (1, &[][..]));
    records.into_iter().next().unwrap()
}

#[test]
fn a_file_is_adopted_where_it_lies() {
    let place = Place::new();
    let store = place.open();
    let path = place.put("kiro-main.json", OWN);
    let record = only(&store);
    assert_eq!((record.id.as_str(), &*record.provider, record.generation), ("kiro-main", "kiro", 1));
    assert_eq!(record.further["region"], "us-east-1");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"crc32c\"") && text.contains("3.141592653589793"), "{text}");
    assert_eq!(only(&place.open()), record, "a second look changes nothing");
    assert_eq!(place.names(), ["kiro-main.json"]);
}

#[test]
fn reading_and_locking_adopt_as_well() {
    let place = Place::new();
    let store = place.open();
    place.put("one.json", OWN);
    place.put("two.json", OWN);
    let (one, two) = (TokenId::parse("one").unwrap(), TokenId::parse("two").unwrap());
    assert_eq!(store.read(&one).unwrap().unwrap().generation, 1);
    let mut locked = store.lock(&two).unwrap();
    let first = locked.current().unwrap().unwrap();
    locked.save(&first.next(&granted("access-2", None), 1_795_313_760_000)).unwrap();
    assert_eq!(store.load().0.len(), 2);
}

#[test]
fn a_name_that_is_none_is_replaced() {
    for name in ["My Token.json", "KIRO.json", "a.b.json", &format!("{}.json", "x".repeat(100))] {
        let place = Place::new();
        let store = place.open();
        place.put(name, OWN);
        let record = only(&store);
        assert!(record.id.as_str().starts_with("kiro-"), "{}", record.id);
        assert_eq!(place.names(), [file_name(&record.id)]);
    }
}

#[test]
fn a_file_that_replaces_a_token_goes_on_behind_it() {
    let place = Place::new();
    let (store, first) = (place.open(), record());
    store.create(&first).unwrap();
    let mut locked = store.lock(&first.id).unwrap();
    locked.intend(&intent(&first)).unwrap();
    // Replaced while the provider is asked.
    place.put(&file_name(&first.id), OWN);
    let second = first.next(&granted("access-2", None), 1_795_313_760_000);
    assert!(matches!(locked.save(&second), Err(SaveError::Overtaken(2))));
    assert!(locked.unfinished().unwrap().is_none());
    drop(locked);
    let record = only(&store);
    assert_eq!((record.generation, record.access_token.expose()), (2, "a"));
    assert!(record.reason.is_none() && record.lineage != first.lineage);
}

#[test]
fn a_key_seals_what_is_adopted() {
    let place = Place::new();
    let store = Store::open(&place.options(Some(&"1".repeat(64)))).unwrap();
    let path = place.put("kiro-main.json", OWN);
    assert_eq!(only(&store).access_token.expose(), "a");
    assert!(!fs::read_to_string(path).unwrap().contains("access_token"));
}

#[test]
fn who_loads_at_the_same_time_adopts_once() {
    for name in ["kiro-main.json", "My Token.json"] {
        let place = Place::new();
        let store = place.open();
        place.put(name, OWN);
        let loaded: Vec<_> = std::thread::scope(|scope| {
            let loads: Vec<_> = (0..8).map(|_| scope.spawn(|| place.open().load())).collect();
            loads.into_iter().map(|load| load.join().unwrap()).collect()
        });
        assert!(loaded.iter().all(|(_, faults)| faults.is_empty()), "{loaded:?}");
        let lineages: BTreeSet<_> = loaded.iter().flat_map(|(records, _)| records).map(|r| r.lineage.clone()).collect();
        assert_eq!(lineages.len(), 1, "{loaded:?}");
        assert_eq!(only(&store).lineage, *lineages.first().unwrap());
    }
}
