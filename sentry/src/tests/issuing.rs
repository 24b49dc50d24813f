//! What certificates look like, and what nobody gets.

use std::process::{Command, Stdio};

use palladium_tls::{Connector, mtls_client_config};
use proptest::prelude::*;
use rcgen::{BasicConstraints, IsCa, KeyPair, KeyUsagePurpose, SanType};
use time::{Duration, OffsetDateTime};
use tonic::Code;

use super::zone::{APP, Zone, csr, request};
use crate::{
    authority::{Authority, make_issuer, make_root},
    check::check,
    sign::{Order, sign},
};

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

#[tokio::test]
async fn sec_001_sec_008_a_signing_request_for_more_than_the_attested_identity_is_refused_and_recorded() {
    let zone = Zone::start(|_| {}).await;
    let own = zone.id(APP).to_string();
    let other = zone.id("/ns/prj-xyz/orders").to_string();
    let (own, other) = (own.as_str(), other.as_str());
    for (why, csr) in [
        ("two URI names", csr(|p| p.subject_alt_names = vec![uri(own), uri(own)])),
        ("another project's ID", csr(|p| p.subject_alt_names = vec![uri(other)])),
        (
            "its own and another's",
            csr(|p| p.subject_alt_names = vec![uri(own), uri(other)]),
        ),
        (
            "a DNS name",
            csr(|p| p.subject_alt_names = vec![dns("app.example.com")]),
        ),
        ("a wildcard", csr(|p| p.subject_alt_names = vec![dns("*.example.com")])),
        (
            "an address",
            csr(|p| p.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())]),
        ),
        ("cA=true", csr(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))),
        (
            "keyCertSign",
            csr(|p| p.key_usages = vec![KeyUsagePurpose::KeyCertSign]),
        ),
    ] {
        let refused = zone
            .call(request(APP, &zone.attestation(APP), &csr))
            .await
            .expect_err(why);
        assert_eq!(refused.code(), Code::PermissionDenied, "{why}");
    }
    assert!(
        zone.journal_says(&["\"event\":\"refused\"", "asks for more", own])
            .await
    );
    // Naming exactly itself is no more than it is. Whatever validity a request could ask for is not even read.
    let csr = csr(|p| p.subject_alt_names = vec![uri(own)]);
    zone.call(request(APP, &zone.attestation(APP), &csr))
        .await
        .expect("its own name");
}

#[tokio::test]
async fn sec_008_the_requested_namespace_and_id_must_be_the_attested_ones() {
    let zone = Zone::start(|_| {}).await;
    for path in ["/ns/prj-xyz/orders", "/ns/prj-abc/other", "/ns/palladium/agent"] {
        let refused = zone
            .call(request(path, &zone.attestation(APP), &csr(|_| {})))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{path}");
    }
    let mut foreign = request(APP, &zone.attestation(APP), &csr(|_| {}));
    foreign.trust_domain = "other".to_owned();
    assert_eq!(zone.call(foreign).await.unwrap_err().code(), Code::PermissionDenied);
    // The same with an SVID as proof.
    let identity = zone.obtain(APP).await.unwrap();
    let tls = mtls_client_config(
        identity.svid(),
        identity.bundles(),
        palladium_tls::exactly(&zone.config.own_id().unwrap()),
        palladium_tls::ALPN_H2,
    );
    let connector = Connector::mtls(tls, identity.bundles().clone(), std::time::Duration::from_secs(5));
    let call = |path| zone.call_with(connector.clone(), zone.config.listen, request(path, "", &csr_text()));
    assert_eq!(
        call("/ns/prj-xyz/orders").await.unwrap_err().code(),
        Code::PermissionDenied
    );
    call(APP).await.expect("renews itself");
    assert!(
        zone.journal_says(&["\"event\":\"issued\"", "\"proof\":\"svid\"", "\"serial\":"])
            .await
    );
}

fn csr_text() -> String {
    csr(|_| {})
}

