//! What a token file says is read one way only: what was read is written so that it is read the same again, and no change to
//! what was written goes unnoticed.

use countersign::credential::record::document::{Parsed, parse};
use countersign::credential::record::{Record, TokenId};

pub fn check(data: &[u8]) {
    match parse(data) {
        Err(malformed) => {
            let said = malformed.to_string();
            assert!(said.len() < 200 && !said.contains('\n'), "{said}");
        }
        Ok(Parsed::Record(record)) => comes_back(&record, data),
        Ok(Parsed::Sealed(envelope)) => {
            assert!(parse(&envelope.to_json()) == Ok(Parsed::Sealed(envelope.clone())), "{envelope:?}");
        }
        Ok(Parsed::Foreign(foreign)) => {
            assert!(!foreign.provider().is_empty());
            let id = TokenId::parse("adopted").expect("a name");
            let record = foreign.adopt(id, 7, 1_795_313_758_000);
            assert!(!record.access_token.is_empty() || record.refresh_token.is_some(), "adopted without a token");
            assert!(record.generation == 7 && record.reason.is_none(), "{record:?}");
            comes_back(&record, data);
        }
    }
}

/// `data` also chooses which byte is changed.
fn comes_back(record: &Record, data: &[u8]) {
    let written = record.to_json();
    let same = |bytes: &[u8]| matches!(parse(bytes), Ok(Parsed::Record(read)) if *read == *record);
    assert!(same(&written), "it does not come back: {}", String::from_utf8_lossy(&written));
    let sum = data.iter().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let mut changed = written.to_vec();
    let place = sum % changed.len();
    changed[place] ^= 1 << (sum / changed.len() % 8);
    // White space, and other ways to write the same, are no change of what it says.
    assert!(parse(&changed).is_err() || same(&changed), "unnoticed: {}", String::from_utf8_lossy(&changed));
}
