//! The suite of cryptography components.
//!
//! A driver's test file names its backend and gets one test per case: `palladium_conformance::crypto_suite!(backend);`. One
//! idea: what is wrapped under a key comes back under that key, from any component that has it, and otherwise not. Must never
//! import a driver, or ask which one it is testing.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use palladium_component::CryptoProvider;
use palladium_component::reply::BoxFuture;
use secrecy::{ExposeSecret as _, SecretSlice};

/// One component under test. It has a symmetric key of 256 bits and an RSA key, and the symmetric one under a second name.
pub struct Backend {
    /// Opens the component; a second time with the same keys.
    pub open: Box<dyn Fn() -> BoxFuture<'static, Arc<dyn CryptoProvider>> + Send + Sync>,
    /// Names of the symmetric key, its copy, and the RSA key.
    pub names: [&'static str; 3],
    /// What has to live as long as the test: folders.
    pub keep: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

fn file_key() -> SecretSlice<u8> {
    (0..32).collect::<Vec<u8>>().into()
}

/// By each algorithm that this process can do.
pub async fn there_and_back(backend: &Backend) {
    let (one, other) = ((backend.open)().await, (backend.open)().await);
    let [symmetric, copy, rsa] = backend.names;
    for (algorithm, there, back) in [("A256KW", symmetric, copy), ("RSA-OAEP-256", rsa, rsa)] {
        let wrapped = one.wrap_key(&file_key(), algorithm, there).await.unwrap();
        assert_ne!(wrapped, file_key().expose_secret());
        let key = other.unwrap_key(&wrapped, algorithm, back).await.unwrap();
        assert_eq!(key.expose_secret(), file_key().expose_secret(), "{algorithm}");
    }
}

/// A changed, cut or foreign wrapped key is refused.
pub async fn what_is_broken_is_refused(backend: &Backend) {
    let keys = (backend.open)().await;
    let [symmetric, _, rsa] = backend.names;
    for (algorithm, name) in [("A256KW", symmetric), ("RSA-OAEP-256", rsa)] {
        let wrapped = keys.wrap_key(&file_key(), algorithm, name).await.unwrap();
        let mut changed = wrapped.clone();
        changed[3] ^= 1;
        for bad in [&changed[..], &wrapped[..wrapped.len() - 1], &wrapped[..8], &[]] {
            assert!(
                keys.unwrap_key(bad, algorithm, name).await.is_err(),
                "{algorithm} {}",
                bad.len()
            );
        }
    }
}

/// No such key, a key of another kind, no such algorithm: an error in words, without a key.
pub async fn what_does_not_fit_is_refused(backend: &Backend) {
    let keys = (backend.open)().await;
    let [symmetric, _, rsa] = backend.names;
    for (algorithm, name, word) in [
        ("A256KW", "no-such-key", "failed to retrieve the key encryption key"),
        ("A256KW", rsa, "key type mismatch"),
        ("RSA-OAEP-256", symmetric, "key type mismatch"),
        ("A256CBC-NOPAD", symmetric, "unsupported algorithm"),
        ("ROT13", symmetric, "unsupported algorithm"),
    ] {
        let error = keys
            .wrap_key(&file_key(), algorithm, name)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(word), "{algorithm} {name}: {error}");
    }
}

/// Makes one test per case of the suite.
#[macro_export]
macro_rules! crypto_suite {
    ($backend:path) => {
        $crate::crypto_suite!($backend: there_and_back, what_is_broken_is_refused, what_does_not_fit_is_refused);
    };
    ($backend:path: $($case:ident),+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let backend = $backend().await;
            $crate::crypto::$case(&backend).await;
        }
    )+};
}
