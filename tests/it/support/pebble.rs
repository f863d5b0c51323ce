//! Debian's pebble, the CA for tests of ACME clients: strict, and refusing three nonces in ten. Its DNS is the tests'
//! own; it asks for challenges on the port that it is given.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use super::dns::Dns;
use super::edge::free_address;
use super::process::{Process, run};
use super::wait::eventually_within;

/// The names that it can look up, all on this machine.
pub const NAMES: &[(&str, Ipv4Addr)] =
    &[("one.test", Ipv4Addr::LOCALHOST), ("two.test", Ipv4Addr::LOCALHOST), ("three.test", Ipv4Addr::LOCALHOST)];

/// It makes keys first, on a machine with other things to do.
const STARTS: Duration = Duration::from_secs(60);

/// What a pebble is like.
#[derive(Clone, Debug)]
pub struct Pebble {
    /// Where its directory is.
    pub address: SocketAddr,
    /// On which port it asks for challenges.
    pub http: SocketAddr,
    /// How long its certificates are valid.
    pub validity: Duration,
    /// The certificate of its own, which is its own CA, and the key; PEM.
    pub certificate: String,
    pub key: String,
}

/// A running pebble.
pub struct RunningPebble {
    pub process: Process,
    pub settings: Pebble,
    management: SocketAddr,
    _directory: tempfile::TempDir,
    _dns: Dns,
}

impl Pebble {
    /// One that asks there.
    pub fn asking(http: SocketAddr) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        Self { address: free_address(), http, validity: Duration::from_secs(90 * 24 * 3600), certificate, key }
    }

    /// With certificates that are valid that long.
    pub fn validity(self, validity: Duration) -> Self {
        Self { validity, ..self }
    }

    /// The CA's directory.
    pub fn url(&self) -> String {
        format!("https://{}/dir", self.address)
    }

    /// Starts it and waits until it accepts.
    pub fn start(&self) -> RunningPebble {
        let directory = tempfile::Builder::new().prefix("countersign-pebble-").tempdir().expect("a directory");
        let (dns, management) = (Dns::start(NAMES), free_address());
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("write a file for pebble");
            path
        };
        let (cert, key) = (file("cert.pem", &self.certificate), file("key.pem", &self.key));
        let config = serde_json::json!({ "pebble": {
            "listenAddress": self.address.to_string(),
            "managementListenAddress": management.to_string(),
            "certificate": cert, "privateKey": key,
            "httpPort": self.http.port(), "tlsPort": 1, "ocspResponderURL": "",
            "certificateValidityPeriod": self.validity.as_secs(),
        }});
        let config = file("pebble.json", &config.to_string());
        let mut command = Command::new("pebble");
        command.arg("-strict").arg("-config").arg(config).args(["-dnsserver", &dns.address.to_string()]);
        command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "30").env("PEBBLE_AUTHZREUSE", "0");
        let process = Process::spawn(&mut command);
        eventually_within(STARTS, "pebble accepts", || {
            assert!(process.ended().is_none(), "pebble (apt-get install pebble): {}", process.stderr());
            TcpStream::connect(self.address).ok()
        });
        RunningPebble { process, settings: self.clone(), management, _directory: directory, _dns: dns }
    }
}

impl RunningPebble {
    /// The certificate of the authority that it signs with.
    pub fn root(&self) -> String {
        let url = format!("https://{}/roots/0", self.management);
        let asked = run(Command::new("curl").args(["-sSk", &url]));
        assert_eq!(asked.code, Some(0), "{}", asked.stderr);
        asked.stdout
    }

    fn count(&self, text: &str) -> usize {
        let log = self.process.stdout() + &self.process.stderr();
        log.matches(text).count()
    }

    /// Orders that it has accepted.
    pub fn orders(&self) -> usize {
        self.count("Added order")
    }

    /// Accounts that it has made.
    pub fn accounts(&self) -> usize {
        self.count("accounts in memory")
    }

    /// Requests that it has refused for their nonce alone: what was begun, and begun again, beyond what was done.
    pub fn refused_nonces(&self) -> usize {
        let begun = ["POST /order-plz", "POST /finalize-order/", "POST /certZ/"].map(|request| self.count(request));
        begun.iter().sum::<usize>().saturating_sub(3 * self.orders())
    }
}

impl Drop for RunningPebble {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- pebble\n{}{}", self.process.stdout(), self.process.stderr());
        }
    }
}
