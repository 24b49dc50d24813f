//! A certificate authority for tests that signs whatever it is told to.

use palladium_spiffe::{SpiffeId, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use crate::{Bundle, Svid};

/// A chain with its key, valid or not.
pub struct Made {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: Vec<u8>,
}

impl Made {
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }

    pub fn svid(&self) -> Svid {
        Svid::new(self.chain.clone(), self.private_key()).unwrap()
    }
}

pub struct Ca {
    pub domain: TrustDomain,
    pub root: CertifiedIssuer<'static, KeyPair>,
    pub issuer: CertifiedIssuer<'static, KeyPair>,
    pub issuer_key: Vec<u8>,
}

pub fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
    params.not_after = OffsetDateTime::now_utc() + Duration::hours(1);
    params
}

/// What a correct leaf looks like; tests bend it.
pub fn leaf_params(uris: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = uris
        .iter()
        .map(|uri| SanType::URI((*uri).try_into().unwrap()))
        .collect();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = OffsetDateTime::now_utc() - Duration::seconds(1);
    params.not_after = OffsetDateTime::now_utc() + Duration::minutes(5);
    params
}

impl Ca {
    pub fn new(domain: &str) -> Self {
        Self::with_issuer(domain, |_| {})
    }

    pub fn with_issuer(domain: &str, bend: impl FnOnce(&mut CertificateParams)) -> Self {
        let root = CertifiedIssuer::self_signed(ca_params("root"), KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let issuer_key = key.serialize_der();
        let mut params = ca_params("issuer");
        bend(&mut params);
        let issuer = CertifiedIssuer::signed_by(params, key, &root).unwrap();
        Self {
            domain: TrustDomain::parse(domain).unwrap(),
            root,
            issuer,
            issuer_key,
        }
    }

    pub fn bundle(&self) -> Bundle {
        Bundle::from_der([self.root.der().clone()]).unwrap()
    }

    pub fn sign(&self, params: &CertificateParams) -> Made {
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Made {
            chain: vec![cert.der().clone(), self.issuer.der().clone()],
            key: key.serialize_der(),
        }
    }

    pub fn id(&self, path: &str) -> SpiffeId {
        SpiffeId::new(&self.domain, path).unwrap()
    }

    pub fn svid(&self, path: &str) -> Svid {
        self.sign(&leaf_params(&[self.id(path).as_str()])).svid()
    }
}
