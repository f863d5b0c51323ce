//! The fields of a route's form, and the route that they say. Keys that have no field stay as they are.

use crate::config::data::Data;

use super::super::super::form::Fields;

/// What is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    pub prefix: String,
    pub upstream: String,
    pub auth: String,
    /// Empty: not signed.
    pub scheme: String,
    /// One a line, `name: value`.
    pub payload: String,
    /// Keys that have no field, and stay.
    pub others: Vec<String>,
}

/// Those that have one.
const FIELDS: [&str; 5] = ["prefix", "upstream", "auth", "sign", "payload"];

const REQUIRED: &str = "required";

impl Default for Form {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            upstream: String::new(),
            auth: REQUIRED.to_owned(),
            scheme: String::new(),
            payload: String::new(),
            others: Vec::new(),
        }
    }
}

impl Form {
    /// Of a route as it is shown, secrets masked.
    pub fn of(route: &Data) -> Self {
        let text = |value: Option<&Data>| value.and_then(Data::text).unwrap_or_default().to_owned();
        let auth = text(route.get("auth"));
        let payload = route.get("payload").map(Data::entries).unwrap_or_default();
        let lines = payload.iter().map(|(name, value)| format!("{name}: {}\n", value.text().unwrap_or_default()));
        let others = route.entries().iter().map(|(name, _)| name.clone());
        Self {
            prefix: text(route.get("prefix")),
            upstream: text(route.get("upstream")),
            auth: if auth.is_empty() { REQUIRED.to_owned() } else { auth },
            scheme: text(route.at(&["sign", "scheme"])),
            payload: lines.collect(),
            others: others.filter(|name| !FIELDS.contains(&name.as_str())).collect(),
        }
    }

    /// As it came.
    pub fn sent(fields: &Fields) -> Self {
        let field = |name: &str| fields.one(name).unwrap_or_default().trim().to_owned();
        Self {
            prefix: field("prefix"),
            upstream: field("upstream"),
            auth: field("auth"),
            scheme: field("scheme"),
            payload: field("payload"),
            others: Vec::new(),
        }
    }

    /// The route; `base`: what it was, secrets masked.
    ///
    /// # Errors
    /// The line of the payload, from 1, that has no colon.
    pub fn route(&self, base: Option<&Data>) -> Result<Data, usize> {
        let mut entries = base.map(|base| base.entries().to_vec()).unwrap_or_default();
        let text = |value: &str| (!value.is_empty()).then(|| Data::Text(value.to_owned()));
        put(&mut entries, "prefix", text(&self.prefix));
        put(&mut entries, "upstream", text(&self.upstream));
        let is_written = entries.iter().any(|(name, _)| name == "auth");
        if is_written || self.auth != REQUIRED {
            put(&mut entries, "auth", text(&self.auth));
        }
        let mut sign = base.and_then(|base| base.get("sign")).map(|sign| sign.entries().to_vec()).unwrap_or_default();
        put(&mut sign, "scheme", text(&self.scheme));
        put(&mut entries, "sign", (!self.scheme.is_empty()).then_some(Data::Map(sign)));
        let payload = self.payload()?;
        put(&mut entries, "payload", (!payload.is_empty()).then_some(Data::Map(payload)));
        Ok(Data::Map(entries))
    }

    fn payload(&self) -> Result<Vec<(String, Data)>, usize> {
        let mut payload = Vec::new();
        for (number, line) in self.payload.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let (name, value) = line.split_once(':').ok_or(number + 1)?;
            payload.push((name.trim().to_owned(), Data::Text(value.trim().to_owned())));
        }
        Ok(payload)
    }
}

/// Where the key stands already, or at the end; `None`: it goes.
fn put(entries: &mut Vec<(String, Data)>, key: &str, value: Option<Data>) {
    let place = entries.iter().position(|(name, _)| name == key);
    match (place.and_then(|place| entries.get_mut(place)), value) {
        (Some((_, old)), Some(value)) => *old = value,
        (None, Some(value)) => entries.push((key.to_owned(), value)),
        (_, None) => entries.retain(|(name, _)| name != key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(text: &str) -> Data {
        Data::read(text).unwrap()
    }

    #[test]
    fn what_has_no_field_stays_and_nothing_is_spelt_out_that_was_not() {
        let base = data(
            "{prefix: /a, upstream: u, methods: [GET], sign: {scheme: user-stamp, token: file:x}, payload: {a: '***'}}",
        );
        let form = Form::of(&base);
        assert_eq!(
            form.route(Some(&base)).unwrap(),
            data(
                "{prefix: '/a', upstream: 'u', methods: [GET], sign: {scheme: 'user-stamp', token: file:x}, payload: {a: '***'}}"
            )
        );
        assert_eq!((form.others.as_slice(), form.auth.as_str()), (&["methods".to_owned()][..], "required"));
    }

    #[test]
    fn fields_are_added_changed_and_removed() {
        let base = data("{prefix: /a, respond: {body: x}, auth: none, sign: {scheme: user-stamp}}");
        let form = Form {
            auth: "optional".into(),
            scheme: String::new(),
            payload: "x-a: b:c\n\n x-b :d".into(),
            ..Form::of(&base)
        };
        let route = form.route(Some(&base)).unwrap();
        assert_eq!(route, data("{prefix: /a, respond: {body: x}, auth: optional, payload: {x-a: 'b:c', x-b: d}}"));
        assert_eq!(Form { payload: "a: b\nc".into(), ..Form::default() }.route(None), Err(2));
    }
}
