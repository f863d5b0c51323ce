use proptest::prelude::*;

use super::*;

/// `htpasswd -nbB -C 4`: quick.
const SECRET: &str = "$2y$04$uk/sa1fcirTbcv9qGhsVS.e3XkqXd4Jp/Ed3Rzqo5RmLs9FMTID02";
/// The same of "other".
const OTHER: &str = "$2y$04$lwB7DrAqwPmLRIgcOZXwt.BRphlpIpx.enIquWEwPksWepdkZ.da.";

#[test]
fn a_file_as_people_write_it() {
    let text = format!(
        "\u{feff}# staff\r\n\r\nAnn@Example.com:{SECRET}\r\n  # more\nbob:{OTHER}:comment\n\nann@example.com:{OTHER}\n"
    );
    let users = Users::parse(&text).unwrap();
    assert_eq!(users.len(), 2);
    assert!(users.verify("Ann@Example.com", b"secret") && users.verify("bob", b"other"));
    assert_eq!(users.identity("Ann@Example.com").map(|it| &**it), Some("ann@example.com"));
    assert!(
        !users.verify("ann@example.com", b"other") && !users.verify("ann@example.com", b"secret"),
        "names have a case"
    );
    assert_eq!(users.notes, ["line 7: user `ann@example.com` is in line 3 already, which counts"]);
}

#[test]
fn a_hash_that_is_not_taken_keeps_one_user_out() {
    let users =
        Users::parse(&format!("old:secret\nsha:{{SHA}}5en6G6MezRroT3XKqkdPOmY/BfQ=\nann:{SECRET}\nn\u{e9}:{SECRET}\n"))
            .unwrap();
    assert_eq!((users.len(), users.notes.len()), (1, 3));
    assert!(users.verify("ann", b"secret") && !users.verify("old", b"secret") && !users.verify("sha", b"secret"));
    assert!(
        users.notes[0].starts_with("line 1: user `old` cannot log in: a password in plain text"),
        "{:?}",
        users.notes
    );
    assert!(!users.notes.concat().contains("5en6"), "a note shows a hash");
}

#[test]
fn a_line_that_cannot_be_read_breaks_the_file() {
    let error = |text: &str| Users::parse(text).unwrap_err().to_string();
    assert_eq!(error(&format!("ann:{SECRET}\nbo")), "line 2 is not `user:hash`");
    assert_eq!(error(&format!(":{SECRET}")), "line 1 has no user name");
    assert_eq!(error("ann:$2y$05$LW8p3"), "line 1, user `ann`: the bcrypt hash is malformed");
    assert_eq!(error("ann:"), "line 1, user `ann`: the password hash is malformed");
    assert!(!error("a\u{1b}[2Jb:").contains('\u{1b}'));
}

#[test]
fn many_notes_are_a_few() {
    let users = Users::parse(&"x:plain\n".repeat(1000)).unwrap();
    assert_eq!(users.notes.len(), NOTES + 1);
    assert_eq!(users.notes[NOTES], "990 more lines of the same kinds");
}

#[test]
fn long_passwords_cost_nothing() {
    let long = "x".repeat(super::super::LONGEST_PASSWORD + 1);
    assert!(!Users::parse(&format!("ann:{SECRET}")).unwrap().verify("ann", long.as_bytes()));
}

/// A name that nobody has is verified against a hash of the most common kind.
#[test]
fn a_stranger_costs_as_much_as_a_wrong_password() {
    let users =
        Users::parse(&format!("ann:{SECRET}\nbob:{OTHER}\neve:$apr1$znEn5zhI$VrPcGHeFPSK5zuGam0NE./\n")).unwrap();
    let usual = users.usual.clone().unwrap();
    assert_eq!(usual.class(), ("bcrypt", 4));
    for password in ["secret", "other", "wrong"] {
        assert!(!users.verify("stranger", password.as_bytes()), "{password}");
    }
    // The quickest of many, so that a busy machine does not matter.
    let took = |name: &str| {
        let once = |_| {
            let begun = std::time::Instant::now();
            assert!(!users.verify(name, b"wrong"));
            begun.elapsed()
        };
        (0..20).map(once).min().unwrap()
    };
    let (known, unknown) = (took("ann"), took("stranger"));
    assert!(unknown * 2 > known, "{known:?} for a user, {unknown:?} for a stranger");
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader(text in "(\\PC|[:\\r\\n#$])*") {
        let _ = Users::parse(&text);
    }

    /// Whatever stands around it, a good line is read, and nobody else's password is right.
    #[test]
    fn good_lines_among_others(
        names in prop::collection::btree_set("[a-z][a-z0-9@.-]{0,12}", 1..6),
        blank in "[ \\t]*", ending in "(\n|\r\n)", comment in "#\\PC*",
    ) {
        let mut text = format!("{comment}{ending}");
        for name in &names {
            text.push_str(&format!("{blank}{name}:{SECRET}{blank}{ending}{blank}{ending}"));
        }
        let users = Users::parse(&text).unwrap();
        prop_assert_eq!(users.len(), names.len());
        for name in &names {
            prop_assert_eq!(users.identity(name).map(|it| it.to_string()), Some(name.clone()));
        }
    }
}
