//! A certificate authority for tests.

use palladium_spiffe::{SpiffeId, TrustDomain};
use palladium_tls::{Bundle, Svid, SvidSource, TrustBundles};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::PrivatePkcs8KeyDer;

pub(super) struct Ca {
    domain: TrustDomain,
    root: CertifiedIssuer<'static, KeyPair>,
}

impl Ca {
    pub(super) fn new(domain: &str) -> Self {
        palladium_tls::install_crypto_provider();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Ca {
            domain: TrustDomain::parse(domain).unwrap(),
            root,
        }
    }

    pub(super) fn id(&self, path: &str) -> SpiffeId {
        SpiffeId::new(&self.domain, path).unwrap()
    }

    pub(super) fn bundles(&self) -> TrustBundles {
        let bundles = TrustBundles::new();
        bundles.set(
            self.domain.clone(),
            Bundle::from_der([self.root.der().clone()]).unwrap(),
        );
        bundles
    }

    pub(super) fn svid(&self, path: &str) -> SvidSource {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(self.id(path).as_str().try_into().unwrap())];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.root).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        SvidSource::with(Svid::new(vec![cert.der().clone()], key.into()).unwrap())
    }
}
