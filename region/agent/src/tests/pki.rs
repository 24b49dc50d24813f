//! A certificate authority of a region under test.

use palladium_spiffe::{SpiffeId, TrustDomain};
use palladium_tls::{Bundle, Svid, SvidSource, TrustBundles};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use time::{Duration, OffsetDateTime};

pub struct Pki {
    domain: TrustDomain,
    root: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    pub fn new(domain: &str) -> Self {
        palladium_tls::install_crypto_provider();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
        params.not_after = OffsetDateTime::now_utc() + Duration::hours(1);
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self {
            domain: TrustDomain::parse(domain).unwrap(),
            root,
        }
    }

    pub fn bundles(&self) -> TrustBundles {
        let bundles = TrustBundles::new();
        bundles.set(
            self.domain.clone(),
            Bundle::from_der([self.root.der().clone()]).unwrap(),
        );
        bundles
    }

    pub fn id(&self, path: &str) -> SpiffeId {
        SpiffeId::new(&self.domain, path).unwrap()
    }

    pub fn svid(&self, path: &str) -> SvidSource {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(self.id(path).as_str().try_into().unwrap())];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = OffsetDateTime::now_utc();
        params.not_after = OffsetDateTime::now_utc() + Duration::minutes(5);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.root).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        SvidSource::with(Svid::new(vec![cert.der().clone()], key.into()).unwrap())
    }
}
