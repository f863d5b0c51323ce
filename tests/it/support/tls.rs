//! Certificates made on the spot, and a client that speaks TLS to an edge and tells what it was shown.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256, SanType};
use rustls::SignatureScheme;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, ProtocolVersion, RootCertStore};

use super::client::Wire;
use super::link::Link;
use super::wait::PATIENCE;

/// A CA.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate and its key, as files hold them.
#[derive(Clone, Debug)]
pub struct Pem {
    pub cert: String,
    pub key: String,
}

impl Pem {
    /// SHA-256 of the certificate, in hex.
    pub fn fingerprint(&self) -> String {
        fingerprint(&CertificateDer::from_pem_slice(self.cert.as_bytes()).expect("a certificate"))
    }

    /// Puts both where an edge looks for them.
    pub fn write(&self, directory: &Path, name: &str) {
        // The certificate first, as renewing programs do: for a moment the two do not belong together.
        std::fs::write(directory.join(format!("{name}.crt")), &self.cert).expect("write a certificate");
        std::fs::write(directory.join(format!("{name}.key")), &self.key).expect("write a key");
    }
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(certificate))
}

fn rsa_key() -> KeyPair {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls/rsa.key");
    let pem = std::fs::read_to_string(path).expect("the RSA key");
    KeyPair::from_pem_and_sign_algo(&pem, &PKCS_RSA_SHA256).expect("an RSA key")
}

impl Default for Authority {
    fn default() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Test authority");
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }
}

impl Authority {
    /// For a server of these names, ECDSA.
    pub fn server(&self, names: &[&str]) -> Pem {
        self.issue(names, KeyPair::generate().expect("a key"))
    }

    /// For a server of these names, RSA.
    pub fn rsa_server(&self, names: &[&str]) -> Pem {
        self.issue(names, rsa_key())
    }

    fn issue(&self, names: &[&str], key: KeyPair) -> Pem {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2024, 1, 1), rcgen::date_time_ymd(2124, 1, 1));
        self.sign(&params, &key)
    }

    /// For a client with that common name and mail address.
    pub fn client(&self, name: &str, mail: &str) -> Pem {
        let mut params = CertificateParams::new(Vec::new()).expect("names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example, Ltd");
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![SanType::Rfc822Name(mail.try_into().expect("ASCII"))];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params, &KeyPair::generate().expect("a key"))
    }

    /// Whatever is asked for.
    pub fn sign(&self, params: &CertificateParams, key: &KeyPair) -> Pem {
        let certificate = params.signed_by(key, &self.issuer).expect("a certificate");
        Pem { cert: certificate.pem(), key: key.serialize_pem() }
    }
}

/// What a client found out about a connection.
#[derive(Debug)]
pub struct Seen {
    /// SHA-256 of the server's certificate, in hex.
    pub fingerprint: String,
    pub resumed: bool,
    pub alpn: String,
    pub version: ProtocolVersion,
}

/// A client that believes one authority. Clones share their sessions.
#[derive(Clone, Debug)]
pub struct TlsClient {
    pub config: Arc<ClientConfig>,
}

impl TlsClient {
    /// Believes that authority; shows nothing; speaks HTTP/1.
    pub fn trusting(authority: &Authority) -> Self {
        Self::make(authority, None)
    }

    /// The same, with a certificate of its own.
    pub fn showing(authority: &Authority, own: &Pem) -> Self {
        Self::make(authority, Some(own))
    }

    /// Believes the authority whose certificate that is.
    pub fn believing(pem: &str) -> Self {
        Self::with(pem, None)
    }

    fn make(authority: &Authority, own: Option<&Pem>) -> Self {
        Self::with(&authority.pem, own)
    }

    fn with(pem: &str, own: Option<&Pem>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")).expect("an anchor");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("versions").with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let chain = vec![CertificateDer::from_pem_slice(own.cert.as_bytes()).expect("a certificate")];
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(chain, key).expect("a client certificate")
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { config: Arc::new(config) }
    }

    /// Believes whatever it is shown: to see what that is.
    pub fn curious() -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let builder =
            builder.expect("versions").dangerous().with_custom_certificate_verifier(Arc::new(Anything(provider)));
        Self { config: Arc::new(builder.with_no_client_auth()) }
    }

    /// Speaks only this version.
    pub fn speaking(&self, version: &'static rustls::SupportedProtocolVersion, authority: &Authority) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("a certificate")).expect("an anchor");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).expect("a version");
        Self { config: Arc::new(builder.with_root_certificates(roots).with_no_client_auth()) }
    }

    /// Offers other protocols.
    pub fn offering(&self, protocols: &[&str]) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Self { config: Arc::new(config) }
    }

    /// Connects, and asks for that name.
    pub fn connect(&self, address: SocketAddr, name: &str) -> io::Result<Wire> {
        self.connect_saying(address, name, b"")
    }

    /// The same, behind bytes in the clear (a PROXY header).
    pub fn connect_saying(&self, address: SocketAddr, name: &str, first: &[u8]) -> io::Result<Wire> {
        let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        io::Write::write_all(&mut &socket, first)?;
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let tls = ClientConnection::new(Arc::clone(&self.config), name).map_err(io::Error::other)?;
        Ok(Wire::over(Link::secure(socket, tls)?))
    }
}

impl Wire {
    /// What TLS says of the connection.
    pub fn seen(&self) -> Seen {
        let tls = self.link().tls().expect("a TLS connection");
        Seen {
            fingerprint: tls.peer_certificates().and_then(|chain| chain.first()).map(fingerprint).unwrap_or_default(),
            resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
            alpn: String::from_utf8_lossy(tls.alpn_protocol().unwrap_or_default()).into_owned(),
            version: tls.protocol_version().expect("a version"),
        }
    }
}

/// Verifies signatures, but no names, times or issuers.
#[derive(Debug)]
struct Anything(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _end: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
