use proptest::prelude::*;

use super::*;

/// Anything that a file can hold.
pub(crate) fn data() -> impl Strategy<Value = Data> {
    let scalar = prop_oneof![
        Just(Data::Null),
        any::<i64>().prop_map(|number| Data::Plain(number.to_string())),
        any::<bool>().prop_map(|truth| Data::Plain(truth.to_string())),
        any::<String>().prop_map(Data::Text),
        "[ -~]{0,20}".prop_map(Data::Text),
        prop::sample::select(vec![
            "null", "~", "", "true", "1", "0x10", "010", "1e3", "- a", "a: b", "#", "a #b", "\u{feff}", "\u{85}", "*x",
            "&x", "!x", "|", ">", "%", "---", "...", "<<", "中文", "\u{2028}", "?", "=", ".nan"
        ])
        .prop_map(|text| Data::Text(text.to_owned())),
    ];
    scalar.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Data::List),
            prop::collection::btree_map(prop_oneof!["[ -~]{0,12}", any::<String>()], inner, 0..6)
                .prop_map(|map| Data::Map(map.into_iter().collect())),
        ]
    })
}

/// What a mistake would have to be compared with.
fn spelled(data: &Data) -> String {
    serde_json::to_string(data).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_written_is_read_back(data in data()) {
        let text = data.write();
        let back = Data::read(&text).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
        prop_assert!(back == data, "{text}\n{}\n{}", spelled(&back), spelled(&data));
        prop_assert_eq!(back.write(), text);
    }

    #[test]
    fn json_goes_through(data in data()) {
        let json = spelled(&data);
        let back: Data = serde_json::from_str(&json).unwrap();
        prop_assert!(back == data, "{json}\n{}", spelled(&back));
    }
}

fn of(text: &str) -> Data {
    Data::read(text).unwrap()
}

#[test]
fn scalars_keep_their_spelling() {
    let text = "a: 010\nb: 1e3\nc: 0x1F\nd: TRUE\ne: 12345678901234567890123\nf: \"1\"\ng: 1\nh: yes\ni: 1.50\n";
    assert_eq!(
        spelled(&of(text)),
        r#"{"a":"010","b":"1e3","c":"0x1F","d":"TRUE","e":"12345678901234567890123","f":"1","g":1,"h":"yes","i":"1.50"}"#
    );
}

#[test]
fn it_looks_as_people_write_it() {
    let json = r#"{"projects":{"demo":{"routes":[{"prefix":"/a1","upstream":"https://x.test/api","status":200,"methods":["GET"],"respond":{}},["a",[]]]}}}"#;
    let data: Data = serde_json::from_str(json).unwrap();
    assert_eq!(
        data.write(),
        "projects:\n  demo:\n    routes:\n      - prefix: /a1\n        upstream: \"https://x.test/api\"\n        status: 200\n        \
         methods:\n          - GET\n        respond: {}\n      - - a\n        - []\n"
    );
}

#[test]
fn a_key_that_comes_twice_is_refused() {
    let error = serde_json::from_str::<Data>(r#"{"a":1,"b":{"c":1,"c":2}}"#).unwrap_err();
    assert!(error.to_string().contains("twice"), "{error}");
    assert!(Data::read("a: 1\na: 2\n").is_err());
}

#[test]
fn secrets_are_stars_and_references_are_not() {
    let text = "prefix: /a\nsign: { scheme: user-stamp, token: abc }\npayload: { x-a: \"1\", x-b: 2, x-c: \"file:t\", x-d: \"${D}\", x-e: \"${D:-d}\", x-f: \"$D\", x-g: \"\" }\n\
                headers: { request: { set: { x-tag: v, authorization: Bearer z } } }\n";
    let data = of(text);
    assert_eq!(
        spelled(&data.masked()),
        r#"{"prefix":"/a","sign":{"scheme":"user-stamp","token":"***"},"payload":{"x-a":"***","x-b":"***","x-c":"file:t","x-d":"${D}","x-e":"***","x-f":"***","x-g":""},"headers":{"request":{"set":{"x-tag":"v","authorization":"***"}}}}"#
    );
    assert!(data.masked().restored(Some(&data)).unwrap() == data);
    let renamed = of("payload: { x-new: \"***\" }\n");
    assert_eq!(renamed.restored(Some(&data)).unwrap_err(), NotStored("payload.x-new".to_owned()));
    assert!(renamed.restored(None).is_err());
    let elsewhere = of("respond: { body: \"***\" }\n");
    assert!(elsewhere.restored(Some(&data)).unwrap() == elsewhere);
    assert!(!format!("{data:?}").contains("abc"));
}

#[test]
fn places_lead_to_keys() {
    let text = "a:\n  - b: 1\n    c: { d: x }\n";
    let at = |line, column| {
        places(text)
            .into_iter()
            .filter(|place| (place.line, place.column) == (line, column))
            .map(|it| it.path.join("."))
            .next_back()
    };
    assert_eq!(at(2, 8).as_deref(), Some("a.0.b"));
    assert_eq!(at(3, 10).as_deref(), Some("a.0.c.d"));
}
