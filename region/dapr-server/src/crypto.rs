//! The cryptography API: what HTTP and gRPC share.
//!
//! One idea: a document's key is made here and wrapped by the component; the scheme itself is the engine's. Must never tell
//! whether a key could be unwrapped before the document's signature was checked.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use palladium_component::CryptoProvider;
use palladium_engine_crypto::{Algorithm, Cipher, CryptoError, Decryptor, Encryptor, FileKey, Header};
use palladium_engine_resiliency::ComponentKind;

use crate::entry::Block;
use crate::errors::Fault;
use crate::resiliency::outbound;
use crate::server::Server;

/// One component.
pub(crate) type Provider = Arc<Block<dyn CryptoProvider>>;

/// The operation's name among the metrics.
const OPERATION: &str = "crypto_op";
/// How much is worked on before others get their turn.
const TURN: usize = 1 << 20;

/// How a document is to be encrypted, as the caller says it.
pub(crate) struct Wanted<'a> {
    pub(crate) key_name: &'a str,
    pub(crate) algorithm: &'a str,
    pub(crate) cipher: &'a str,
    /// The name of the key that decrypts, if another.
    pub(crate) decryption_key_name: &'a str,
    /// Whether the document names no key.
    pub(crate) omit_key_name: bool,
}

fn category(error: &CryptoError) -> &'static str {
    if error.is_common() { "common" } else { "crypto" }
}

/// As HTTP callers see it.
pub(crate) fn http_fault(error: &CryptoError) -> Fault {
    Fault {
        report: error.http(),
        category: category(error),
    }
}

/// As gRPC callers see it.
pub(crate) fn grpc_fault(error: &CryptoError) -> Fault {
    Fault {
        report: error.grpc(),
        category: category(error),
    }
}

/// The component of that name.
pub(crate) fn find(server: &Server, name: &str) -> Result<Provider, CryptoError> {
    let components = server.components.load();
    if !components.has_crypto() {
        return Err(CryptoError::NotConfigured);
    }
    if name.is_empty() {
        return Err(CryptoError::BadRequest("missing component name".into()));
    }
    let found = components.crypto(name).cloned();
    found.ok_or_else(|| CryptoError::NotFound(name.to_owned()))
}

/// Begins a document: its key is made and wrapped.
pub(crate) async fn encryptor(
    server: &Server,
    provider: &Provider,
    wanted: &Wanted<'_>,
) -> Result<Encryptor, CryptoError> {
    let algorithm = Algorithm::named(wanted.algorithm).map_err(CryptoError::Failed)?;
    let cipher = Cipher::named(wanted.cipher).map_err(CryptoError::Failed)?;
    let key = FileKey::generate().map_err(CryptoError::Failed)?;
    let start = Instant::now();
    let policy = outbound(server, &provider.name, ComponentKind::Crypto);
    let wrap = |_| {
        provider
            .driver
            .wrap_key(key.secret(), algorithm.name(), wanted.key_name)
    };
    let wrapped = policy.run(wrap).await;
    provider.calls.observe(OPERATION, wrapped.is_ok(), start.elapsed());
    let wrapped = wrapped.map_err(|error| CryptoError::Failed(format!("failed to wrap the file key: {error}")))?;
    let named = match (wanted.omit_key_name, wanted.decryption_key_name) {
        (true, _) => "",
        (false, "") => wanted.key_name,
        (false, other) => other,
    };
    Encryptor::new(&key, named, algorithm, cipher, wrapped)
}

/// Begins to read a document: its key is unwrapped and its header checked. With it comes what was read behind the header.
pub(crate) async fn decryptor(
    server: &Server,
    provider: &Provider,
    header: Header,
    key_name: &str,
) -> Result<(Decryptor, Vec<u8>), CryptoError> {
    let name = header.key_name(key_name)?.to_owned();
    let start = Instant::now();
    let policy = outbound(server, &provider.name, ComponentKind::Crypto);
    let unwrap = |_| {
        provider
            .driver
            .unwrap_key(header.wrapped(), header.algorithm().name(), &name)
    };
    let key = policy.run(unwrap).await;
    provider.calls.observe(OPERATION, key.is_ok(), start.elapsed());
    if let Err(error) = &key {
        tracing::debug!(component = provider.name, %error, "a document's key cannot be unwrapped");
    }
    header.open(key.ok())
}

/// Either way of working through a document.
pub(crate) trait Work {
    fn push(&mut self, data: &[u8], out: &mut BytesMut) -> Result<(), CryptoError>;
}

impl Work for Encryptor {
    fn push(&mut self, data: &[u8], out: &mut BytesMut) -> Result<(), CryptoError> {
        Encryptor::push(self, data, out)
    }
}

impl Work for Decryptor {
    fn push(&mut self, data: &[u8], out: &mut BytesMut) -> Result<(), CryptoError> {
        Decryptor::push(self, data, out)
    }
}

/// Works through data, and lets others have their turn in between.
pub(crate) async fn work(on: &mut impl Work, data: &[u8], out: &mut BytesMut) -> Result<(), CryptoError> {
    for (turn, piece) in data.chunks(TURN).enumerate() {
        if turn > 0 {
            tokio::task::yield_now().await;
        }
        on.push(piece, out)?;
    }
    Ok(())
}
