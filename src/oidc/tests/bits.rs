//! No bit of a token can be changed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

#[test]
fn each_bit_of_signature_and_payload_counts() {
    let case = Case::new();
    for signer in [&case.rsa, &case.ec] {
        let token = signer.token(&claims(ISSUER));
        case.id_token(&token).unwrap();
        let parts: Vec<_> = token.split('.').collect();
        for part in [1, 2] {
            let sound = URL_SAFE_NO_PAD.decode(parts[part]).unwrap();
            for bit in 0..sound.len() * 8 {
                let mut bytes = sound.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let mut changed: Vec<_> = parts.iter().map(|part| (*part).to_owned()).collect();
                changed[part] = URL_SAFE_NO_PAD.encode(bytes);
                let judged = case.id_token(&changed.join("."));
                assert_eq!(judged, Err(Why::Signature), "bit {bit} of part {part} by {}", signer.algorithm);
            }
        }
    }
}

#[test]
fn each_character_counts() {
    let case = Case::new();
    for signer in [&case.rsa, &case.ec] {
        let token = signer.token(&claims(ISSUER));
        for at in 0..token.len() {
            for other in *b"AQgw_-.+/=" {
                let mut bytes = token.clone().into_bytes();
                if std::mem::replace(&mut bytes[at], other) != other {
                    let changed = String::from_utf8(bytes).unwrap();
                    assert!(case.id_token(&changed).is_err(), "{} at {at}", char::from(other));
                }
            }
        }
    }
}

#[test]
fn a_signature_is_of_one_length_and_in_one_form() {
    let case = Case::new();
    let token = case.ec.token(&claims(ISSUER));
    let (signed, proof) = token.rsplit_once('.').unwrap();
    let proof = URL_SAFE_NO_PAD.decode(proof).unwrap();
    let order_twice = [&proof[..], &proof[..]].concat();
    // As X.509 and others write it: ASN.1.
    let der = [&[0x30, 68, 2, 32][..], &proof[..32], &[2, 32], &proof[32..]].concat();
    for wrong in [vec![], vec![0; 64], vec![0; 256], vec![0xff; 64], proof[..63].to_vec(), order_twice, der] {
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(wrong));
        assert_eq!(case.id_token(&token), Err(Why::Signature));
    }
}
