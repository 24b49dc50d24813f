//! What a good connection looks like, and how it ends.

use std::{collections::HashMap, sync::Arc, time::Duration};

use palladium_spiffe::SpiffeId;
use rustls::{ClientConfig, ServerConfig, client::ResolvesClientCert, sign::CertifiedKey};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::pki::{Ca, Made, leaf_params};
use crate::*;

pub const DEADLINE: Duration = Duration::from_secs(5);

pub fn anybody() -> Authorizer {
    Arc::new(|_: &SpiffeId| true)
}

pub fn trusting(cas: &[&Ca]) -> TrustBundles {
    let bundles = TrustBundles::new();
    for ca in cas {
        bundles.set(ca.domain.clone(), ca.bundle());
    }
    bundles
}

/// Both ends of one handshake: (server's view, client's view).
pub async fn shake(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    bundles: &TrustBundles,
) -> (std::io::Result<TlsIo>, std::io::Result<TlsIo>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = Acceptor::mtls(server, bundles.clone(), DEADLINE);
    let connector = Connector::mtls(client, bundles.clone(), DEADLINE);
    let accept = async { acceptor.accept(listener.accept().await.unwrap().0).await };
    tokio::join!(accept, connector.connect(address))
}

/// A client with a raw chain that nobody has checked, as an attacker would have.
#[derive(Debug)]
struct Raw(Arc<CertifiedKey>);

impl ResolvesClientCert for Raw {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
    fn has_certs(&self) -> bool {
        true
    }
}

fn raw(made: &Made) -> Arc<CertifiedKey> {
    let key = provider().key_provider.load_private_key(made.private_key()).unwrap();
    Arc::new(CertifiedKey::new(made.chain.clone(), key))
}

/// Offers `made` as a client to a correct server of `ca`, then as a server to a correct client; returns how many of the
/// two judged it good (they must agree).
pub async fn judged_good(made: &Made, trusted: &[&Ca], own: &Ca) -> bool {
    let bundles = trusting(trusted);
    let own = SvidSource::with(own.svid("/ns/prj-a/own"));

    let server = mtls_server_config(&own, &bundles, anybody(), ALPN_H2);
    let mut client = ClientConfig::clone(&mtls_client_config(&own, &bundles, anybody(), ALPN_H2));
    client.client_auth_cert_resolver = Arc::new(Raw(raw(made)));
    let (as_client, _) = shake(server, Arc::new(client), &bundles).await;

    let mut server = ServerConfig::clone(&svid_server_config(&own, ALPN_H2));
    server.cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(raw(made)));
    let client = mtls_client_config(&own, &bundles, anybody(), ALPN_H2);
    let (_, as_server) = shake(Arc::new(server), client, &bundles).await;

    assert_eq!(
        as_client.is_ok(),
        as_server.is_ok(),
        "{:?} {:?}",
        as_client.err(),
        as_server.err()
    );
    as_server.is_ok()
}

