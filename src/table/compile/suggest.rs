//! “Did you mean”: the nearest of the names that exist.

/// A hint that names the nearest candidate, or all of them when there are few, or says that there is none.
pub(super) fn hint<'a>(word: &str, what: &str, candidates: impl Iterator<Item = &'a str> + Clone) -> String {
    if let Some(nearest) = nearest(word, candidates.clone()) {
        return format!("did you mean `{nearest}`?");
    }
    let all: Vec<&str> = candidates.take(SHOWN + 1).collect();
    match all.len() {
        0 => format!("there are no {what}"),
        1..=SHOWN => format!("{what}: {}", all.join(", ")),
        _ => String::new(),
    }
}

/// As many names as one line holds.
const SHOWN: usize = 8;

fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    let scored = candidates.map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate));
    scored.filter(|(distance, _)| *distance <= limit).min().map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::hint;

    #[test]
    fn a_slip_of_the_finger_is_named_and_a_stranger_is_not() {
        let names = ["users", "orders"];
        assert_eq!(hint("user", "upstreams", names.into_iter()), "did you mean `users`?");
        assert_eq!(hint("billing", "upstreams", names.into_iter()), "upstreams: users, orders");
        assert_eq!(hint("billing", "upstreams", std::iter::empty()), "there are no upstreams");
    }
}
