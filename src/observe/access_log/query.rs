//! What of a query reaches a log: everything, the names only, or nothing.

use super::Query;

/// Hands over a query as it is logged, in pieces that are to be written as they stand.
pub fn show(query: &str, policy: Query, write: impl FnMut(&str)) {
    let mut write = write;
    match policy {
        Query::Full => write(query),
        Query::Redacted => redact(query, write),
        Query::Off => {}
    }
}

/// The names with `***` for values; a part without `=` has no value and stays.
fn redact(query: &str, mut write: impl FnMut(&str)) {
    for part in query.split_inclusive(['&', ';']) {
        match part.split_once('=') {
            None => write(part),
            Some((name, value)) => {
                write(name);
                write("=***");
                write(value.get(value.trim_end_matches(['&', ';']).len()..).unwrap_or_default());
            }
        }
    }
}

/// Hands over a `Referer` under the same policy: it often carries another page's codes and tokens. What follows a `#`
/// counts to the query.
pub fn show_address(address: &str, policy: Query, mut write: impl FnMut(&str)) {
    if policy == Query::Full {
        return write(address);
    }
    let (before, query) = split_address(address);
    write(before);
    if let Some(query) = query.filter(|_| policy == Query::Redacted) {
        write("?");
        redact(query, write);
    }
}

fn split_address(address: &str) -> (&str, Option<&str>) {
    match address.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (address.split_once('#').map_or(address, |(before, _)| before), None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn logged(query: &str, policy: Query) -> String {
        let mut shown = String::new();
        show(query, policy, |piece| shown.push_str(piece));
        shown
    }

    #[test]
    fn redaction_keeps_names_and_order() {
        assert_eq!(logged("a=1&token=s3cret&b", Query::Redacted), "a=***&token=***&b");
        assert_eq!(logged("a=b=c&=x&d=", Query::Redacted), "a=***&=***&d=***");
        assert_eq!(logged("a=1;b=2", Query::Redacted), "a=***;b=***");
        assert_eq!(logged("", Query::Redacted), "");
        assert_eq!(logged("a=1&b=2", Query::Full), "a=1&b=2");
        assert_eq!(logged("a=1&b=2", Query::Off), "");
    }

    #[test]
    fn an_address_is_split_at_its_query() {
        assert_eq!(split_address("https://a.test/x?code=1#f"), ("https://a.test/x", Some("code=1#f")));
        assert_eq!(split_address("https://a.test/x#access_token=1"), ("https://a.test/x", None));
        assert_eq!(split_address("https://a.test/x"), ("https://a.test/x", None));
    }

    proptest! {
        #[test]
        fn no_value_survives_redaction(names in proptest::collection::vec("[a-z]{1,5}", 1..6)) {
            let query = names.iter().map(|name| format!("{name}=SECRET=&")).collect::<String>();
            let shown = logged(&query, Query::Redacted);
            prop_assert!(!shown.contains("SECRET"), "{}", shown);
            prop_assert_eq!(shown, names.iter().map(|name| format!("{name}=***&")).collect::<String>());
        }
    }
}
