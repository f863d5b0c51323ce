//! Where plain concatenation gives two identities one signature.
//!
//! The base strings have no separators, so whoever holds one valid signature can move the border between two fields and
//! present it as someone else's: `a@x.co` + `mproj` is `a@x.com` + `proj`. Whether that can happen depends on what the
//! names look like on both sides of a border. The borders are safe when
//! - *user / stamp, project / stamp*: what stands before the stamp does not end in a digit, or the digits could be the
//!   stamp's. (Numeric app ids do; there the border is held by the stamp, which has thirteen digits until the year 2286.)
//! - *user / project*: the project begins with a character that neither a mail domain nor any given user has;
//! - *project / app id*: the app id is a number and the project does not end in a digit, or the app id begins with
//!   a punctuation character that the project does not have. An absent app id counts as the number that is not there.

use super::Scheme;

/// Why a scheme with these names may give one digest to two identities, and what to do; `None`: it can't.
pub fn ambiguity(scheme: Scheme, project: &str, app_id: &str, users: &[&str]) -> Option<(String, String)> {
    match scheme {
        Scheme::UserStamp => user_before_stamp(users),
        Scheme::UserProjectStamp => user_before_project(project, users).or_else(|| project_before_stamp(project)),
        Scheme::UserProjectAppidStamp => {
            user_before_project(project, users).or_else(|| project_before_app_id(project, app_id))
        }
        // Every value has its length, or a line, of its own.
        Scheme::HmacSha256 | Scheme::Rfc9421 => None,
    }
}

fn user_before_stamp(users: &[&str]) -> Option<(String, String)> {
    let (user, digit) = users.iter().find_map(|user| Some((user, last_digit(user)?)))?;
    let shorter = user.strip_suffix(digit).unwrap_or(user);
    Some((
        format!("user `{user}` ends in a digit, which could as well be the stamp's first: the signature is also one for `{shorter}`"),
        "give that client a user that ends in a letter, such as a mail address, or have the upstream insist on a stamp \
         of thirteen digits"
            .to_owned(),
    ))
}

fn user_before_project(project: &str, users: &[&str]) -> Option<(String, String)> {
    let first = project.chars().next()?;
    if !continues_a_domain(first) && !users.iter().any(|user| user.contains(first)) {
        return None;
    }
    Some((
        format!(
            "nothing separates user and project `{project}`: a signature for `a@x.com` is also one for `a@x.co` in project \
             `m{project}`"
        ),
        "begin the project's name with a character that no user has and no mail domain can go on with, such as \
         `_`, or use a scheme that leaves the project out (`user-stamp`)"
            .to_owned(),
    ))
}

fn project_before_stamp(project: &str) -> Option<(String, String)> {
    let digit = last_digit(project)?;
    let shorter = project.strip_suffix(digit).unwrap_or(project);
    Some((
        format!(
            "project `{project}` ends in a digit, which could as well be the stamp's first: the signature is also one for `{shorter}`"
        ),
        "give the project a name that does not end in a digit".to_owned(),
    ))
}

fn project_before_app_id(project: &str, app_id: &str) -> Option<(String, String)> {
    let separates = |first: char| !first.is_alphanumeric() && !project.contains(first);
    if app_id.chars().next().is_some_and(separates) {
        return None;
    }
    if !app_id.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some((
            format!("nothing separates project `{project}` and app id `{app_id}`: {}", moved_right(project, app_id)),
            "give the project a numeric app id and a name that does not end in a digit".to_owned(),
        ));
    }
    let digit = last_digit(project)?;
    let shorter = project.strip_suffix(digit).unwrap_or(project);
    Some((
        format!(
            "project `{project}` ends in a digit: a signature for it with app id `{app_id}` is also one for project \
             `{shorter}` with app id `{digit}{app_id}`"
        ),
        "give the project a name that does not end in a digit (app ids are numbers)".to_owned(),
    ))
}

/// The example for a border that can move to the right.
fn moved_right(project: &str, app_id: &str) -> String {
    let mut rest = app_id.chars();
    let first = rest.next().map(String::from).unwrap_or_default();
    format!("a signature for them is also one for project `{project}{first}` with app id `{}`", rest.as_str())
}

