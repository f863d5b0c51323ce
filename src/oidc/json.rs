//! JSON that says one thing: an object in which no name comes twice, at any depth.
//!
//! RFC 7515 §4 and RFC 7519 §4 leave it to the reader whether a duplicate name is refused or the last one wins. Two readers
//! that choose differently see two tokens in one, so it is refused.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The object; `None`: it is none, or not one that every reader sees alike.
pub fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = reader.deserialize_any(Strict).ok()?;
    reader.end().ok()?;
    match value {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

/// Reads any value; the depth is bounded by the reader (128).
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate names")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Strict)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(Strict)?;
            if members.insert(name, value).is_some() {
                return Err(de::Error::custom("a name comes twice"));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::object;

    #[test]
    fn an_object_says_one_thing() {
        for sound in [r#"{}"#, r#"{"a":1,"b":{"a":[null,true,-1,1.5,"x"]}}"#, " {\"a\":\"\\u00e9\"}\n"] {
            let members = object(sound.as_bytes()).unwrap();
            assert_eq!(serde_json::Value::Object(members), serde_json::from_str::<serde_json::Value>(sound).unwrap());
        }
        for two in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"{"b":[{"a":1,"a":2}]}"#] {
            assert!(object(two.as_bytes()).is_none(), "{two}");
        }
        for none in ["", "[]", "1", "{", "{}{}", "{} x", "{\"a\":\"\u{1}\"}", "{'a':1}", "{\"a\":1,}", "\u{feff}{}"] {
            assert!(object(none.as_bytes()).is_none(), "{none}");
        }
        assert!(object(b"{\"a\":\"\xff\"}").is_none());
        let deep = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(object(deep(100).as_bytes()).is_some());
        assert!(object(deep(100_000).as_bytes()).is_none());
    }
}
