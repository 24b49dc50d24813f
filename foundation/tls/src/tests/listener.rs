//! What a listener does with callers that are refused: nothing of theirs reaches the code behind it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::StreamExt;
use rustls::ClientConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{
    handshakes::{DEADLINE, anybody, trusting},
    pki::Ca,
};
use crate::*;

/// A listener that counts the connections it is given.
async fn counting(ca: &Ca, authorizer: Authorizer) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let bundles = trusting(&[ca]);
    let source = SvidSource::with(ca.svid("/ns/palladium/agent"));
    let config = mtls_server_config(&source, &bundles, authorizer, ALPN_HTTP);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stream = incoming(listener, Acceptor::mtls(config, bundles, DEADLINE), Limits::default());
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    tokio::spawn(async move {
        let mut stream = std::pin::pin!(stream);
        let mut kept = Vec::new();
        while let Some(Ok(connection)) = stream.next().await {
            counter.fetch_add(1, Ordering::SeqCst);
            kept.push(connection);
        }
    });
    (address, count)
}

/// Whether the server ends the connection without an answer to the application's bytes.
async fn is_closed(mut io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) -> bool {
    let _ = io.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let _ = io.flush().await;
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(DEADLINE, io.read_to_end(&mut rest))
        .await
        .expect("closed in time");
    !rest.starts_with(b"HTTP/")
}

#[tokio::test]
async fn sec_037_plaintext_is_refused() {
    let ca = Ca::new("td");
    let (address, count) = counting(&ca, anybody()).await;
    assert!(is_closed(TcpStream::connect(address).await.unwrap()).await);
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn sec_038_older_protocol_versions_are_refused() {
    let ca = Ca::new("td");
    let (address, count) = counting(&ca, anybody()).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.root.der().clone()).unwrap();
    let old = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = Connector::named(Arc::new(old), "localhost".try_into().unwrap(), DEADLINE);
    assert!(connector.connect(address).await.is_err());
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn sec_039_callers_without_certificate_or_authorization_never_reach_http() {
    let ca = Ca::new("td");
    let (address, count) = counting(&ca, exactly(&ca.id("/ns/palladium/gateway"))).await;
    let bundles = trusting(&[&ca]);
    let anonymous = svid_client_without_certificate(&bundles, anybody(), ALPN_HTTP);
    let stranger = SvidSource::with(ca.svid("/ns/prj-a/app"));
    let stranger = mtls_client_config(&stranger, &bundles, anybody(), ALPN_HTTP);
    for config in [anonymous, stranger] {
        // In TLS 1.3 a client learns of its refusal only when it reads.
        if let Ok(io) = Connector::mtls(config, bundles.clone(), DEADLINE)
            .connect(address)
            .await
        {
            assert!(is_closed(io).await);
        }
    }
    assert_eq!(count.load(Ordering::SeqCst), 0);
    let gateway = SvidSource::with(ca.svid("/ns/palladium/gateway"));
    let gateway = mtls_client_config(&gateway, &bundles, anybody(), ALPN_HTTP);
    let _io = Connector::mtls(gateway, bundles.clone(), DEADLINE)
        .connect(address)
        .await
        .unwrap();
    tokio::time::timeout(DEADLINE, async {
        while count.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the gateway is let in");
}
