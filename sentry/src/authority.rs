//! What signs: an issuer's key, its chain, and the roots behind it.
//!
//! One idea: an [`Authority`] is immutable; renewal makes another one and swaps it. Making certificates for authorities
//! happens here, for workloads in `sign.rs`. Never gives its key away.

use std::sync::Arc;

use palladium_spiffe::TrustDomain;
use palladium_tls::{Bundle, TrustBundles};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, GeneralSubtree, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, NameConstraints, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};
use tokio::sync::watch;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::Error;

/// Issuer certificates begin this long before they are made, for clocks that are behind.
const BACK_DATED: Duration = Duration::minutes(5);

/// An issuer that can sign leaves.
pub(crate) struct Authority {
    pub(crate) issuer: Issuer<'static, KeyPair>,
    /// What follows a leaf: the issuer and what is between it and a root, without roots.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) roots: Vec<CertificateDer<'static>>,
    /// No leaf may be valid before or after these.
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
    /// The roots as a verifier sees them.
    pub(crate) bundles: TrustBundles,
}

/// The authority in use; replaced when the issuer is renewed or its files change.
pub(crate) type Current = watch::Sender<Arc<Authority>>;

impl Authority {
    /// Puts an issuer together and proves that it works: key and certificate match, the chain leads to a root.
    pub(crate) fn new(
        key: KeyPair,
        chain: Vec<CertificateDer<'static>>,
        roots: Vec<CertificateDer<'static>>,
    ) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::Authority(reason.to_owned());
        let certificate = chain
            .first()
            .or(roots.first())
            .ok_or_else(|| wrong("no issuer certificate"))?;
        let parsed = parse(certificate)?;
        if parsed.tbs_certificate.subject_pki.subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(wrong("the issuer's key does not belong to its certificate"));
        }
        let mut not_before = OffsetDateTime::UNIX_EPOCH;
        let mut not_after = None;
        for der in &chain {
            let parsed = parse(der)?;
            if !parsed.is_ca() {
                return Err(wrong("a certificate of the issuer's chain is not a CA certificate"));
            }
            let validity = parsed.validity();
            not_before = not_before.max(validity.not_before.to_datetime());
            not_after = earliest(not_after, validity.not_after.to_datetime());
        }
        let top = chain.last().unwrap_or(certificate);
        let root = roots
            .iter()
            .find(|root| vouches(root, top))
            .ok_or_else(|| wrong("the issuer's chain does not lead to any of the roots"))?;
        let not_after = earliest(not_after, parse(root)?.validity().not_after.to_datetime())
            .ok_or_else(|| wrong("no end of validity"))?;
        let issuer = Issuer::from_ca_cert_der(certificate, key)?;
        let bundles = TrustBundles::shared(Bundle::from_der(roots.iter().cloned())?);
        Ok(Self {
            issuer,
            chain,
            roots,
            not_before,
            not_after,
            bundles,
        })
    }
}

fn earliest(so_far: Option<OffsetDateTime>, next: OffsetDateTime) -> Option<OffsetDateTime> {
    Some(so_far.map_or(next, |earlier| earlier.min(next)))
}

pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Error> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(Error::Authority("a certificate is malformed".to_owned())),
    }
}

/// Whether `root` signed `certificate` (itself included).
pub(crate) fn vouches(root: &[u8], certificate: &[u8]) -> bool {
    let (Ok(root), Ok(certificate)) = (parse(root), parse(certificate)) else {
        return false;
    };
    certificate.issuer() == root.subject() && certificate.verify_signature(Some(root.public_key())).is_ok()
}

/// PEM text of one certificate.
pub(crate) fn pem_of(der: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for start in (0..text.len()).step_by(64) {
        pem.push_str(&text[start..text.len().min(start + 64)]);
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// 128 random bits.
pub(crate) fn serial() -> SerialNumber {
    SerialNumber::from_slice(&palladium_sealing::random_bytes::<16>())
}

fn ca_params(now: OffsetDateTime, life: Duration, back_dated: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(serial());
    params.not_before = now - back_dated;
    params.not_after = now + life;
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A self-signed P-256 root of a trust domain. Its subject is distinct from every other root's.
pub(crate) fn make_root(
    domain: &TrustDomain,
    now: OffsetDateTime,
    life: Duration,
) -> Result<(KeyPair, CertificateDer<'static>), Error> {
    let key = KeyPair::generate()?;
    let mut params = ca_params(now, life, BACK_DATED);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::OrganizationName, domain.as_str());
    params
        .distinguished_name
        .push(DnType::CommonName, format!("root {}", short_random()));
    let certificate = params.self_signed(&key)?;
    Ok((key, certificate.der().clone()))
}

/// A P-256 issuer under a root. It never outlives the root and signs leaves only.
pub(crate) fn make_issuer(
    name: &str,
    root_key: KeyPair,
    root: &CertificateDer<'static>,
    now: OffsetDateTime,
    life: Duration,
) -> Result<(KeyPair, CertificateDer<'static>), Error> {
    let key = KeyPair::generate()?;
    let root_end = parse(root)?.validity().not_after.to_datetime();
    let mut params = ca_params(now, life, BACK_DATED);
    params.not_after = params.not_after.min(root_end);
    if params.not_after <= now {
        return Err(Error::Authority("the root has expired".to_owned()));
    }
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.use_authority_key_identifier_extension = true;
    params.distinguished_name.push(DnType::OrganizationName, name);
    params
        .distinguished_name
        .push(DnType::CommonName, format!("issuer {}", short_random()));
    let certificate = params.signed_by(&key, &Issuer::from_ca_cert_der(root, root_key)?)?;
    Ok((key, certificate.der().clone()))
}

/// A self-signed P-256 authority for public names: `localhost`, loopback addresses and `domains`, nothing else.
pub(crate) fn make_edge_root(
    domain: &TrustDomain,
    domains: &[String],
    now: OffsetDateTime,
    life: Duration,
) -> Result<(KeyPair, CertificateDer<'static>), Error> {
    let key = KeyPair::generate()?;
    let mut params = ca_params(now, life, BACK_DATED);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params
        .distinguished_name
        .push(DnType::OrganizationName, domain.as_str());
    params
        .distinguished_name
        .push(DnType::CommonName, format!("edge {}", short_random()));
    let names = std::iter::once("localhost").chain(domains.iter().map(String::as_str));
    let mut permitted: Vec<_> = names.map(|name| GeneralSubtree::DnsName(name.to_owned())).collect();
    permitted.push(GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([127, 0, 0, 0], 8)));
    permitted.push(GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(
        std::net::Ipv6Addr::LOCALHOST.octets(),
        128,
    )));
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: permitted,
        excluded_subtrees: Vec::new(),
    });
    let certificate = params.self_signed(&key)?;
    Ok((key, certificate.der().clone()))
}

fn short_random() -> String {
    palladium_sealing::random_bytes::<4>()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
