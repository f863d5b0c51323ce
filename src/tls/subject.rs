//! Who a client certificate says it is.

use std::fmt::Write as _;

use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use x509_parser::der_parser::asn1_rs::Any;
use x509_parser::der_parser::oid::Oid;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::clock::UnixMillis;

/// What a certificate, once verified, says of its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The whole subject (RFC 4514).
    pub name: String,
    /// The first `rfc822Name`, else the subject's `emailAddress`; may be empty.
    pub email: String,
    /// May be empty.
    pub common_name: String,
    /// Lower-case hex of the certificate's SHA-256.
    pub fingerprint: String,
    /// From that moment on it is not valid.
    pub not_after: UnixMillis,
}

impl Subject {
    /// Reads a certificate; `None` when it can't be read.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
        Some(Self {
            name: rfc4514(parsed.subject()),
            email: email(&parsed).unwrap_or_default(),
            common_name: text(parsed.subject().iter_common_name().next()).unwrap_or_default(),
            fingerprint: hex::encode(Sha256::digest(certificate)),
            not_after: seconds.saturating_mul(1000),
        })
    }
}

fn email(certificate: &X509Certificate<'_>) -> Option<String> {
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let names = alternatives.into_iter().flat_map(|extension| &extension.value.general_names);
    let mut mails = names.filter_map(|name| match name {
        GeneralName::RFC822Name(mail) => Some((*mail).to_owned()),
        _ => None,
    });
    mails.next().or_else(|| text(certificate.subject().iter_email().next()))
}

fn text(attribute: Option<&AttributeTypeAndValue<'_>>) -> Option<String> {
    attribute.and_then(|attribute| attribute.as_str().ok()).map(str::to_owned)
}

/// RFC 4514 §2: the last component first.
fn rfc4514(name: &X509Name<'_>) -> String {
    let components: Vec<String> =
        name.iter_rdn().map(|component| component.iter().map(attribute).collect::<Vec<_>>().join("+")).collect();
    components.into_iter().rev().collect::<Vec<_>>().join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    match (short_name(attribute.attr_type()), attribute.as_str()) {
        (Some(name), Ok(value)) => format!("{name}={}", escaped(value)),
        (Some(name), Err(_)) => format!("{name}={}", encoded(attribute.attr_value())),
        (None, _) => format!("{}={}", attribute.attr_type().to_id_string(), encoded(attribute.attr_value())),
    }
}

/// The names of RFC 4514 §3, and `emailAddress`, which everybody writes.
fn short_name(kind: &Oid<'_>) -> Option<&'static str> {
    const NAMES: [(&str, &str); 10] = [
        ("2.5.4.3", "CN"),
        ("2.5.4.7", "L"),
        ("2.5.4.8", "ST"),
        ("2.5.4.10", "O"),
        ("2.5.4.11", "OU"),
        ("2.5.4.6", "C"),
        ("2.5.4.9", "STREET"),
        ("0.9.2342.19200300.100.1.25", "DC"),
        ("0.9.2342.19200300.100.1.1", "UID"),
        ("1.2.840.113549.1.9.1", "emailAddress"),
    ];
    let id = kind.to_id_string();
    NAMES.iter().find(|(known, _)| *known == id).map(|(_, name)| *name)
}

/// RFC 4514 §2.4; control characters too, as the text goes into headers and logs.
fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut out = String::with_capacity(value.len());
    for (index, character) in value.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => out.extend(['\\', character]),
            ' ' if index == 0 || index == last => out.push_str("\\ "),
            '#' if index == 0 => out.push_str("\\#"),
            character if character.is_control() => {
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(out, "\\{byte:02X}");
                }
            }
            character => out.push(character),
        }
    }
    out
}

/// `#` and the hex of what stands in the value: it has no text.
fn encoded(value: &Any<'_>) -> String {
    format!("#{}", hex::encode(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn subject(parts: &[(DnType, &str)], mails: &[&str]) -> Subject {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.subject_alt_names = mails.iter().map(|mail| SanType::Rfc822Name((*mail).try_into().unwrap())).collect();
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Subject::of(certificate.der()).unwrap()
    }

    fn email_type() -> DnType {
        DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1])
    }

    #[test]
    fn a_subject_is_written_back_to_front_and_escaped() {
        let parts =
            [(DnType::CountryName, "DE"), (DnType::OrganizationName, "A, B + C"), (DnType::CommonName, " #x\u{1}\"y ")];
        let subject = subject(&parts, &[]);
        assert_eq!(subject.name, "CN=\\ #x\\01\\\"y\\ ,O=A\\, B \\+ C,C=DE");
        assert_eq!((subject.common_name.as_str(), subject.email.as_str()), (" #x\u{1}\"y ", ""));
    }

    #[test]
    fn the_mail_address_is_the_alternative_name_else_the_subjects() {
        let parts = [(DnType::CommonName, "Dev"), (email_type(), "s@a.test")];
        assert_eq!(subject(&parts, &["one@a.test", "two@a.test"]).email, "one@a.test");
        let own = subject(&parts, &[]);
        assert_eq!((own.email.as_str(), own.name.as_str()), ("s@a.test", "emailAddress=s@a.test,CN=Dev"));
    }

    #[test]
    fn unknown_attributes_are_told_by_number() {
        let odd = DnType::CustomDnType(vec![1, 2, 3, 4]);
        assert_eq!(subject(&[(odd, "ab")], &[]).name, "1.2.3.4=#6162");
    }

    #[test]
    fn fingerprint_and_end_are_the_certificates() {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let subject = Subject::of(certificate.der()).unwrap();
        assert_eq!(subject.not_after, 1_927_843_200_000);
        assert_eq!(subject.fingerprint, hex::encode(Sha256::digest(certificate.der())));
        assert!(Subject::of(&CertificateDer::from(vec![1, 2, 3])).is_none());
    }
}
