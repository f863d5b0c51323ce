//! `x-kms-sign` computed from the wire alone, with SHA-256 and nothing of the product's.

use sha2::{Digest, Sha256};

use super::message::Fields;

/// Lower-case hex of SHA-256 over the plain concatenation of the parts.
pub fn digest(parts: &[&str]) -> String {
    hex::encode(Sha256::digest(parts.concat()))
}

/// Checks the six fields that an upstream received against the scheme and its token; returns the user.
pub fn verify(fields: &Fields, scheme: &str, token: &str) -> String {
    let one = |name: &str| {
        let values = fields.all(name);
        assert_eq!(values.len(), 1, "exactly one {name}, got {values:?} in {:?}", fields.names());
        values[0].to_owned()
    };
    let (user, stamp) = (one("x-kms-user"), one("x-kms-stamp"));
    let (project, app_id, sign) = (one("x-kms-project"), one("x-kms-appid"), one("x-kms-sign"));
    let _ = one("x-kms-username");
    let expected = match scheme {
        "user-stamp" => digest(&[&user, &stamp, token]),
        "user-project-stamp" => digest(&[&user, &project, &stamp, token]),
        "user-project-appid-stamp" => digest(&[&user, &project, &app_id, &stamp, token]),
        other => panic!("unknown scheme {other}"),
    };
    assert_eq!(sign, expected, "the signature of {user:?} {project:?} {app_id:?} {stamp:?}");
    check_stamp(&stamp);
    user
}

/// Milliseconds, and of now.
fn check_stamp(stamp: &str) {
    let value: u128 = stamp.parse().expect("a stamp in milliseconds");
    let now = std::time::UNIX_EPOCH.elapsed().expect("a clock").as_millis();
    assert!(now.abs_diff(value) < 60_000, "stamp {stamp}, now {now}");
}
