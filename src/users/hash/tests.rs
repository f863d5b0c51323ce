use super::*;

/// Of "correct horse", by the tools that people have.
const MADE: &[(&str, &str)] = &[
    ("htpasswd -B (bcrypt, cost 5)", "$2y$05$h/Dc/cw/5.v6WC5whjwVE.tVHdXwYEKeoyJ00gjHlD7VGp2ogUnne"),
    ("htpasswd -B -C 7", "$2y$07$D/5whPVVZWpSMH/Dl86FMeaoP2NPWjNBdDISrHmmGRiAbANM8gECq"),
    ("htpasswd -m (apr1)", "$apr1$1W3RIIf8$6vQ.avawh.fse57XaCNGd/"),
    ("htpasswd -2 (SHA-256 crypt)", "$5$T67bMYkBDF6Mg4ys$zXXfHovjUxRoQIedLoibhCeOPiBHpe5xRaNPdotlYJD"),
    (
        "htpasswd -5 (SHA-512 crypt)",
        "$6$jifkfLYELDz6o2lk$zUXSRQqkjMPV.DykvgvcYvjcAhrTBw0Y6gZ0EDDr0l.ilztHEP1KWzdgKO4SyyzzuQ7QMH3xNdBnA2FLegEue.",
    ),
    (
        "htpasswd -5 -r 1500",
        "$6$rounds=1500$6n9tonjb01r8XcOz$fSxjmr49k4BiqtiENkAqBFzeZPrUSo.BvFIC5Winnc7JnoqG/hTGqMPEtZzFuZuFPn5dP/7SipJ31dJM/s2i/0",
    ),
    ("openssl passwd -5", "$5$abc$HEtZB/1K6XJ99xRK14R.qL6AxT3f9/cPAGbTKZddAT6"),
    (
        "openssl passwd -6",
        "$6$sixteencharsalt.$xsnH/gqvQCYj24sKWUjZvVVeIugCTc8zCuHHU1QHA.qMMtOOJo2X605Ej3.E2uRj3hWjHPvgqZT24oUNhRwif.",
    ),
    (
        "openssl passwd -6, rounds",
        "$6$rounds=1234$abc$y24ZWCXwSzmKSpl8MPBHSG7lQ13RFI.8.ZQyI1WxrDqxflIPuxF68iShCSTZQM6RaFq3sHXI3cRO3ClPVjKP/0",
    ),
    ("openssl passwd -apr1", "$apr1$ECaL5T3X$pW0BT6UM7PBB7rgILwhQH0"),
    ("argon2 -id", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$REiRt35dHGtMWJ/p+5b5FBn+NMuLR8SFnoCU9BlDUHE"),
    ("argon2 -i, two lanes", "$argon2i$v=19$m=256,t=3,p=2$c29tZXNhbHQ$x/AO8w3tBgvF8dvnRKjLkdDjY+vChk3y3WXqLHLaylk"),
    ("argon2 -d", "$argon2d$v=19$m=256,t=1,p=1$c29tZXNhbHQ$Izd9YVmM/Q1Y/v9YzhMeCzd6+72DgXRUeMAorGjV5j8"),
];

/// Of "pässwörd ☂" in UTF-8.
const BEYOND_ASCII: &[&str] = &[
    "$2y$05$1JNwBLdbiWlPLBpmESqBf.B39sdXii.ZGQjaHrr15KhkK3iqJvt0q",
    "$apr1$TpIN9AUq$z8IxLkf/w1OmLeP2gmwNc1",
    "$6$x$P9DILI8Cfz.t/oQRohgpAhR9DRNWn3IRRWt.LxUL/bOP.YdgkVva9Agl68BIXouaPJL5QxlmlTF93h/iJe1aU.",
    "$argon2id$v=19$m=256,t=1,p=1$c29tZXNhbHQ$gNZMdQVKMDj18/IRO830JFvhYmoZfznkDNIinapEhiA",
];

#[test]
fn what_real_tools_make_is_verified() {
    for (tool, made) in MADE {
        let hash = Hash::parse(made).unwrap_or_else(|why| panic!("{tool}: {why}"));
        assert!(hash.is(b"correct horse"), "{tool}: the password");
        for wrong in ["", "correct hors", "correct horse ", "Correct horse"] {
            assert!(!hash.is(wrong.as_bytes()), "{tool}: {wrong:?}");
        }
    }
    for made in BEYOND_ASCII {
        let hash = Hash::parse(made).unwrap();
        assert!(hash.is("pässwörd ☂".as_bytes()) && !hash.is("password".as_bytes()), "{made}");
    }
}

#[test]
fn other_signs_of_bcrypt_are_the_same_hash() {
    let made = MADE[0].1.strip_prefix("$2y").unwrap();
    for sign in ["$2a", "$2b", "$2y"] {
        assert!(Hash::parse(&format!("{sign}{made}")).unwrap().is(b"correct horse"), "{sign}");
    }
}

#[test]
fn bcrypt_reads_72_bytes_as_everywhere() {
    let hash = Hash::parse("$2y$05$iDCjGkywRxv8bES49BWe1OtLHNO4ewNysoG0xNjMeDKx3yBuwHMKC").unwrap();
    assert!(hash.is(&[b'x'; 72]) && hash.is(&[b'x'; 73]) && !hash.is(&[b'x'; 71]));
}

#[test]
fn what_is_not_safe_is_refused_by_name() {
    for (text, name) in [
        ("Q56HYui6kt7aA", "DES crypt"),
        ("secret", "plain text"),
        ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "{SHA}"),
        ("$1$LNnkgvK2$1A1KT4PMtRcAlcxQI9J31/", "MD5 crypt"),
        ("{SSHA}YWJj", "LDAP"),
        ("{PLAIN}secret", "LDAP"),
        ("$2x$05$LW8p357OijiR6eMLiKHjBeaqIucGn5Kcg0d3HMxlDLkbPHUb7YqZa", "broken kind"),
        ("$y$j9T$abc$def", "yescrypt"),
        ("$foo$bar", "unknown"),
    ] {
        let why = Hash::parse(text).unwrap_err();
        assert!(matches!(why, Refused::Unsafe(_)) && why.to_string().contains(name), "{text}: {why}");
        assert!(!why.to_string().contains(text), "the message shows the hash");
    }
}

