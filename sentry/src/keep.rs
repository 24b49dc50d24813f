//! The platform's authorities on disk: made at the first start, kept wrapped, the issuer renewed.
//!
//! One idea: the root's key is opened only to sign an issuer and may be taken away afterwards ("offline"); then the issuer
//! lives to its end. Keys are written before certificates, so a crash in between leaves a pair that does not match and
//! is simply made again. All of it blocks on local disk. Never writes a key that is not wrapped, and never makes a root in
//! the place of one that was trusted: what is gone, damaged or replaced is refused with a word on how to go on.

use std::path::{Path, PathBuf};

use palladium_os::files::write_public;
use palladium_sealing::{ExposeSecret, Kek};
use palladium_spiffe::TrustDomain;
use palladium_tls::pem_certificates;
use rcgen::KeyPair;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::GeneralName;
use zeroize::Zeroizing;

use crate::{
    Error,
    authority::{Authority, make_edge_root, make_issuer, make_root, parse, pem_of, vouches},
};

/// The roots of the trust domain, for everybody.
pub(crate) const ROOTS: &str = "ca.crt";
/// The root of public listeners, for users.
pub(crate) const EDGE_ROOT: &str = "edge-ca.crt";

/// The folder with keys and certificates.
pub(crate) struct Keeper {
    pub(crate) folder: PathBuf,
    pub(crate) kek: Kek,
    pub(crate) domain: TrustDomain,
    pub(crate) issuer_name: String,
    pub(crate) issuer_life: Duration,
    pub(crate) root_life: Duration,
}

impl Keeper {
    /// The authority as it is on disk, or a new one.
    pub(crate) fn open(&self, now: OffsetDateTime) -> Result<Authority, Error> {
        let root = match self.read_certificate(ROOTS)? {
            Some(root) => root,
            None => {
                // The issuer is made behind the root: where it is, others trust the root already.
                if let Some(there) = ["issuer.crt", "issuer.key"]
                    .iter()
                    .find(|name| self.folder.join(name).exists())
                {
                    return Err(Error::Authority(format!(
                        "{there} is in {}, but {ROOTS} is gone: bring it back; or remove issuer.crt, issuer.key and root.key \
                         to begin with another root, which everybody must then trust",
                        self.folder.display()
                    )));
                }
                let (key, root) = make_root(&self.domain, now, self.root_life)?;
                self.write_pair("root", ROOTS, &key, &root)?;
                tracing::info!(trust_domain = %self.domain, "root made");
                root
            }
        };
        if let Some(key) = self.read_key("root")?
            && !belong_together(&key, &root)?
        {
            return Err(self.replaced("root.key", ROOTS));
        }
        match self.stored_issuer(&root, now)? {
            Some(authority) => Ok(authority),
            None => self.renew(now),
        }
    }

    /// Makes a new issuer under the root.
    pub(crate) fn renew(&self, now: OffsetDateTime) -> Result<Authority, Error> {
        let root = self
            .read_certificate(ROOTS)?
            .ok_or_else(|| Error::Authority("the root is gone".to_owned()))?;
        let root_key = self.read_key("root")?.ok_or_else(|| {
            Error::Authority("the root's key is not here: bring it back to renew the issuer".to_owned())
        })?;
        let (key, issuer) = make_issuer(&self.issuer_name, root_key, &root, now, self.issuer_life)?;
        self.write_pair("issuer", "issuer.crt", &key, &issuer)?;
        Authority::new(key, vec![issuer], vec![root])
    }

