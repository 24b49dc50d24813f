//! The token of whoever may read metrics: a file of the installation's owner, made once.
//!
//! One idea: who reads metrics reads the file, as Prometheus' `credentials_file` does; the region is told a digest only. Must
//! never replace a token that is there, nor show one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use palladium_os::files::create_private;
use palladium_sealing::{random_bytes, token_digest};

use super::Error;
use super::layout::Layout;

/// Below the data folder.
const FILE: &str = "region/metrics-token";
/// Of 32 bytes in base64url.
const LENGTH: usize = 43;

/// SHA-256 of the token, in hexadecimal digits. The first call makes the token.
pub fn digest(layout: &Layout) -> Result<String, Error> {
    let path = layout.path(FILE);
    if !path.exists() {
        create_private(&path, URL_SAFE_NO_PAD.encode(random_bytes::<32>()).as_bytes())?;
    }
    let token = std::fs::read_to_string(&path).map_err(|source| Error::File {
        path: path.clone(),
        source,
    })?;
    // As whoever reads it with an editor or a shell may have left it.
    let token = token.trim();
    // A short one could be guessed.
    if token.len() < LENGTH {
        return Err(Error::Damaged {
            path,
            reason: format!("a token has {LENGTH} characters; remove the file, and a new one is made"),
        });
    }
    Ok(token_digest(token).iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::create(folder.path().join("data")).unwrap();
        let path = layout.path(FILE);
        let first = digest(&layout).unwrap();
        let token = std::fs::read_to_string(&path).unwrap();
        assert_eq!((token.len(), first.len()), (LENGTH, 64));
        assert!(!first.contains(&token));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, format!("{token}\n")).unwrap();
        assert_eq!(digest(&layout).unwrap(), first, "kept, whoever looked at it");
        std::fs::write(&path, "").unwrap();
        assert!(matches!(digest(&layout), Err(Error::Damaged { .. })));
        std::fs::remove_file(&path).unwrap();
        assert_ne!(digest(&layout).unwrap(), first);
    }
}
