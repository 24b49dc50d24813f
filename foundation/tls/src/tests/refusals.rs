//! Certificates that must never make a connection, each offered by a client and by a server.

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType};
use rustls_pki_types::UnixTime;
use time::{Duration, OffsetDateTime};

use super::{
    handshakes::{judged_good, trusting},
    pki::{Ca, Made, ca_params, leaf_params},
};
use crate::{Bundle, Side, TlsError, TrustBundles, verify_svid};

const GOOD: &str = "spiffe://td/ns/prj-a/app";

async fn refused(ca: &Ca, bend: impl FnOnce(&mut CertificateParams)) -> bool {
    let mut params = leaf_params(&[GOOD]);
    bend(&mut params);
    !judged_good(&ca.sign(&params), &[ca], ca).await
}

#[tokio::test]
async fn the_unbent_leaf_is_accepted() {
    assert!(!refused(&Ca::new("td"), |_| {}).await);
}

#[tokio::test]
async fn sec_001_two_uri_names_or_none_are_refused() {
    let ca = Ca::new("td");
    for uris in [
        &[GOOD, "spiffe://td/ns/prj-b/app"][..],
        &[GOOD, GOOD],
        &[GOOD, "https://x/"],
        &[],
    ] {
        let mut params = leaf_params(uris);
        params
            .subject_alt_names
            .push(SanType::DnsName("app".try_into().unwrap()));
        assert!(!judged_good(&ca.sign(&params), &[&ca], &ca).await, "{uris:?}");
    }
    // DNS names beside the one URI are allowed, and mean nothing.
    assert!(
        !refused(&ca, |p| p
            .subject_alt_names
            .push(SanType::DnsName("app".try_into().unwrap())))
        .await
    );
}

#[tokio::test]
async fn sec_002_a_leaf_that_may_sign_is_refused() {
    let ca = Ca::new("td");
    assert!(refused(&ca, |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)).await);
    assert!(refused(&ca, |p| p.key_usages.push(KeyUsagePurpose::KeyCertSign)).await);
    assert!(refused(&ca, |p| p.key_usages.push(KeyUsagePurpose::CrlSign)).await);
    assert!(refused(&ca, |p| p.key_usages = vec![KeyUsagePurpose::KeyEncipherment]).await);
    assert!(refused(&ca, |p| p.key_usages.clear()).await);
}

#[test]
fn sec_002_a_leaf_that_says_nothing_of_key_usage_is_for_the_drop_in_forms_alone() {
    let ca = Ca::new("td");
    let (strict, shared) = (trusting(&[&ca]), TrustBundles::shared(ca.bundle()));
    let judge = |usages: Vec<KeyUsagePurpose>, bundles: &TrustBundles| {
        let mut params = leaf_params(&[GOOD]);
        params.key_usages = usages;
        let made = ca.sign(&params);
        let (leaf, rest) = made.chain.split_first().unwrap();
        verify_svid(leaf, rest, bundles, UnixTime::now(), Side::Client).is_ok()
    };
    assert!(judge(Vec::new(), &shared) && !judge(Vec::new(), &strict));
    for usage in [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::KeyEncipherment] {
        assert!(!judge(vec![usage], &shared), "what it does say counts");
    }
}

#[tokio::test]
async fn sec_003_a_signing_certificate_is_no_peer() {
    // Even one that carries a workload's name.
    let ca = Ca::with_issuer("td", |p| {
        p.subject_alt_names = vec![SanType::URI(GOOD.try_into().unwrap())];
        p.key_usages.push(KeyUsagePurpose::DigitalSignature);
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    });
    let made = Made {
        chain: vec![ca.issuer.der().clone()],
        key: ca.issuer_key.clone(),
    };
    assert!(!judged_good(&made, &[&ca], &ca).await);
}

#[tokio::test]
async fn sec_004_malformed_ids_in_certificates_are_refused() {
    let ca = Ca::new("td");
    for uri in [
        "spiffe://td",
        "spiffe://td/",
        "spiffe://td/ns/prj-a/app/",
        "spiffe://td/ns//app",
        "spiffe://td/ns/./app",
        "spiffe://td/ns/prj-a/../app",
        "spiffe://td/ns/prj-a%2Fapp",
        "spiffe://TD/ns/prj-a/app",
        "spiffe://td:1/ns/prj-a/app",
        "spiffe://u@td/ns/prj-a/app",
        "spiffe://td/ns/prj-a/app?x",
        "spiffe://td/ns/prj-a/app#x",
        "SPIFFE://td/ns/prj-a/app",
        "https://td/ns/prj-a/app",
    ] {
        assert!(!judged_good(&ca.sign(&leaf_params(&[uri])), &[&ca], &ca).await, "{uri}");
    }
}

