//! Mutual TLS: whose clients are let in.

use super::{Authority, Origin, Pem, TlsClient, edge_with, eventually, get, handshakes};
use crate::support::Edge;

struct Rig {
    _origin: Origin,
    authority: Authority,
    clients: Authority,
    own: Pem,
    edge: Edge,
}

fn rig() -> Rig {
    let (origin, authority, clients) = (Origin::start(), Authority::default(), Authority::default());
    let own = clients.client("dev", "dev@example.com");
    let (pem, ca) = (authority.server(&["a.test"]), Pem { cert: clients.pem.clone(), key: String::new() });
    let keys = "http2: false, tls: { CERTIFICATES, client_ca: clients.crt }";
    // The CA's file is written beside the pair; it is no pair of the listener's.
    let keys = keys.replace("CERTIFICATES", "certificates: [{ cert: edge.crt, key: edge.key }]");
    let pairs = [("edge", &pem), ("clients", &ca)];
    let edge = edge_with(&origin, &pairs, &keys, TlsClient::showing(&authority, &own));
    Rig { _origin: origin, authority, clients, own, edge }
}

impl Rig {
    /// Whether a request of this client is answered. (TLS 1.3's client is done before the server has looked.)
    fn admits(&self, client: &TlsClient) -> bool {
        let Ok(mut wire) = client.connect(self.edge.secured.unwrap(), "a.test") else { return false };
        wire.send(crate::support::Request::get("/x").bytes());
        wire.try_response_to("GET").is_ok_and(|response| response.status == 200)
    }
}

#[test]
fn only_clients_of_the_authority_are_let_in() {
    let rig = rig();
    let stranger = Authority::default().client("dev", "dev@example.com");
    assert!(rig.admits(&TlsClient::showing(&rig.authority, &rig.own)));
    for (what, client) in [
        ("no certificate", TlsClient::trusting(&rig.authority)),
        ("somebody else's", TlsClient::showing(&rig.authority, &stranger)),
        ("a server's", TlsClient::showing(&rig.authority, &rig.authority.server(&["a.test"]))),
    ] {
        assert!(!rig.admits(&client), "{what}");
    }
    eventually("the failures are counted", || (handshakes(&rig.edge, "failed") == 3.0).then_some(()));
    rig.edge.wait_log("TLS handshake with 127.0.0.1 failed");
    assert!(rig.admits(&TlsClient::showing(&rig.authority, &rig.own)), "and the others go on");
}

#[test]
fn an_expired_certificate_is_refused() {
    let rig = rig();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(2002, 1, 1));
    assert!(!rig.admits(&TlsClient::showing(&rig.authority, &rig.clients.sign(&params, &key))));
}

#[test]
fn sessions_are_resumed_but_not_past_a_change_of_authorities() {
    let rig = rig();
    let client = TlsClient::showing(&rig.authority, &rig.own);
    let connect = || client.connect(rig.edge.secured.unwrap(), "a.test");
    for resumed in [false, true] {
        let mut wire = connect().expect("a connection");
        assert_eq!(get(&mut wire, "/x").status, 200);
        assert_eq!(wire.seen().resumed, resumed);
    }
    let other = Authority::default();
    std::fs::write(rig.edge.directory().join("clients.crt"), &other.pem).unwrap();
    rig.edge.wait_log("its CAs are believed from now on");
    assert!(!rig.admits(&client), "the old authority's client, session or not");
    let new = other.client("ops", "ops@example.com");
    assert!(rig.admits(&TlsClient::showing(&rig.authority, &new)));
}