#[tokio::test]
async fn a_good_pair_learns_each_others_id_with_tls13_and_h2() {
    let ca = Ca::new("reg-a.palladium.internal");
    let bundles = trusting(&[&ca]);
    let (one, two) = (
        SvidSource::with(ca.svid("/ns/prj-a/one")),
        SvidSource::with(ca.svid("/ns/prj-a/two")),
    );
    let server = mtls_server_config(&one, &bundles, exactly(&ca.id("/ns/prj-a/two")), ALPN_HTTP);
    let client = mtls_client_config(&two, &bundles, exactly(&ca.id("/ns/prj-a/one")), ALPN_H2);
    let (server, client) = shake(server, client, &bundles).await;
    let (mut server, mut client) = (server.unwrap(), client.unwrap());
    assert_eq!(server.peer().unwrap().id, ca.id("/ns/prj-a/two"));
    assert_eq!(client.peer().unwrap().id, ca.id("/ns/prj-a/one"));
    assert_eq!(
        client.session().protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
    assert_eq!(client.alpn(), Some(&b"h2"[..]));
    client.write_all(b"hello").await.unwrap();
    client.flush().await.unwrap();
    let mut buf = [0; 5];
    server.read_exact(&mut buf).await.unwrap();
    assert_eq!(&buf, b"hello");
}

#[tokio::test]
async fn sec_040_post_quantum_hybrid_is_what_both_sides_prefer() {
    let ca = Ca::new("td");
    let bundles = trusting(&[&ca]);
    let source = SvidSource::with(ca.svid("/ns/prj-a/one"));
    let server = mtls_server_config(&source, &bundles, anybody(), ALPN_H2);
    let client = mtls_client_config(&source, &bundles, anybody(), ALPN_H2);
    let (server, _client) = shake(server, client, &bundles).await;
    let server = server.unwrap();
    let group = server.session().negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn sec_042_nothing_is_resumed() {
    let ca = Ca::new("td");
    let bundles = trusting(&[&ca]);
    let source = SvidSource::with(ca.svid("/ns/prj-a/one"));
    let server = mtls_server_config(&source, &bundles, anybody(), ALPN_H2);
    // Even a client that would like to resume is given nothing to resume with.
    let mut eager = ClientConfig::clone(&mtls_client_config(&source, &bundles, anybody(), ALPN_H2));
    eager.resumption = rustls::client::Resumption::in_memory_sessions(16);
    let eager = Arc::new(eager);
    for _ in 0..2 {
        let (server, client) = shake(server.clone(), eager.clone(), &bundles).await;
        let (mut server, mut client) = (server.unwrap(), client.unwrap());
        server.write_all(b"x").await.unwrap();
        server.flush().await.unwrap();
        client.read_u8().await.unwrap();
        assert_eq!(server.session().handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}

#[tokio::test]
async fn sec_043_a_live_connection_of_a_revoked_peer_is_closed_and_a_new_one_refused() {
    let ca = Ca::new("td");
    let bundles = trusting(&[&ca]);
    let (one, two) = (
        SvidSource::with(ca.svid("/ns/prj-a/one")),
        SvidSource::with(ca.svid("/ns/prj-a/two")),
    );
    let server = mtls_server_config(&one, &bundles, anybody(), ALPN_H2);
    // The revoked side does not look at the revocations itself.
    let client = mtls_client_config(&two, &trusting(&[&ca]), anybody(), ALPN_H2);
    let (accepted, connected) = shake(server.clone(), client.clone(), &bundles).await;
    let (mut accepted, _connected) = (accepted.unwrap(), connected.unwrap());
    let reading = tokio::spawn(async move { accepted.read_u8().await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!reading.is_finished());
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    bundles.set_revocations(HashMap::from([(ca.id("/ns/prj-a/two"), now + 1)]));
    let closed = tokio::time::timeout(Duration::from_secs(2), reading)
        .await
        .expect("within two seconds")
        .unwrap();
    assert_eq!(closed.unwrap_err().kind(), std::io::ErrorKind::ConnectionAborted);
    assert!(shake(server.clone(), client.clone(), &bundles).await.0.is_err());
    // A new SVID, issued after the instant, is welcome.
    bundles.set_revocations(HashMap::from([(ca.id("/ns/prj-a/two"), now - 60)]));
    assert!(shake(server, client, &bundles).await.0.is_ok());
}

#[tokio::test]
async fn a_replaced_svid_is_used_for_the_next_handshake_and_none_means_no_service() {
    let ca = Ca::new("td");
    let bundles = trusting(&[&ca]);
    let source = SvidSource::new();
    let client = svid_client_without_certificate(&bundles, anybody(), ALPN_H2);
    let server = mtls_optional_client_server_config(&source, &bundles, anybody(), ALPN_H2);
    assert!(shake(server.clone(), client.clone(), &bundles).await.1.is_err());
    for path in ["/ns/prj-a/one", "/ns/prj-a/two"] {
        source.set(ca.svid(path));
        let (accepted, connected) = shake(server.clone(), client.clone(), &bundles).await;
        assert_eq!(connected.unwrap().peer().unwrap().id, ca.id(path));
        assert!(accepted.unwrap().peer().is_none());
    }
}

#[tokio::test]
async fn a_joining_client_knows_its_server_by_the_hash_of_the_root_alone() {
    let (ca, other) = (Ca::new("org-a.palladium.internal"), Ca::new("org-a.palladium.internal"));
    let bundles = trusting(&[&ca]);
    let source = SvidSource::with(ca.svid("/ns/palladium/control-plane"));
    let server = mtls_optional_client_server_config_with_roots(&source, &bundles, anybody(), ALPN_H2);
    let expected = exactly(&ca.id("/ns/palladium/control-plane"));
    let hash = |ca: &Ca| -> [u8; 32] { Sha256::digest(ca.root.der()).into() };
    let client = root_pin_client_config(hash(&ca), expected.clone(), ALPN_H2);
    shake(server.clone(), client, &bundles).await.1.unwrap();
    for (hash, expected) in [
        (hash(&other), expected),
        (hash(&ca), exactly(&ca.id("/ns/palladium/agent"))),
    ] {
        let client = root_pin_client_config(hash, expected, ALPN_H2);
        assert!(shake(server.clone(), client, &bundles).await.1.is_err());
    }
    // The same listener without roots behind the chain cannot be pinned.
    let bare = mtls_optional_client_server_config(&source, &bundles, anybody(), ALPN_H2);
    let client = root_pin_client_config(hash(&ca), anybody(), ALPN_H2);
    assert!(shake(bare, client, &bundles).await.1.is_err());
}

#[tokio::test]
async fn at_the_edge_names_count_and_the_certificate_can_be_replaced() {
    let ca = Ca::new("edge");
    let made = |name: &str| {
        let mut params = leaf_params(&[]);
        params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into().unwrap())];
        let made = ca.sign(&params);
        PublicCert::new(made.chain.clone(), made.private_key()).unwrap()
    };
    let source = PublicCertSource::new();
    source.set(made("elsewhere"));
    let server = public_server_config(&source, ALPN_HTTP);
    let client = pem_roots_client_config(ca.root.pem().as_bytes(), &[b"http/1.1"]).unwrap();
    let attempt = async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = Acceptor::public(server.clone(), DEADLINE);
        let connector = Connector::named(client.clone(), "localhost".try_into().unwrap(), DEADLINE);
        let accept = async { acceptor.accept(listener.accept().await.unwrap().0).await };
        tokio::join!(accept, connector.connect(address)).1
    };
    assert!(attempt().await.is_err());
    source.set(made("localhost"));
    assert_eq!(attempt().await.unwrap().alpn(), Some(&b"http/1.1"[..]));
    assert!(pem_roots_client_config(b"", ALPN_H2).is_err());
}

#[tokio::test]
async fn a_service_that_asks_for_a_certificate_is_shown_the_clients_own() {
    let ca = Ca::new("web");
    let made = |name: &str| {
        let mut params = leaf_params(&[]);
        params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into().unwrap())];
        let made = ca.sign(&params);
        PublicCert::new(made.chain.clone(), made.private_key()).unwrap()
    };
    let source = PublicCertSource::new();
    source.set(made("localhost"));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.root.der().clone()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_cert_resolver(Arc::new(source));
    let server = Arc::new(server);
    let attempt = async |roots: WebRoots<'_>, own: Option<&PublicCert>| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = Acceptor::public(server.clone(), DEADLINE);
        let client = web_client_config(roots, own, &[]).unwrap();
        let connector = Connector::named(client, "localhost".try_into().unwrap(), DEADLINE);
        let accept = async { acceptor.accept(listener.accept().await.unwrap().0).await };
        tokio::join!(accept, connector.connect(address)).0.is_ok()
    };
    let pem = ca.root.pem();
    let roots = WebRoots::Pem(pem.as_bytes());
    let (own, strange) = (made("client"), made_elsewhere("client"));
    assert!(attempt(roots, Some(&own)).await);
    assert!(!attempt(roots, None).await);
    assert!(!attempt(roots, Some(&strange)).await, "of somebody else's authority");
    assert!(!attempt(WebRoots::Nobody, Some(&own)).await);
}

fn made_elsewhere(name: &str) -> PublicCert {
    let mut params = leaf_params(&[]);
    params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into().unwrap())];
    let made = Ca::new("elsewhere").sign(&params);
    PublicCert::new(made.chain.clone(), made.private_key()).unwrap()
}
