//! What is written is read again, and what was changed is noticed.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(".{0,6}", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn moments() -> impl Strategy<Value = UnixMillis> {
    0..=moment::LAST
}

prop_compose! {
    fn identity()(id in "[a-z0-9-]{1,64}", provider in ".{1,20}", generation: u64, lineage in ".{0,20}") -> (TokenId, String, u64, String) {
        (TokenId::parse(&id).unwrap(), provider, generation, lineage)
    }
}

prop_compose! {
    fn secrets()(access in ".{0,40}", refresh in option::of(".{0,40}"), client in option::of((".{0,9}", ".{0,9}", option::of(moments()))))
        -> (Secret, Option<Secret>, Option<Registration>)
    {
        let registration = client.map(|(id, secret, expires_at)| {
            Registration { client_id: id, client_secret: Secret::new(secret), expires_at }
        });
        (Secret::new(access), refresh.map(Secret::new), registration)
    }
}

prop_compose! {
    fn records()(
        (id, provider, generation, lineage) in identity(),
        (access_token, refresh_token, registration) in secrets(),
        [created_at, obtained_at, expires_at] in [moments(), moments(), moments()],
        refresh_expires_at in option::of(moments()),
        [scope, reason, last_error] in [option::of(".{0,20}"), option::of(".{0,20}"), option::of(".{0,20}")],
        previous in option::of((any::<u64>(), "[0-9a-f]{64}")),
        state in prop_oneof![Just(State::Valid), Just(State::NeedsLogin), Just(State::Disabled)],
        further in btree_map("[a-z_]{1,3}[^a-z]{1,3}", json(), 0..5),
    ) -> Record {
        Record {
            id, generation, lineage, access_token, refresh_token, registration, created_at, obtained_at, expires_at,
            refresh_expires_at, scope, reason, last_error, previous, state,
            provider: provider.as_str().into(),
            token_type: "Bearer".to_owned(),
            further: further.into_iter().collect(),
        }
    }
}

