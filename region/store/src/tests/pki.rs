//! A certificate authority for tests.

use std::path::Path;

use palladium_spiffe::{SpiffeId, TrustDomain};
use palladium_tls::{Bundle, Svid, SvidSource, TrustBundles};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

const CERTIFICATE: &str = "svid.der";
const KEY: &str = "svid.key";
const ROOT: &str = "root.der";

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
        let (certificate, key) = self.issue(path);
        source(certificate, key)
    }

    /// Puts what a process with this SPIFFE path needs into a folder, for [`load`].
    pub(super) fn save(&self, path: &str, folder: &Path) {
        let (certificate, key) = self.issue(path);
        for (name, content) in [
            (CERTIFICATE, &certificate),
            (KEY, &key),
            (ROOT, &self.root.der().to_vec()),
        ] {
            std::fs::write(folder.join(name), content).unwrap();
        }
    }

    /// Certificate and key, as DER.
    fn issue(&self, path: &str) -> (Vec<u8>, Vec<u8>) {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(self.id(path).as_str().try_into().unwrap())];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.root).unwrap();
        (certificate.der().to_vec(), key.serialize_der())
    }
}

/// What [`Ca::save`] left: a certificate with its key, and whom to trust in that domain.
pub(super) fn load(domain: &str, folder: &Path) -> (SvidSource, TrustBundles) {
    palladium_tls::install_crypto_provider();
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let bundles = TrustBundles::new();
    let root = CertificateDer::from(read(ROOT));
    bundles.set(TrustDomain::parse(domain).unwrap(), Bundle::from_der([root]).unwrap());
    (source(read(CERTIFICATE), read(KEY)), bundles)
}

fn source(certificate: Vec<u8>, key: Vec<u8>) -> SvidSource {
    let key = PrivatePkcs8KeyDer::from(key);
    SvidSource::with(Svid::new(vec![CertificateDer::from(certificate)], key.into()).unwrap())
}
