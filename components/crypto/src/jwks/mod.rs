//! `crypto.dapr.jwks`: a JSON Web Key Set in the component itself, in a file, or at an address.
//!
//! The one idea: a key's name is its id in the set; a set that lies elsewhere is read again as it changes, and while it
//! cannot be read the last one holds. Must never read a file in platform mode, nor more of a set than [`MAX_BYTES`].

mod source;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use palladium_component::crypto::{CryptoDriver, CryptoProvider};
use palladium_component::{CallError, ComponentMetadata, Hosted, OpenContext, OpenError, Reply, Status};
use palladium_tasks::Shutdown;
use secrecy::{SecretSlice, SecretString};

use crate::keys::{JwkSet, Key};
use source::Source;

/// The driver.
pub const DRIVER: CryptoDriver = CryptoDriver {
    type_name: "crypto.dapr.jwks",
    aliases: &[],
    versions: &["v1"],
    status: Status::Alpha,
    hosted: Hosted::Allowed,
    fields: JwksMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// Greatest set.
const MAX_BYTES: usize = 4 << 20;

/// What a component says.
#[derive(Debug, ComponentMetadata)]
struct JwksMetadata {
    /// The set as JSON, also in base64; an address that begins with 'https://'; or the path of a file. It may hold keys,
    /// so it counts as a secret.
    #[metadata(required, sensitive)]
    jwks: SecretString,
    /// How long fetching the set from an address may take.
    #[metadata(default = "30s")]
    request_timeout: Duration,
    /// How often a set at an address is fetched again, at most.
    #[metadata(default = "10m")]
    min_refresh_interval: Duration,
}

async fn open(context: OpenContext) -> Result<Arc<dyn CryptoProvider>, OpenError> {
    let metadata = JwksMetadata::parse(&context.properties)?;
    let source = Source::of(&metadata, &context.hosting).await?;
    let first = source.read().await?;
    let shared = Arc::new(RwLock::new(Arc::new(first)));
    let stop = Shutdown::new();
    let keeping = source.is_elsewhere().then(|| {
        let (shared, stop) = (shared.clone(), stop.clone());
        tokio::spawn(async move { stop.unless(source.keep(shared)).await })
    });
    Ok(Arc::new(Jwks {
        set: shared,
        stop,
        _keeping: keeping,
    }))
}

struct Jwks {
    set: Arc<RwLock<Arc<JwkSet>>>,
    stop: Shutdown,
    /// Ends with `stop`, at the latest when this is dropped.
    _keeping: Option<tokio::task::JoinHandle<Option<()>>>,
}

impl Drop for Jwks {
    fn drop(&mut self) {
        self.stop.trigger();
    }
}

impl Jwks {
    /// Does something with the key of that id.
    fn with<T>(&self, id: &str, work: impl FnOnce(&Key) -> Result<T, CallError>) -> Result<T, CallError> {
        // A panic under this lock leaves a set that is still whole.
        let set = self.set.read().unwrap_or_else(PoisonError::into_inner).clone();
        let failed = |why: &str| CallError::Invalid(format!("failed to retrieve the key encryption key: {why}"));
        match set.get(id) {
            None => Err(failed("key not found")),
            Some(Err(error)) => Err(failed(&error.to_string())),
            Some(Ok(key)) => work(key),
        }
    }
}

impl CryptoProvider for Jwks {
    fn wrap_key<'a>(
        &'a self,
        key: &'a SecretSlice<u8>,
        algorithm: &'a str,
        name: &'a str,
    ) -> Reply<'a, Vec<u8>, CallError> {
        Reply::ready(self.with(name, |kept| kept.wrap(key, algorithm)))
    }

    fn unwrap_key<'a>(
        &'a self,
        wrapped: &'a [u8],
        algorithm: &'a str,
        name: &'a str,
    ) -> Reply<'a, SecretSlice<u8>, CallError> {
        Reply::ready(self.with(name, |kept| kept.unwrap(wrapped, algorithm)))
    }

    fn close(&self) -> Reply<'_, (), CallError> {
        self.stop.trigger();
        Reply::ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