fn last_digit(name: &str) -> Option<&str> {
    let at = name.len().checked_sub(1)?;
    name.get(at..).filter(|last| last.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What may follow a lower-case mail address and still be one.
fn continues_a_domain(first: char) -> bool {
    first.is_ascii_lowercase() || first.is_ascii_digit() || matches!(first, '-' | '.')
}

#[cfg(test)]
mod tests {
    use super::super::{Claims, Scheme, signature};
    use super::ambiguity;
    use Scheme::{UserProjectAppidStamp, UserProjectStamp, UserStamp};
    use proptest::prelude::*;

    const MAIL: &[&str] = &["dev@example.com", "ci@example.com"];

    #[test]
    fn warnings_come_where_borders_can_move_and_nowhere_else() {
        for (scheme, project, app_id, users, warns) in [
            (UserStamp, "demo", "1001", MAIL, false),
            (UserStamp, "demo1", "x1", MAIL, false),
            (UserStamp, "demo", "", &[], false),
            (UserStamp, "demo", "", &["", "dev@example.com"], false),
            (UserStamp, "demo", "", &["robot7"], true),
            (UserStamp, "demo", "", &["dev@example.com", "dev@10.0.0.1"], true),
            (UserProjectStamp, "demo", "", MAIL, true),
            (UserProjectStamp, "proj", "", &["a@x.com"], true),
            (UserProjectStamp, "mproj", "", &["a@x.co"], true),
            (UserProjectStamp, "demo", "", &[], true),
            (UserProjectStamp, "9demo", "", MAIL, true),
            (UserProjectStamp, "-demo", "", MAIL, true),
            (UserProjectStamp, ".demo", "", MAIL, true),
            (UserProjectStamp, "_demo", "", MAIL, false),
            (UserProjectStamp, "Demo", "", MAIL, false),
            (UserProjectStamp, "_demo", "", &[], false),
            (UserProjectStamp, "_demo", "", &["build_bot"], true),
            (UserProjectStamp, "_demo2", "", MAIL, true),
            (UserProjectStamp, "_demo2x", "", MAIL, false),
            (UserProjectStamp, "_2", "", &[""], true),
            (UserProjectAppidStamp, "demo", "1001", MAIL, true),
            (UserProjectAppidStamp, "_demo", "1001", MAIL, false),
            (UserProjectAppidStamp, "_demo", "", MAIL, false),
            (UserProjectAppidStamp, "_p1", "23", MAIL, true),
            (UserProjectAppidStamp, "_p12", "3", MAIL, true),
            (UserProjectAppidStamp, "_p1", "", MAIL, true),
            (UserProjectAppidStamp, "_demo", "web", MAIL, true),
            (UserProjectAppidStamp, "_demo", "1a", MAIL, true),
            (UserProjectAppidStamp, "_demo", "#web", MAIL, false),
            (UserProjectAppidStamp, "_p1", "#1", MAIL, false),
            (UserProjectAppidStamp, "_demo", "_web", MAIL, true),
        ] {
            let found = ambiguity(scheme, project, app_id, users);
            assert_eq!(found.is_some(), warns, "{scheme:?} {project:?} {app_id:?} {users:?}: {found:?}");
            for text in found.iter().flat_map(|(message, hint)| [message, hint]) {
                assert!(!text.is_empty() && !text.contains("  "), "{text:?}");
            }
        }
    }

    #[test]
    fn the_message_gives_an_example_that_holds() {
        let (message, hint) = ambiguity(UserProjectStamp, "proj", "", MAIL).unwrap();
        assert!(message.contains("`a@x.co` in project `mproj`"), "{message}");
        assert!(hint.contains('_'), "{hint}");
        let sign = |user, project| {
            signature(
                UserProjectStamp,
                &Claims { user, project, app_id: "", stamp: 1_700_000_000_000 },
                &super::super::Message::default(),
                None,
            )
        };
        assert_eq!(sign("a@x.com", "proj"), sign("a@x.co", "mproj"));
        let (message, _) = ambiguity(UserProjectAppidStamp, "_p12", "3", MAIL).unwrap();
        assert!(message.contains("project `_p1` with app id `23`"), "{message}");
    }

    fn base(scheme: Scheme, (user, project, app_id): (&str, &str, &str), stamp: u64) -> String {
        super::super::masked_base(
            scheme,
            &Claims { user, project, app_id, stamp },
            &super::super::Message::default(),
            None,
        )
    }

    proptest! {
        /// Names that do not warn never collide, as long as they keep to what they are taken for: users are mail
        /// addresses, app ids are numbers, stamps have thirteen digits.
        #[test]
        fn no_warning_no_collision(
            scheme in prop_oneof![Just(UserStamp), Just(UserProjectStamp), Just(UserProjectAppidStamp)],
            user_a in "[ab]@(a\\.)?[ab]{1,2}", user_b in "[ab]@(a\\.)?[ab]{1,2}",
            project_a in "[_a1]{1,3}", project_b in "[_a1]{1,3}",
            app_a in "[12]{0,2}", app_b in "[12]{0,2}",
        ) {
            let (a, b) = ((&*user_a, &*project_a, &*app_a), (&*user_b, &*project_b, &*app_b));
            let clear = |(user, project, app_id): (&str, &str, &str)| ambiguity(scheme, project, app_id, &[user]).is_none();
            prop_assume!(clear(a) && clear(b));
            let relevant = |(user, project, app_id): (&str, &str, &str)| {
                scheme.fields(&Claims { user, project, app_id, stamp: 0 }).unwrap().map(str::to_owned)
            };
            let stamp = 1_700_000_000_000;
            prop_assert_eq!(base(scheme, a, stamp) == base(scheme, b, stamp), relevant(a) == relevant(b), "{:?} {:?}", a, b);
        }
    }
}
