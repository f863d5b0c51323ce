//! Which certificate a client is shown: by the name that it asks for (SNI), then by the signatures that it understands.
//!
//! The order (RFC 6125 §6.4.3, RFC 9525 §6.3: a wildcard stands for exactly one label): a file for the very name, a file for
//! its wildcard, what was obtained for the host, the default, which is the first file. Of several for one name (RSA and ECDSA
//! side by side) the client's own order of signature schemes decides.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificates::Certificates;
use super::load::Loaded;

/// Chooses among the certificates of one listener.
#[derive(Debug)]
pub struct Chooser {
    index: ArcSwap<Index>,
    certificates: Arc<Certificates>,
}

/// The files of a listener, by name.
#[derive(Debug, Default)]
struct Index {
    /// Lower-case names; wildcards as `*.a`.
    by_name: HashMap<String, Vec<Arc<Loaded>>>,
    /// The first file, and those for the same names beside it.
    default: Vec<Arc<Loaded>>,
}

impl Chooser {
    /// Of these files, in the configuration's order.
    pub fn new(files: &[Arc<Loaded>], certificates: Arc<Certificates>) -> Self {
        Self { index: ArcSwap::from_pointee(Index::of(files)), certificates }
    }

    /// From the next handshake on, of these.
    pub fn replace(&self, files: &[Arc<Loaded>]) {
        self.index.store(Arc::new(Index::of(files)));
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let index = self.index.load();
        let name = name.map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        let named = name.as_deref().and_then(|name| {
            let obtained = || pick(self.certificates.obtained_for(name).as_slice(), schemes);
            index.exact(name, schemes).or_else(|| index.wildcard(name, schemes)).or_else(obtained)
        });
        // Without a common signature the handshake fails, and says so: that is better told with a certificate in hand.
        let chosen = named.or_else(|| pick(&index.default, schemes)).or_else(|| index.default.first().cloned());
        chosen.map(|loaded| Arc::clone(&loaded.key))
    }
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}

impl Index {
    fn of(files: &[Arc<Loaded>]) -> Self {
        let mut by_name: HashMap<String, Vec<Arc<Loaded>>> = HashMap::new();
        for file in files {
            for name in &file.names {
                by_name.entry(name.clone()).or_default().push(Arc::clone(file));
            }
        }
        let same_names = |file: &&Arc<Loaded>| files.first().is_some_and(|first| first.names == file.names);
        Self { by_name, default: files.iter().filter(same_names).cloned().collect() }
    }

    fn exact(&self, name: &str, schemes: &[SignatureScheme]) -> Option<Arc<Loaded>> {
        pick(self.by_name.get(name)?, schemes)
    }

    fn wildcard(&self, name: &str, schemes: &[SignatureScheme]) -> Option<Arc<Loaded>> {
        let (_, parent) = name.split_once('.')?;
        pick(self.by_name.get(&format!("*.{parent}"))?, schemes)
    }
}

/// The first that can sign in a way that the client understands, in the client's order.
fn pick(candidates: &[Arc<Loaded>], schemes: &[SignatureScheme]) -> Option<Arc<Loaded>> {
    let signs = |candidate: &&Arc<Loaded>, scheme| candidate.key.key.choose_scheme(&[scheme]).is_some();
    schemes.iter().find_map(|scheme| candidates.iter().find(|candidate| signs(candidate, *scheme)).cloned())
}

#[cfg(test)]
mod tests {
    use super::super::load::testing::{Kind, issue};
    use super::*;

    const BOTH: [SignatureScheme; 2] = [SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256];

    fn chooser(files: &[&Arc<Loaded>]) -> Chooser {
        let files: Vec<_> = files.iter().map(|file| Arc::clone(file)).collect();
        Chooser::new(&files, Arc::default())
    }

    fn is(chosen: Option<Arc<CertifiedKey>>, expected: &Arc<Loaded>) -> bool {
        chosen.is_some_and(|chosen| Arc::ptr_eq(&chosen, &expected.key))
    }

    #[test]
    fn exact_before_wildcard_before_obtained_before_default() {
        let first = issue(&["first.test"], Kind::Ecdsa);
        let wild = issue(&["*.a.test"], Kind::Ecdsa);
        let exact = issue(&["x.a.test", "A.test"], Kind::Ecdsa);
        let obtained = issue(&["o.test"], Kind::Ecdsa);
        let chooser = chooser(&[&first, &wild, &exact]);
        for host in ["o.test", "y.a.test"] {
            chooser.certificates.obtained(host, Arc::clone(&obtained));
        }
        for (name, expected) in [
            (Some("x.a.test"), &exact),
            (Some("X.A.TEST"), &exact),
            (Some("a.test"), &exact),
            (Some("y.a.test"), &wild),
            (Some("x.y.a.test"), &first),
            (Some("o.test"), &obtained),
            (Some("p.o.test"), &first),
            (Some("unknown"), &first),
            (None, &first),
        ] {
            assert!(is(chooser.choose(name, &BOTH), expected), "{name:?}");
        }
    }

    #[test]
    fn the_clients_order_of_signatures_decides_between_rsa_and_ecdsa() {
        let rsa = issue(&["a.test"], Kind::Rsa);
        let ecdsa = issue(&["a.test"], Kind::Ecdsa);
        let chooser = chooser(&[&rsa, &ecdsa]);
        let (elliptic, pss) = (SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256);
        for name in [Some("a.test"), None] {
            for (schemes, expected) in
                [(&[elliptic][..], &ecdsa), (&[pss], &rsa), (&[pss, elliptic], &rsa), (&[elliptic, pss], &ecdsa)]
            {
                assert!(is(chooser.choose(name, schemes), expected), "{name:?} {schemes:?}");
            }
        }
        assert!(is(chooser.choose(Some("a.test"), &[SignatureScheme::ED25519]), &rsa), "a failure with a face");
    }

    #[test]
    fn what_the_client_cannot_verify_gives_way_to_what_it_can() {
        let first = issue(&["first.test"], Kind::Rsa);
        let exact = issue(&["x.a.test"], Kind::Ecdsa);
        let wild = issue(&["*.a.test"], Kind::Rsa);
        let chooser = chooser(&[&first, &exact, &wild]);
        assert!(is(chooser.choose(Some("x.a.test"), &[SignatureScheme::RSA_PSS_SHA256]), &wild));
    }

    #[test]
    fn without_files_only_what_was_obtained_is_served() {
        let chooser = chooser(&[]);
        let obtained = issue(&["o.test"], Kind::Ecdsa);
        chooser.certificates.obtained("o.test", Arc::clone(&obtained));
        assert!(is(chooser.choose(Some("o.test"), &BOTH), &obtained));
        assert!(chooser.choose(Some("x.test"), &BOTH).is_none() && chooser.choose(None, &BOTH).is_none());
    }

    #[test]
    fn files_that_were_replaced_are_served_at_once() {
        let (old, new) = (issue(&["a.test"], Kind::Ecdsa), issue(&["a.test"], Kind::Ecdsa));
        let chooser = chooser(&[&old]);
        chooser.replace(&[Arc::clone(&new)]);
        assert!(is(chooser.choose(Some("a.test"), &BOTH), &new));
    }
}
