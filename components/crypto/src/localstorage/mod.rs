//! `crypto.dapr.localstorage`: keys in the files of one folder.
//!
//! The one idea: a key's name is a file's, and the file is read at each use, so that a new key needs no restart and an old
//! one is not kept. Must never be opened in platform mode, nor leave its folder by a name.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use palladium_component::crypto::{CryptoDriver, CryptoProvider};
use palladium_component::{CallError, ComponentMetadata, Hosted, MetadataError, OpenContext, OpenError, Reply, Status};
use secrecy::SecretSlice;
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use crate::keys::{Form, Key, parse};

/// The driver.
pub const DRIVER: CryptoDriver = CryptoDriver {
    type_name: "crypto.dapr.localstorage",
    aliases: &[],
    versions: &["v1"],
    status: Status::Alpha,
    hosted: Hosted::Refused,
    fields: FolderMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// Greatest file.
const MAX_BYTES: u64 = 1 << 20;

/// What a component says.
#[derive(Debug, ComponentMetadata)]
struct FolderMetadata {
    /// Folder of the keys: PEM, or one JSON Web Key in each file.
    #[metadata(required)]
    path: String,
}

async fn open(context: OpenContext) -> Result<Arc<dyn CryptoProvider>, OpenError> {
    let metadata = FolderMetadata::parse(&context.properties)?;
    let path = PathBuf::from(&metadata.path);
    let about = tokio::fs::metadata(&path)
        .await
        .map_err(|error| OpenError::Unavailable(format!("could not stat path '{}': {error}", metadata.path)))?;
    if !about.is_dir() {
        let reason = format!("path '{}' is not a directory", metadata.path);
        return Err(MetadataError::new("path", reason, "name the folder that holds the keys").into());
    }
    Ok(Arc::new(Folder(path)))
}

struct Folder(PathBuf);

impl Folder {
    async fn key(&self, name: &str) -> Result<Key, CallError> {
        let failed = |why: String| CallError::Invalid(format!("failed to retrieve the key encryption key: {why}"));
        let path = self.path(name).map_err(failed)?;
        let unread = |error: &dyn std::fmt::Display| failed(format!("failed to load key '{name}': {error}"));
        let file = tokio::fs::File::open(&path).await.map_err(|error| unread(&error))?;
        let mut text = Zeroizing::new(Vec::new());
        let read = file.take(MAX_BYTES + 1).read_to_end(&mut text).await;
        read.map_err(|error| unread(&error))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(unread(&format!("it has more than {MAX_BYTES} bytes")));
        }
        parse(&text, form(&path)).map_err(|error| failed(format!("failed to parse key from secret: {error}")))
    }

    /// The file of a key: below the folder, whatever the name is.
    fn path(&self, name: &str) -> Result<PathBuf, String> {
        if name.contains("..") {
            return Err("invalid key path: cannot contain '..'".into());
        }
        let mut path = self.0.clone();
        for part in Path::new(name).components() {
            if let Component::Normal(part) = part {
                path.push(part);
            }
        }
        Ok(path)
    }
}

fn form(path: &Path) -> Form {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    match ending.as_deref() {
        Some("json") => Form::Jwk,
        Some("pem") => Form::Pem,
        _ => Form::Unknown,
    }
}

impl CryptoProvider for Folder {
    fn wrap_key<'a>(
        &'a self,
        key: &'a SecretSlice<u8>,
        algorithm: &'a str,
        name: &'a str,
    ) -> Reply<'a, Vec<u8>, CallError> {
        Reply::wait(async move { self.key(name).await?.wrap(key, algorithm) })
    }

    fn unwrap_key<'a>(
        &'a self,
        wrapped: &'a [u8],
        algorithm: &'a str,
        name: &'a str,
    ) -> Reply<'a, SecretSlice<u8>, CallError> {
        Reply::wait(async move { self.key(name).await?.unwrap(wrapped, algorithm) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(path: &str) -> impl Future<Output = Result<Arc<dyn CryptoProvider>, OpenError>> {
        open(OpenContext::new("keys", "app", [("path", path)].into_iter().collect()))
    }

    #[tokio::test]
    async fn sec_111_no_name_leaves_the_folder() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("keys");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(outer.path().join("outside"), [7; 32]).unwrap();
        std::fs::write(inner.join("inside"), [7; 32]).unwrap();
        let keys = opened(inner.to_str().unwrap()).await.unwrap();
        let file_key = SecretSlice::from(vec![1; 32]);
        let outside = outer.path().join("outside");
        for name in [
            "../outside",
            "inside/../../outside",
            outside.to_str().unwrap(),
            "",
            "no\0name",
        ] {
            let refused = keys.wrap_key(&file_key, "A256KW", name).await;
            assert!(refused.is_err(), "{name}");
        }
        assert!(keys.wrap_key(&file_key, "A256KW", "inside").await.is_ok());
        // As in Dapr, a name that begins with a slash begins at the folder.
        assert!(keys.wrap_key(&file_key, "A256KW", "/inside").await.is_ok());
    }

    #[tokio::test]
    async fn the_folder_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "x").unwrap();
        for path in [file.to_str().unwrap(), "/nowhere/at/all", ""] {
            assert!(opened(path).await.is_err(), "{path}");
        }
    }
}
