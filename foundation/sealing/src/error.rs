//! What can go wrong with sealed material. Messages name files and purposes, never key bytes or plaintext.

use std::path::PathBuf;

/// One variant per operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ciphertext does not open: wrong key, wrong place, or changed bytes. Deliberately without detail.
    #[error("the sealed value does not open with this key at this place")]
    Open,
    /// The recipient key was refused (wrong length or not a point).
    #[error("the recipient key cannot be used")]
    Recipient,
    /// A stored blob has an unknown header.
    #[error("the wrapped key has an unknown format")]
    Format,
    /// The blob was wrapped by another key-encryption key.
    #[error("wrapped by another key-encryption key ({found}); this process holds {held}")]
    OtherKek {
        /// Public id found in the blob.
        found: String,
        /// Public id of the key this process holds.
        held: String,
    },
    /// A secret file may be read by others.
    #[error("{} may be read by others (mode {mode:o}); run chmod 600", path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A secret file has an impossible size.
    #[error("{} has an unexpected size", path.display())]
    Size {
        /// The file.
        path: PathBuf,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    File(#[from] palladium_os::Error),
    /// The cryptographic library refused; happens only when the system has no randomness.
    #[error("cryptographic operation failed: {0}")]
    Crypto(&'static str),
}
