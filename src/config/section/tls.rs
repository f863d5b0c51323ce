//! `tls` of a listener: versions, certificates, whose clients are let in.

use crate::config::decoder::Decoder;
use crate::config::fields::Shape;
use crate::config::model::{CertificateFiles, ListenerTls, TlsVersion};
use crate::config::tree::{Entry, Node};
use crate::config::value;
use crate::diagnostic::{Diagnostic, Pos, Spanned};

use std::path::PathBuf;

const TLS: Shape = Shape { what: "a listener's `tls`", keys: &["min_version", "certificates", "client_ca"] };

const CERTIFICATE: Shape = Shape { what: "a certificate", keys: &["cert", "key"] };

const VERSIONS: &[(&str, TlsVersion)] = &[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];

/// Decodes the section. One that is there, but empty, is TLS with what `acme` obtains: never the clear.
pub fn decode(decoder: &mut Decoder<'_, '_>, entry: &Entry<'_>) -> Option<ListenerTls> {
    let fields = decoder.fields(&entry.value, &TLS)?;
    let min_version = fields.get("min_version").and_then(|node| version(decoder, node));
    let certificates = fields.get("certificates").and_then(|node| decoder.list(node, certificate));
    let client_ca = fields.get("client_ca").and_then(|node| decoder.path(node)).flatten();
    Some(ListenerTls {
        min_version: min_version.unwrap_or(TlsVersion::Tls12),
        certificates: certificates.unwrap_or_default(),
        client_ca,
        at: entry.at,
    })
}

fn version(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Option<TlsVersion> {
    decoder.parsed(node, |text| match text {
        "1.0" | "1.1" | "1" => Err(value::Problem::says("tls_version_too_old", "is not spoken: it is broken")
            .hint("1.2 and 1.3 are; RFC 8996 retired what came before")),
        _ => value::word(text, VERSIONS),
    })
}

fn certificate(decoder: &mut Decoder<'_, '_>, node: &Node<'_>) -> Option<CertificateFiles> {
    if node.scalar().is_some() {
        let message = "a certificate (a mapping of keys and values) is expected here, not a single value";
        let hint = "write it as { cert: tls/example.crt, key: tls/example.key }";
        decoder.note(Diagnostic::error("wrong_type", node.target().at, message).hint(hint));
        return None;
    }
    let fields = decoder.fields(node, &CERTIFICATE)?;
    let cert = decoder.required(&fields, "cert", fields.at).and_then(|node| file(decoder, node, node.target().at));
    let key = decoder.required(&fields, "key", fields.at).and_then(|node| file(decoder, node, node.target().at));
    Some(CertificateFiles { cert: cert?, key: key? })
}

/// A path that must be there.
fn file(decoder: &mut Decoder<'_, '_>, node: &Node<'_>, at: Pos) -> Option<Spanned<PathBuf>> {
    let path = decoder.path(node)?;
    if path.is_none() {
        decoder.note(Diagnostic::error("missing_key", at, "a file is expected here, not an empty value"));
    }
    path
}