proptest! {
    #[test]
    fn a_record_comes_back(record in records()) {
        let bytes = record.to_json();
        prop_assert!(parse(&bytes) == Ok(Parsed::Record(Box::new(record))), "{}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_flipped_byte_changes_nothing_unnoticed(record in records(), place: prop::sample::Index, change in 1u8..) {
        let mut bytes = record.to_json().to_vec();
        *place.get_mut(&mut bytes) ^= change;
        let noticed = match parse(&bytes) {
            // White space, and other ways to write the same.
            Ok(Parsed::Record(read)) => *read == record,
            Ok(Parsed::Sealed(_) | Parsed::Foreign(_)) => false,
            Err(_) => true,
        };
        prop_assert!(noticed, "{}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_file_that_was_cut_is_noticed(record in records(), length: prop::sample::Index) {
        let bytes = record.to_json();
        // Without its last line end it still says everything.
        let cut = &bytes[..length.index(bytes.len() - 1)];
        prop_assert!(parse(cut).is_err_and(|malformed| malformed.is_damage()));
    }

    #[test]
    fn nothing_panics(bytes: Vec<u8>, value in json()) {
        let _ = parse(&bytes);
        let _ = parse(value.to_string().as_bytes());
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn record() -> Record {
    let foreign = json!({ "provider": "idp", "access_token": "a", "refresh_token": "r", "expires_at": 1_795_313_758 });
    let Ok(Parsed::Foreign(foreign)) = parse(foreign.to_string().as_bytes()) else { panic!("it is one") };
    foreign.adopt(TokenId::parse("idp-x").unwrap(), 1, 1_795_313_000_000)
}

#[test]
fn the_fuzzers_seeds_are_of_every_kind() {
    let kind = |seed: &str| {
        let path = format!("{}/fuzz/seeds/token_file/{seed}", env!("CARGO_MANIFEST_DIR"));
        match parse(&std::fs::read(path).unwrap()) {
            Ok(Parsed::Record(_)) => "record",
            Ok(Parsed::Sealed(_)) => "sealed",
            Ok(Parsed::Foreign(_)) => "foreign",
            Err(Malformed::Later(2)) => "later",
            Err(other) => panic!("{seed}: {other}"),
        }
    };
    let kinds = ["01", "02", "03", "04", "05", "06"].map(kind);
    assert_eq!(kinds, ["record", "record", "sealed", "foreign", "foreign", "later"]);
}

#[test]
fn people_can_read_it() {
    let written = text(&record().to_json());
    for line in [
        "  \"access_token\": \"a\",\n",
        "  \"refresh_token\": \"r\",\n",
        "  \"expires_at\": \"2026-11-22T02:15:58Z\",\n",
        "  \"state\": \"valid\",\n",
        "  \"v\": 1\n",
    ] {
        assert!(written.contains(line), "{line} is not in {written}");
    }
    assert!(written.ends_with("}\n"));
}

#[test]
fn the_checksum_is_of_what_is_said_and_not_of_how() {
    let written = text(&record().to_json());
    let indented_otherwise = written.replace("\n  ", "\n\t\t");
    assert!(parse(indented_otherwise.as_bytes()) == parse(written.as_bytes()) && parse(written.as_bytes()).is_ok());
    assert_eq!(parse(written.replace("\"a\"", "\"b\"").as_bytes()), Err(Malformed::Checksum));
    let mut object: Map<String, Value> = serde_json::from_str(&written).unwrap();
    let claimed = object.remove(CHECKSUM).unwrap();
    // Python: crc32c(json.dumps(object, sort_keys=True, separators=(",", ":"), ensure_ascii=False))
    let canonical = serde_json::to_string(&object.into_iter().collect::<std::collections::BTreeMap<_, _>>()).unwrap();
    assert_eq!(claimed, format!("{:08x}", crc32c::crc32c(canonical.as_bytes())));
}

#[test]
fn a_file_of_ours_without_its_checksum_is_damaged() {
    let mut object: Map<String, Value> = serde_json::from_slice(&record().to_json()).unwrap();
    object.remove(CHECKSUM);
    assert_eq!(parse(Value::from(object.clone()).to_string().as_bytes()), Err(Malformed::Checksum));
    // Without either it is somebody's own.
    object.remove("v");
    assert!(matches!(parse(Value::from(object).to_string().as_bytes()), Ok(Parsed::Foreign(_))));
}

fn with(key: &str, value: Value) -> Vec<u8> {
    let mut object: Map<String, Value> = serde_json::from_slice(&record().to_json()).unwrap();
    object.remove(CHECKSUM);
    match value {
        Value::Null => drop(object.remove(key)),
        value => drop(object.insert(key.to_owned(), value)),
    }
    let sum = checksum(&object);
    object.insert(CHECKSUM.to_owned(), sum.into());
    Value::from(object).to_string().into_bytes()
}

#[test]
fn what_a_good_file_must_say() {
    assert!(matches!(parse(&with("unknown", json!([1]))), Ok(Parsed::Record(_))));
    assert_eq!(parse(&with("v", json!(2))), Err(Malformed::Later(2)));
    for (key, value) in [
        ("id", json!("../x")),
        ("id", Value::Null),
        ("generation", json!(-1)),
        ("generation", json!("1")),
        ("access_token", json!(1)),
        ("expires_at", json!("tomorrow")),
        ("state", json!("refreshing")),
        ("lineage", Value::Null),
        ("prev", json!({ "generation": 1 })),
        ("registration", json!({ "client_id": "x" })),
    ] {
        let malformed = parse(&with(key, value.clone())).unwrap_err();
        assert_eq!(malformed, Malformed::Key(key), "{key}: {value}");
        assert!(!malformed.is_damage());
    }
}

#[test]
fn somebodys_own_file_is_adopted_with_what_else_it_says() {
    let own = json!({
        "provider": "idp", "refresh_token": "r", "expires_at": "2026-11-22T03:15:58+01:00", "scope": "s", "email": "x@y",
        "registration": { "client_id": "c", "client_secret": "s", "expires_at": 2_000_000_000 },
        "id": "mine", "generation": 9, "state": "disabled", "reason": "r"
    });
    let Ok(Parsed::Foreign(foreign)) = parse(own.to_string().as_bytes()) else { panic!("it is one") };
    assert_eq!(foreign.provider(), "idp");
    assert!(!format!("{foreign:?}").contains("x@y"));
    let record = foreign.adopt(TokenId::parse("idp-x").unwrap(), 3, 5_000);
    assert_eq!((record.generation, record.state, record.reason.as_deref()), (3, State::Valid, None));
    assert_eq!((record.expires_at, record.created_at), (5_000, 5_000), "it is refreshed at once");
    assert_eq!(record.registration.as_ref().unwrap().expires_at, Some(2_000_000_000_000));
    assert_eq!(Value::from(record.further.clone()), json!({ "email": "x@y" }));
    assert_eq!((record.token_type.as_str(), record.scope.as_deref()), ("Bearer", Some("s")));
}

#[test]
fn an_access_token_alone_is_used_until_it_is_turned_down() {
    let own = json!({ "provider": "idp", "access_token": "a" });
    let Ok(Parsed::Foreign(foreign)) = parse(own.to_string().as_bytes()) else { panic!("it is one") };
    assert_eq!(foreign.adopt(TokenId::parse("x").unwrap(), 1, 5_000).expires_at, moment::LAST);
}

#[test]
fn what_is_said_and_not_understood_is_not_passed_over() {
    for (key, value) in [
        ("expires_at", json!("tomorrow")),
        ("created_at", json!([])),
        ("registration", json!({ "client_id": "c", "clientSecret": "s" })),
        ("registration", json!("c")),
    ] {
        let mut own = json!({ "provider": "idp", "access_token": "a", "refresh_expires_at": null });
        own[key] = value;
        assert_eq!(parse(own.to_string().as_bytes()), Err(Malformed::Key(key)), "{own}");
    }
}

#[test]
fn what_holds_no_token() {
    for none in [
        json!({}),
        json!({ "access_token": "a" }),
        json!({ "provider": "idp" }),
        json!({ "provider": "", "access_token": "a" }),
        json!({ "provider": "idp", "access_token": "" }),
        json!({ "provider": 1, "access_token": "a" }),
    ] {
        assert_eq!(parse(none.to_string().as_bytes()), Err(Malformed::NoToken), "{none}");
    }
    for damaged in ["", "{", "[]", "null", "\0", "{\"provider\":\"idp\"", "{} {}"] {
        assert!(parse(damaged.as_bytes()).unwrap_err().is_damage(), "{damaged}");
    }
    let error = parse(b"{\"access_token\": \"secret\" x}").unwrap_err().to_string();
    assert_eq!(error, "it is not a JSON object (line 1, column 27)");
}
