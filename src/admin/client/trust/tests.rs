use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use super::super::wire;
use super::*;
use crate::tls::load::testing::{Kind, Pem, issue_pem};

/// Answers one connection over TLS with that certificate.
fn server(pem: &Pem) -> SocketAddr {
    let chain = CertificateDer::pem_slice_iter(pem.chain.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(pem.key.as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, stream);
        let mut head = [0; 1024];
        if stream.read(&mut head).is_ok() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    address
}

fn ask(address: SocketAddr, trust: &Trust) -> Result<Vec<u8>, String> {
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    wire::exchange(address, Some(trust), request, Duration::from_secs(10)).map_err(|error| error.to_string())
}

fn trust(files: Vec<PathBuf>) -> Trust {
    Trust { files, obtained: None, wants_clients: false }
}

#[test]
fn the_very_certificate_is_trusted_whatever_it_is_for() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("edge.crt");
    let pem = issue_pem(&["somewhere.else.test"], Kind::Ecdsa);
    std::fs::write(&file, &pem.chain).unwrap();
    let answer = ask(server(&pem), &trust(vec![file])).unwrap();
    assert_eq!(wire::parse(&answer).unwrap().body, b"ok");
}

#[test]
fn another_one_is_not_even_for_the_same_name() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("edge.crt");
    std::fs::write(&file, &issue_pem(&["edge.test"], Kind::Ecdsa).chain).unwrap();
    let why = ask(server(&issue_pem(&["edge.test"], Kind::Ecdsa)), &trust(vec![file])).unwrap_err();
    assert!(why.contains("in none of the files of `admin.tls`"), "{why}");
}

#[test]
fn without_a_certificate_nobody_is_trusted() {
    let missing = trust(vec!["nowhere.crt".into()]);
    let why = missing.client().unwrap_err().to_string();
    assert!(why.contains("nowhere.crt"), "{why}");
}

#[test]
fn obtained_certificates_are_found_where_they_are_kept() {
    let place = tempfile::tempdir().unwrap();
    let certificates = place.path().join("certificates");
    std::fs::create_dir(&certificates).unwrap();
    let pem = issue_pem(&["edge.test"], Kind::Ecdsa);
    std::fs::write(certificates.join("edge.test.pem"), format!("{}{}", pem.key, pem.chain)).unwrap();
    let obtained = Some((place.path().to_owned(), vec!["edge.test".to_owned()]));
    let trust = Trust { files: Vec::new(), obtained, wants_clients: false };
    assert_eq!(trust.name(), ServerName::try_from("edge.test").unwrap());
    assert_eq!(wire::parse(&ask(server(&pem), &trust).unwrap()).unwrap().status, 200);
}