#[tokio::test]
async fn sec_007_an_extended_key_usage_without_the_peers_role_is_refused_for_that_role() {
    let ca = Ca::new("td");
    let bundles = trusting(&[&ca]);
    let mut params = leaf_params(&[GOOD]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let made = ca.sign(&params);
    let now = UnixTime::now();
    let judge = |side| verify_svid(&made.chain[0], &made.chain[1..], &bundles, now, side);
    assert!(judge(Side::Client).is_ok());
    assert!(matches!(judge(Side::Server), Err(TlsError::Chain(_))));
}

#[tokio::test]
async fn sec_009_the_roots_of_one_trust_domain_never_vouch_for_another() {
    let (a, b) = (Ca::new("td-a"), Ca::new("td-b"));
    let foreign = a.sign(&leaf_params(&["spiffe://td-b/ns/prj-a/app"]));
    assert!(!judged_good(&foreign, &[&a, &b], &a).await);
    let right = b.sign(&leaf_params(&["spiffe://td-b/ns/prj-a/app"]));
    assert!(judged_good(&right, &[&a, &b], &a).await);
    assert!(!judged_good(&right, &[&a], &a).await, "a domain without a bundle");
}

#[test]
fn sec_010_an_empty_bundle_and_one_that_is_no_ca_trust_nobody() {
    assert_eq!(Bundle::from_pem(b""), Err(TlsError::NoCertificate));
    let ca = Ca::new("td");
    let leaf = ca.sign(&leaf_params(&[GOOD]));
    assert_eq!(Bundle::from_der([leaf.chain[0].clone()]), Err(TlsError::NotCa));
    let bundles = TrustBundles::new();
    bundles.set(ca.domain.clone(), Bundle::default());
    let now = UnixTime::now();
    let judged = verify_svid(&leaf.chain[0], &leaf.chain[1..], &bundles, now, Side::Client);
    assert!(matches!(judged, Err(TlsError::UnknownTrustDomain(_))));
}

#[test]
fn an_expired_root_vouches_for_nobody() {
    let ca = Ca::new("td");
    let made = ca.sign(&{
        let mut params = leaf_params(&[GOOD]);
        params.not_after = OffsetDateTime::now_utc() + Duration::hours(10);
        params
    });
    let bundles = trusting(&[&ca]);
    let later = std::time::Duration::from_secs(2 * 3600) + std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let judged = verify_svid(
        &made.chain[0],
        &made.chain[1..],
        &bundles,
        UnixTime::since_unix_epoch(later),
        Side::Client,
    );
    assert!(judged.is_err());
}

#[tokio::test]
async fn sec_039_expired_future_wrong_eku_self_signed_and_issuers_without_the_right_are_refused() {
    let ca = Ca::new("td");
    let now = OffsetDateTime::now_utc();
    assert!(refused(&ca, |p| p.not_after = now - Duration::seconds(2)).await);
    assert!(refused(&ca, |p| p.not_before = now + Duration::minutes(2)).await);
    assert!(
        !refused(&ca, |p| p.not_before = now + Duration::seconds(5)).await,
        "a clock slightly ahead"
    );
    assert!(
        refused(&ca, |p| p.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::CodeSigning])
        .await
    );

    let key = KeyPair::generate().unwrap();
    let own = leaf_params(&[GOOD]).self_signed(&key).unwrap();
    let made = Made {
        chain: vec![own.der().clone()],
        key: key.serialize_der(),
    };
    assert!(!judged_good(&made, &[&ca], &ca).await, "self-signed");

    let no_right = Ca::with_issuer("td", |p| p.key_usages = vec![KeyUsagePurpose::DigitalSignature]);
    let made = no_right.sign(&leaf_params(&[GOOD]));
    assert!(
        !judged_good(&made, &[&no_right], &ca).await,
        "issuer without keyCertSign"
    );

    // A leaf that signs another leaf.
    let middle_key = KeyPair::generate().unwrap();
    let middle = leaf_params(&["spiffe://td/ns/prj-a/middle"])
        .signed_by(&middle_key, &ca.issuer)
        .unwrap();
    let fake = rcgen::Issuer::new(ca_params("x"), middle_key);
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = leaf_params(&[GOOD]).signed_by(&leaf_key, &fake).unwrap();
    let chain = vec![leaf.der().clone(), middle.der().clone(), ca.issuer.der().clone()];
    assert!(
        !judged_good(
            &Made {
                chain,
                key: leaf_key.serialize_der()
            },
            &[&ca],
            &ca
        )
        .await,
        "leaf as issuer"
    );
}