    /// The edge authority, made at the first start. Constraints in the root are for ever: other domains need a new one.
    pub(crate) fn open_edge(&self, domains: &[String], now: OffsetDateTime) -> Result<Authority, Error> {
        if let Some(root) = self.read_certificate(EDGE_ROOT)?
            && parse(&root)?.validity().not_after.to_datetime() > now
        {
            let key = self.read_key("edge-ca")?.ok_or_else(|| {
                Error::Authority(format!(
                    "edge-ca.key is gone from {}: bring it back; or remove {EDGE_ROOT} to make another root, which users must \
                     then trust",
                    self.folder.display()
                ))
            })?;
            if !belong_together(&key, &root)? {
                return Err(self.replaced("edge-ca.key", EDGE_ROOT));
            }
            if let Some(domain) = domains.iter().find(|domain| !permits(&root, domain)) {
                return Err(Error::Config(format!(
                    "edge domain {domain:?} is not among those of the existing edge root; remove {EDGE_ROOT} and \
                     edge-ca.key from {} to make a new root, which users must then trust",
                    self.folder.display()
                )));
            }
            return Authority::new(key, Vec::new(), vec![root]);
        }
        let (key, root) = make_edge_root(&self.domain, domains, now, self.root_life)?;
        self.write_pair("edge-ca", EDGE_ROOT, &key, &root)?;
        Authority::new(key, Vec::new(), vec![root])
    }

    /// The issuer on disk, if it is whole and has at least half of its life left.
    fn stored_issuer(&self, root: &CertificateDer<'static>, now: OffsetDateTime) -> Result<Option<Authority>, Error> {
        let (Some(issuer), Some(key)) = (self.read_certificate("issuer.crt")?, self.read_key("issuer")?) else {
            return Ok(None);
        };
        if !vouches(root, &issuer) {
            return Err(self.replaced("issuer.crt", ROOTS));
        }
        match Authority::new(key, vec![issuer], vec![root.clone()]) {
            Ok(authority) if authority.not_after - now > self.issuer_life / 2 || !self.has_root_key() => {
                Ok(Some(authority))
            }
            Ok(_) => Ok(None),
            Err(error) => {
                tracing::warn!(%error, "the stored issuer is unusable; making a new one");
                Ok(None)
            }
        }
    }

    fn has_root_key(&self) -> bool {
        self.key_path("root").exists()
    }

    fn read_certificate(&self, name: &str) -> Result<Option<CertificateDer<'static>>, Error> {
        let path = self.folder.join(name);
        match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::File { path, source }),
            Ok(pem) => match pem_certificates(&pem)?.into_iter().next() {
                Some(certificate) => Ok(Some(certificate)),
                None => Err(Error::Authority(format!(
                    "{} holds no certificate: bring back the one that was in it",
                    path.display()
                ))),
            },
        }
    }

    fn replaced(&self, one: &str, other: &str) -> Error {
        Error::Authority(format!(
            "{one} and {other} in {} do not belong together: one of them was replaced; bring back the one that was there",
            self.folder.display()
        ))
    }

    fn read_key(&self, name: &str) -> Result<Option<KeyPair>, Error> {
        let Some(der) = self.kek.read_wrapped(&self.key_path(name), &purpose(name))? else {
            return Ok(None);
        };
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.expose_secret()));
        Ok(Some(KeyPair::try_from(&der)?))
    }

    fn write_pair(&self, name: &str, file: &str, key: &KeyPair, certificate: &[u8]) -> Result<(), Error> {
        let der = Zeroizing::new(key.serialize_der());
        self.kek.write_wrapped(&self.key_path(name), &purpose(name), &der)?;
        write_public(&self.folder.join(file), pem_of(certificate).as_bytes())?;
        Ok(())
    }

    fn key_path(&self, name: &str) -> PathBuf {
        Path::new(&self.folder).join(format!("{name}.key"))
    }
}

fn belong_together(key: &KeyPair, certificate: &[u8]) -> Result<bool, Error> {
    let certificate = parse(certificate)?;
    Ok(certificate.tbs_certificate.subject_pki.subject_public_key.data.as_ref() == key.public_key_raw())
}

/// Whether an edge root's own constraints allow names of `domain`.
fn permits(root: &[u8], domain: &str) -> bool {
    let Ok(root) = parse(root) else { return false };
    let Ok(Some(constraints)) = root.name_constraints() else {
        return false;
    };
    let permitted = constraints.value.permitted_subtrees.iter().flatten();
    permitted
        .map(|subtree| &subtree.base)
        .any(|base| matches!(base, GeneralName::DNSName(name) if *name == domain))
}

fn purpose(name: &str) -> String {
    format!("sentry/{name}.key")
}