/// A file that is being written ends anywhere.
#[test]
fn every_beginning_of_a_hash_is_malformed() {
    for (tool, made) in MADE {
        for end in 0..made.len() {
            let begun = Hash::parse(&made[..end]);
            // An argon2 hash may have a shorter digest, as far as its form goes.
            let shorter = made.starts_with("$argon2") && matches!(begun, Ok(Hash::Argon2(_)));
            assert!(matches!(begun, Err(Refused::Malformed(_))) || shorter, "{tool}: {:?}: {begun:?}", &made[..end]);
            assert!(!begun.is_ok_and(|hash| hash.is(b"correct horse")), "{tool}: {:?}", &made[..end]);
        }
        assert!(Hash::parse(&format!("{made}!")).is_err(), "{tool}");
    }
}

#[test]
fn costs_beyond_reason_are_refused() {
    let made = MADE[0].1;
    let crypt = "a".repeat(86);
    for text in [
        made.replace("$05$", "$31$"),
        format!("$6$rounds=999999999$abc${crypt}"),
        "$argon2id$v=19$m=4194304,t=3,p=1$c29tZXNhbHQ$Yl7lNJtaJ0X4Ni5Vl2n8AA".to_owned(),
    ] {
        assert!(matches!(Hash::parse(&text), Err(Refused::TooCostly(_))), "{text}: {:?}", Hash::parse(&text));
    }
}

#[test]
fn hashes_are_not_shown() {
    for (tool, made) in MADE {
        let shown = format!("{:?}", Hash::parse(made).unwrap());
        assert!(shown.ends_with(":***") && shown.len() < 20, "{tool}: {shown}");
    }
}
