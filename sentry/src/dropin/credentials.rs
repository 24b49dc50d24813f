//! The issuer's files in Dapr's folder: supplied ones are used, otherwise root and issuer are made.
//!
//! One idea: all three files or none; and a changed set is taken only when it works as a whole. What is made here is
//! written to one file first, from which a start after a crash goes on. The root's key is thrown away after it has signed
//! the issuer, as Dapr does. Must never write the root's key to disk, overwrite a file, nor complete a set that somebody
//! supplied in part.

use std::path::{Path, PathBuf};

use palladium_os::files::create_private;
use palladium_spiffe::{SpiffeId, TrustDomain};
use palladium_tls::pem_certificates;
use rcgen::KeyPair;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::flags::Flags;
use crate::{
    Error,
    authority::{Authority, make_issuer, make_root, pem_of, vouches},
};

const LIFE: Duration = Duration::days(365);
/// The set that is being written; there only while that is going on.
const UNFINISHED: &str = ".issuer.unfinished.json";

/// Where the files are, and what they last said.
pub(super) struct Credentials {
    roots: PathBuf,
    chain: PathBuf,
    key: PathBuf,
    unfinished: PathBuf,
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
            unfinished: folder.join(UNFINISHED),
            domain: own_id.trust_domain().clone(),
            own_id: own_id.clone(),
            clock_skew,
            seen: None,
        }
    }

    /// The authority of the files, which are made first if there are none.
    pub(super) async fn load_or_generate(&mut self, now: OffsetDateTime) -> Result<Authority, Error> {
        self.finish()?;
        if let Some(files) = self.read().await? {
            return authority(self.seen.insert(files));
        }
        self.generate(now)?;
        self.finish()?;
        match self.read().await? {
            Some(files) => authority(self.seen.insert(files)),
            None => Err(Error::Authority("the issuer's files vanished".to_owned())),
        }
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
                Err(error) => return Err(at(path)(error)),
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

    /// Makes a set, and writes it where [`Self::finish`] finds it.
    fn generate(&self, now: OffsetDateTime) -> Result<(), Error> {
        if let Some(folder) = self.roots.parent() {
            std::fs::create_dir_all(folder).map_err(at(folder))?;
        }
        let began = now - self.clock_skew;
        let (root_key, root) = make_root(&self.domain, began, LIFE + self.clock_skew)?;
        let (key, issuer) = make_issuer(self.own_id.as_str(), root_key, &root, now, LIFE)?;
        let made = Made {
            key: key.serialize_pem(),
            chain: pem_of(&issuer),
            roots: pem_of(&root),
        };
        let text = serde_json::to_vec(&made).map(Zeroizing::new);
        let text = text.map_err(|error| Error::Authority(error.to_string()))?;
        // Another process that starts at the same moment may have made one: then both take that.
        if create_private(&self.unfinished, &text)? {
            tracing::info!(trust_domain = %self.domain, "root and issuer made");
        }
        Ok(())
    }

    /// Puts the files of a set that was made here to their places, if one is not there yet.
    fn finish(&self) -> Result<(), Error> {
        let Some(text) = read_if_there(&self.unfinished)? else {
            return Ok(());
        };
        let made: Made = serde_json::from_slice(&text)
            .map_err(|_| Error::Authority(format!("{} is damaged: remove it", self.unfinished.display())))?;
        let files = [
            (&self.key, made.key.as_bytes()),
            (&self.chain, made.chain.as_bytes()),
            (&self.roots, made.roots.as_bytes()),
        ];
        let mut foreign = false;
        for (path, content) in files {
            foreign |= read_if_there(path)?.is_some_and(|there| *there != content);
        }
        if foreign {
            tracing::warn!("other issuer files were supplied before those made here were complete; these are given up");
        } else {
            for (path, content) in files {
                create_private(path, content)?;
            }
        }
        match std::fs::remove_file(&self.unfinished) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(at(&self.unfinished)(error)),
            _ => Ok(()),
        }
    }
}

/// A set as it is kept until its three files are written.
#[derive(Serialize, Deserialize, ZeroizeOnDrop)]
struct Made {
    key: String,
    chain: String,
    roots: String,
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { path, source }
}

fn read_if_there(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    match std::fs::read(path) {
        Ok(content) => Ok(Some(Zeroizing::new(content))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
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
