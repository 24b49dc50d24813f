//! The issuer's files in Dapr's folder: supplied ones are used, otherwise root and issuer are made.
//!
//! One idea: all three files or none; and a changed set is taken only when it works as a whole. The root's key is
//! thrown away after it has signed the issuer, as Dapr does. Must never write the root's key to disk, nor complete a
//! set of which only some files exist.

use std::path::PathBuf;

use palladium_sealing::write_file_atomic;
use palladium_spiffe::{SpiffeId, TrustDomain};
use palladium_tls::pem_certificates;
use rcgen::KeyPair;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::flags::Flags;
use crate::{
    Error,
    authority::{Authority, make_issuer, make_root, pem_of, vouches},
};

const LIFE: Duration = Duration::days(365);

/// Where the files are, and what they last said.
pub(super) struct Credentials {
    roots: PathBuf,
    chain: PathBuf,
    key: PathBuf,
    domain: TrustDomain,
    own_id: SpiffeId,
    clock_skew: Duration,
    seen: Option<Files>,
}

#[derive(PartialEq, Eq)]
struct Files {
    roots: Vec<u8>,
    chain: Vec<u8>,
    key: Zeroizing<String>,
}

impl Credentials {
    pub(super) fn new(flags: &Flags, own_id: &SpiffeId, clock_skew: Duration) -> Self {
        let folder = &flags.issuer_credentials;
        Self {
            roots: folder.join(&flags.issuer_ca_filename),
            chain: folder.join(&flags.issuer_certificate_filename),
            key: folder.join(&flags.issuer_key_filename),
            domain: own_id.trust_domain().clone(),
            own_id: own_id.clone(),
            clock_skew,
            seen: None,
        }
    }

    /// The authority of the files, which are made first if there are none.
    pub(super) async fn load_or_generate(&mut self, now: OffsetDateTime) -> Result<Authority, Error> {
        self.seen = self.read().await?;
        if let Some(files) = &self.seen {
            return authority(files);
        }
        let made = self.generate(now).await?;
        self.seen = self.read().await?;
        Ok(made)
    }

    /// A new authority if the files have changed since the last call. Files that do not work are reported once, and
    /// files that are gone are not missed before the next start.
    pub(super) async fn reload_if_changed(&mut self) -> Result<Option<Authority>, Error> {
        match self.read().await? {
            Some(files) if self.seen.as_ref() != Some(&files) => authority(self.seen.insert(files)).map(Some),
            _ => Ok(None),
        }
    }

    async fn read(&self) -> Result<Option<Files>, Error> {
        let mut contents = Vec::new();
        for path in [&self.roots, &self.chain, &self.key] {
            match tokio::fs::read(path).await {
                Ok(content) => contents.push(content),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(Error::File {
                        path: path.clone(),
                        source,
                    });
                }
            }
        }
        match <[Vec<u8>; 3]>::try_from(contents) {
            Ok([roots, chain, key]) => {
                let key =
                    String::from_utf8(key).map_err(|_| Error::Authority("the issuer's key is not PEM".to_owned()))?;
                Ok(Some(Files {
                    roots,
                    chain,
                    key: Zeroizing::new(key),
                }))
            }
            Err(found) if found.is_empty() => Ok(None),
            Err(_) => Err(Error::Authority(format!(
                "only some of {}, {} and {} exist: supply all three or none",
                self.roots.display(),
                self.chain.display(),
                self.key.display()
            ))),
        }
    }

    async fn generate(&self, now: OffsetDateTime) -> Result<Authority, Error> {
        if let Some(folder) = self.roots.parent() {
            let at = |source| Error::File {
                path: folder.to_owned(),
                source,
            };
            tokio::fs::create_dir_all(folder).await.map_err(at)?;
        }
        let began = now - self.clock_skew;
        let (root_key, root) = make_root(&self.domain, began, LIFE + self.clock_skew)?;
        let (key, issuer) = make_issuer(self.own_id.as_str(), root_key, &root, now, LIFE)?;
        let files: [(&PathBuf, Zeroizing<String>); 3] = [
            (&self.key, Zeroizing::new(key.serialize_pem())),
            (&self.chain, Zeroizing::new(pem_of(&issuer))),
            (&self.roots, Zeroizing::new(pem_of(&root))),
        ];
        for (path, content) in files {
            write_file_atomic(path, content.as_bytes(), 0o600)?;
        }
        tracing::info!(trust_domain = %self.domain, "root and issuer made");
        Authority::new(key, vec![issuer], vec![root])
    }
}

fn authority(files: &Files) -> Result<Authority, Error> {
    let roots = pem_certificates(&files.roots)?;
    let mut chain = pem_certificates(&files.chain)?;
    // Dapr accepts a root at the end of the chain and does not send it on; a self-signed issuer alone stays.
    if chain.len() > 1 && chain.last().is_some_and(|last| vouches(last, last)) {
        chain.pop();
    }
    if chain.is_empty() {
        return Err(Error::Authority(
            "the issuer's certificate file holds no certificate".to_owned(),
        ));
    }
    Authority::new(KeyPair::from_pem(&files.key)?, chain, roots)
}
