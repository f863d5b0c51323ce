//! Whom the commands believe to be the admin listener: whoever shows a certificate that the configuration names, and proves
//! that it is his. Names, issuers and dates do not matter: it is the very certificate, read from the very file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::config::Model;
use crate::config::model::Acme;
use crate::table::Admin;

/// Where the certificates are that the admin listener may show.
#[derive(Clone, Debug)]
pub struct Trust {
    /// PEM files: the first certificate of each counts.
    files: Vec<PathBuf>,
    /// Where obtained ones are kept, and for which names.
    obtained: Option<(PathBuf, Vec<String>)>,
    /// What a server asks for that wants to know its clients.
    wants_clients: bool,
}

/// Why no connection can be tried.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// There is nothing to compare with.
    #[error("none of the admin listener's certificate files can be read: {0}")]
    NoCertificate(String),
    /// The cryptography refuses.
    #[error("TLS cannot be spoken: {0}")]
    Tls(#[from] rustls::Error),
}

impl Trust {
    /// What a configuration says; `None`: there is no TLS.
    pub fn of(admin: &Admin, model: Option<&Model>) -> Option<Self> {
        let tls = admin.tls.as_ref()?;
        let files = tls.certificates.iter().map(|files| files.cert.value.clone()).collect();
        let obtained = model.and_then(|model| model.acme.as_ref()).map(|acme| obtained(acme, &admin.state_dir));
        Some(Self { files, obtained, wants_clients: tls.client_ca.is_some() })
    }

    /// How TLS is spoken, and which name is asked for.
    pub(super) fn client(&self) -> Result<(ClientConfig, ServerName<'static>), TrustError> {
        let provider = Arc::new(ring::default_provider());
        let verifier = Known { certificates: self.certificates()?, provider: Arc::clone(&provider) };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok((config, self.name()))
    }

    /// What to add to a message about a failure.
    pub(super) fn advice(&self) -> Option<&'static str> {
        let advice = "`admin.tls.client_ca` asks for a client certificate, which this command has none of";
        self.wants_clients.then_some(advice)
    }

    /// What is obtained is found by its name; of files the first goes without saying.
    fn name(&self) -> ServerName<'static> {
        let named = self.obtained.iter().filter(|_| self.files.is_empty()).flat_map(|(_, names)| names);
        let mut named = named.filter_map(|name| ServerName::try_from(name.clone()).ok());
        named.next().unwrap_or_else(|| ServerName::from(std::net::IpAddr::from([127, 0, 0, 1])))
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TrustError> {
        let obtained = self.obtained.iter().flat_map(|(directory, names)| {
            names.iter().map(move |name| directory.join("certificates").join(format!("{name}.pem")))
        });
        let (mut found, mut failures) = (Vec::new(), Vec::new());
        for file in self.files.iter().cloned().chain(obtained) {
            match first_certificate(&file) {
                Ok(certificate) => found.push(certificate),
                Err(why) => failures.push(format!("{}: {why}", file.display())),
            }
        }
        if found.is_empty() { Err(TrustError::NoCertificate(failures.join("; "))) } else { Ok(found) }
    }
}

fn obtained(acme: &Acme, state_dir: &Path) -> (PathBuf, Vec<String>) {
    let storage = acme.storage.clone().unwrap_or_else(|| state_dir.join("acme"));
    (storage, acme.hosts.iter().map(|host| host.value.clone()).collect())
}

fn first_certificate(file: &Path) -> Result<CertificateDer<'static>, String> {
    let pem = std::fs::read(file).map_err(|error| error.to_string())?;
    match CertificateDer::pem_slice_iter(&pem).next() {
        Some(Ok(certificate)) => Ok(certificate),
        Some(Err(_)) | None => Err("there is no certificate in it".to_owned()),
    }
}

/// Accepts these certificates, and no others.
#[derive(Debug)]
struct Known {
    certificates: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

/// Somebody else answers.
const STRANGER: &str = "it shows a certificate that is in none of the files of `admin.tls`";

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _further: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.certificates.iter().any(|known| known.as_ref() == shown.as_ref()) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::General(STRANGER.to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}

#[cfg(test)]
mod tests;
