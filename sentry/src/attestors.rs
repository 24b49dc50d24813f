//! Who may vouch for processes: the public keys in the root-of-trust folder.
//!
//! One idea: each attestor has a key and the paths that it may speak for; the agent's covers applications only, the
//! supervisor's the platform's own roles only. The folder is read again when it changed or a moment has passed, so a key that
//! is written later is found: at the first start the control plane writes its own and wants a certificate at once. Never a
//! private key.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use jsonwebtoken::{
    DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk},
};
use palladium_spiffe::PathPattern;
use serde::Deserialize;

use crate::Error;

/// A file system's clock may be too coarse to show a change.
const REREAD: Duration = Duration::from_millis(100);
/// More files than this are a mistake, and each costs a signature check.
const MAX_ATTESTORS: usize = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    jwk: Jwk,
    paths: Vec<PathPattern>,
}

/// One attestor.
pub(crate) struct Attestor {
    pub(crate) name: String,
    pub(crate) key: DecodingKey,
    pub(crate) paths: Vec<PathPattern>,
}

/// What a look at the folder found.
struct Read {
    at: Instant,
    /// When the folder itself had changed, asked before its files were read.
    changed: Option<SystemTime>,
    attestors: Arc<Vec<Attestor>>,
}

/// The folder and what was last read from it.
pub(crate) struct Attestors {
    folder: PathBuf,
    read: Mutex<Option<Read>>,
}

impl Attestors {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            read: Mutex::new(None),
        }
    }

    /// The attestors as they are now.
    pub(crate) async fn current(&self) -> Result<Arc<Vec<Attestor>>, Error> {
        let lock = || self.read.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let changed = tokio::fs::metadata(&self.folder).await.and_then(|data| data.modified());
        let changed = changed.ok();
        if let Some(read) = lock().as_ref()
            && read.at.elapsed() < REREAD
            && read.changed == changed
        {
            return Ok(read.attestors.clone());
        }
        let attestors = Arc::new(self.load().await?);
        *lock() = Some(Read {
            at: Instant::now(),
            changed,
            attestors: attestors.clone(),
        });
        Ok(attestors)
    }

    async fn load(&self) -> Result<Vec<Attestor>, Error> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::File { path, source }
        };
        let mut attestors = Vec::new();
        let mut entries = tokio::fs::read_dir(&self.folder).await.map_err(at(&self.folder))?;
        while let Some(entry) = entries.next_entry().await.map_err(at(&self.folder))? {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = tokio::fs::read(&path).await.map_err(at(&path))?;
            // One broken file must not take the others' right to attest.
            match parse(&text) {
                Ok(attestor) if attestors.len() < MAX_ATTESTORS => attestors.push(attestor),
                Ok(_) => tracing::error!(path = %path.display(), "too many attestors: this one is ignored"),
                Err(reason) => tracing::error!(path = %path.display(), reason, "attestor ignored"),
            }
        }
        Ok(attestors)
    }
}

fn parse(text: &[u8]) -> Result<Attestor, String> {
    let file: File = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    match &file.jwk.algorithm {
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {}
        _ => return Err("the key is not ECDSA on P-256".to_owned()),
    }
    let key = DecodingKey::from_jwk(&file.jwk).map_err(|error| error.to_string())?;
    Ok(Attestor {
        name: file.name,
        key,
        paths: file.paths,
    })
}