#[tokio::test]
async fn malformed_requests_are_named_so() {
    let zone = Zone::start(|_| {}).await;
    let mut unsigned = csr(|_| {});
    unsigned.replace_range(60..64, "AAAA");
    let ed25519 = {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        rcgen::CertificateParams::default()
            .serialize_request(&key)
            .unwrap()
            .pem()
            .unwrap()
    };
    for bad in [
        "",
        "x",
        &unsigned,
        "-----BEGIN PRIVATE KEY-----\nMC4CAQ==\n-----END PRIVATE KEY-----\n",
        &ed25519,
    ] {
        let refused = zone.call(request(APP, &zone.attestation(APP), bad)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{bad}");
    }
}

#[tokio::test]
async fn an_identity_that_does_not_exist_is_refused() {
    let zone = Zone::start(|_| {}).await;
    let path = "/ns/prj-abc/unknown";
    let refused = zone
        .call(request(path, &zone.attestation(path), &csr(|_| {})))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

fn openssl(args: &[&str], input: &[u8]) -> String {
    use std::io::Write;
    let mut child = Command::new("openssl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[tokio::test]
async fn sec_006_openssl_reads_the_certificate_and_its_critical_name() {
    let zone = Zone::start(|_| {}).await;
    let answer = zone.call_token(APP, &zone.attestation(APP)).await.unwrap();
    let text = openssl(&["x509", "-noout", "-text"], &answer.workload_certificate);
    for expected in [
        "X509v3 Subject Alternative Name: critical\n                URI:spiffe://reg-test.palladium.internal/ns/prj-abc/orders",
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        "CA:FALSE",
        "Subject: \n",
        "Public Key Algorithm: id-ecPublicKey",
        "NIST CURVE: P-256",
    ] {
        assert!(text.contains(expected), "{expected:?} in {text}");
    }
    let chain = zone.folder.path().join("chain.pem");
    std::fs::write(&chain, &answer.workload_certificate).unwrap();
    let (roots, chain) = (zone.roots_file().display().to_string(), chain.display().to_string());
    let verified = openssl(
        &[
            "verify",
            "-x509_strict",
            "-purpose",
            "sslserver",
            "-CAfile",
            &roots,
            "-untrusted",
            &chain,
            &chain,
        ],
        b"",
    );
    assert!(verified.contains(": OK"), "{verified}");
    // And the listener itself, as OpenSSL sees it.
    let address = zone.config.listen.to_string();
    let seen = tokio::task::spawn_blocking(move || {
        openssl(
            &[
                "s_client", "-connect", &address, "-alpn", "h2", "-CAfile", &roots, "-tls1_3", "-brief",
            ],
            b"",
        )
    })
    .await
    .unwrap();
    assert!(seen.contains("Verification: OK") && seen.contains("TLSv1.3"), "{seen}");
}

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000 + seconds).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn sec_018_no_leaf_outlives_its_issuer_and_an_expired_issuer_never_signs(
        root_life in 600i64..100_000, issuer_life in 600i64..100_000, leaf_life in 1i64..100_000, asked in 0i64..150_000,
    ) {
        let domain = palladium_spiffe::TrustDomain::parse("td").unwrap();
        let (root_key, root) = make_root(&domain, at(0), Duration::seconds(root_life)).unwrap();
        let (key, issuer) = make_issuer("x", root_key, &root, at(0), Duration::seconds(issuer_life)).unwrap();
        let authority = Authority::new(key, vec![issuer], vec![root]).unwrap();
        let end = root_life.min(issuer_life);
        prop_assert_eq!(authority.not_after, at(end));
        let order = Order {
            id: palladium_spiffe::SpiffeId::parse("spiffe://td/ns/prj-a/app").unwrap(),
            public_key: rcgen::PublicKeyData::subject_public_key_info(&KeyPair::generate().unwrap()),
            dns: Vec::new(),
            not_before: at(asked),
            not_after: at(asked + leaf_life),
        };
        match sign(&order, &authority, at(asked)) {
            Ok(issued) => {
                prop_assert!(asked < end);
                prop_assert_eq!(issued.not_after, at(end.min(asked + leaf_life)));
                prop_assert_eq!(check(&issued, &order, &authority, at(asked)), Ok(()));
                // The finished certificate says the same, to the second.
                let leaf = palladium_tls::Leaf::read(&issued.chain[0]).unwrap();
                prop_assert!(leaf.not_after <= authority.not_after.unix_timestamp());
            }
            Err(_) => prop_assert!(asked >= end),
        }
    }
}

#[test]
fn sec_019_serial_numbers_are_128_random_bits() {
    let serials: std::collections::HashSet<Vec<u8>> =
        (0..10_000).map(|_| crate::authority::serial().to_bytes()).collect();
    assert_eq!(serials.len(), 10_000);
    assert!(serials.iter().all(|serial| serial.len() == 16));
}
