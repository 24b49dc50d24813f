//! The edge authority: public names, by the right caller, within its constraints.

use std::time::Duration;

use palladium_identity::{EdgeIdentity, EdgeSettings};
use palladium_tls::{ALPN_HTTP, Acceptor, Connector, pem_roots_client_config, public_server_config};
use rcgen::{KeyPair, SanType};

use super::zone::{APP, Zone, free_address};
use crate::{EdgeConfig, keep::EDGE_ROOT};

async fn edge_zone() -> Zone {
    Zone::start(|config| {
        let domains = vec!["example.test".to_owned()];
        config.edge = Some(EdgeConfig {
            listen: free_address(),
            domains,
            ttl_seconds: 3600,
        });
    })
    .await
}

async fn ask(zone: &Zone, caller: &str, names: &[&str]) -> Result<EdgeIdentity, String> {
    let identity = zone.obtain(caller).await.map_err(|error| error.to_string())?;
    let settings = EdgeSettings {
        address: zone.config.edge.as_ref().unwrap().listen.to_string(),
        sentry_id: zone.config.own_id().unwrap(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        deadline: Duration::from_millis(300),
    };
    EdgeIdentity::obtain(settings, identity.svid().clone(), identity.bundles().clone())
        .await
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn the_gateway_gets_a_certificate_for_localhost_that_clients_verify_by_the_edge_root_alone() {
    let zone = edge_zone().await;
    let names = ["localhost", "127.0.0.1", "::1", "example.test", "*.example.test"];
    let edge = ask(&zone, "/ns/palladium/gateway", &names).await.unwrap();
    let roots = std::fs::read(zone.config.data_folder.join(EDGE_ROOT)).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = Acceptor::public(public_server_config(edge.source(), ALPN_HTTP), Duration::from_secs(5));
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move { acceptor.accept(tcp).await.map(drop) });
        }
    });
    let tls = pem_roots_client_config(&roots, ALPN_HTTP).unwrap();
    let connect = async |name: &'static str| {
        Connector::named(tls.clone(), name.try_into().unwrap(), Duration::from_secs(5))
            .connect(address)
            .await
    };
    for name in ["localhost", "127.0.0.1", "::1", "a.example.test"] {
        connect(name).await.expect(name);
    }
    assert!(connect("elsewhere.test").await.is_err());
    // The workload root vouches for no name, the edge root for no identity.
    let workload = pem_roots_client_config(&std::fs::read(zone.roots_file()).unwrap(), ALPN_HTTP).unwrap();
    let wrong = Connector::named(workload, "localhost".try_into().unwrap(), Duration::from_secs(5));
    assert!(wrong.connect(address).await.is_err());
    assert!(
        zone.journal_says(&["\"authority\":\"edge\"", "\"event\":\"issued\""])
            .await
    );
}

#[tokio::test]
async fn names_outside_the_zone_and_other_callers_are_refused() {
    let zone = edge_zone().await;
    for names in [
        &["evil.test"][..],
        &["localhost", "notexample.test"],
        &["10.0.0.1"],
        &["*.test"],
        &["example.test."],
        &["*.localhost"],
        &[],
    ] {
        assert!(ask(&zone, "/ns/palladium/gateway", names).await.is_err(), "{names:?}");
    }
    for caller in [APP, "/ns/palladium/store", "/ns/palladium/agent"] {
        let refused = ask(&zone, caller, &["localhost"]).await.err().expect(caller);
        assert!(
            refused.contains("no answer from Sentry"),
            "refused in the handshake: {refused}"
        );
    }
}

#[tokio::test]
async fn the_roots_own_constraints_hold_even_if_its_key_signs_anything() {
    let zone = edge_zone().await;
    let keeper = crate::keep::Keeper {
        folder: zone.config.data_folder.clone(),
        kek: palladium_sealing::Kek::open(&zone.config.kek).unwrap(),
        domain: zone.config.trust_domain.clone(),
        issuer_name: String::new(),
        issuer_life: time::Duration::days(1),
        root_life: time::Duration::days(1),
    };
    let refused = keeper.open_edge(&["new.test".to_owned()], time::OffsetDateTime::now_utc());
    assert!(
        refused
            .err()
            .expect("constraints are for ever")
            .to_string()
            .contains("new.test")
    );
    let authority = keeper.open_edge(&[], time::OffsetDateTime::now_utc()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.subject_alt_names = vec![SanType::DnsName("bank.test".try_into().unwrap())];
    params.not_before = time::OffsetDateTime::now_utc() - time::Duration::hours(1);
    params.not_after = time::OffsetDateTime::now_utc() + time::Duration::hours(1);
    let leaf = params.signed_by(&key, &authority.issuer).unwrap();
    let source = palladium_tls::PublicCertSource::new();
    let chain = crate::authority::pem_of(leaf.der());
    source.set(palladium_tls::PublicCert::from_pem(chain.as_bytes(), key.serialize_pem().as_bytes()).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = Acceptor::public(public_server_config(&source, ALPN_HTTP), Duration::from_secs(5));
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        acceptor.accept(tcp).await.map(drop)
    });
    let roots = std::fs::read(zone.config.data_folder.join(EDGE_ROOT)).unwrap();
    let tls = pem_roots_client_config(&roots, ALPN_HTTP).unwrap();
    let connector = Connector::named(tls, "bank.test".try_into().unwrap(), Duration::from_secs(5));
    let error = connector.connect(address).await.err().expect("refused").to_string();
    assert!(error.contains("NameConstraint"), "{error}");
}
