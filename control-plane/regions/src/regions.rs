//! What the control plane's server holds: the handle for join tokens and read-backs, and the task that serves regions.
//!
//! One idea: everything the server may ask of regions is one cheap handle; listener, sessions and logs stay behind it.
//! Must never keep a join token's secret (the store gets its digest), nor ask a region for a secret on its own: the
//! caller has authorized and audited it.

use std::sync::Arc;

use palladium_identity::Attestor;
use palladium_kinds::ids::RegionId;
use palladium_proto::region::{SecretField, read_back_request::What};
use palladium_sealing::{Kek, SecretString, random_bytes, sha256, token_digest};
use palladium_spiffe::{SpiffeId, platform};
use palladium_stream::JoinToken;
use palladium_tasks::{Shutdown, Tasks};
use palladium_tls::{SvidSource, TrustBundles};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use crate::issue::Issuer;
use crate::join::{JoinService, now_ms};
use crate::log::Logs;
use crate::sessions::{SessionInfo, Sessions};
use crate::store::{JoinTokenRecord, RegionStore, StoreError};
use crate::stream::StreamService;
use crate::{Config, Error, LogSigner, ReadBackError, listener};

/// A secret that only the region has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadBack {
    /// The token of this App ID.
    AppToken {
        /// Uid of the AppIdentity.
        uid: String,
    },
    /// An extracted secret.
    Field {
        /// Uid of the object.
        uid: String,
        /// Path of the field, as in its sealed value.
        field: String,
    },
}

/// The regions of this control plane. Cheap to clone.
#[derive(Clone)]
pub struct Regions(Arc<Inner>);

struct Inner {
    config: Config,
    store: Arc<dyn RegionStore>,
    signer: Arc<LogSigner>,
    issuer: Arc<Issuer>,
    sessions: Arc<Sessions>,
    logs: Arc<Logs>,
    svid: SvidSource,
    bundles: TrustBundles,
}

impl Regions {
    /// Opens the keys and publishes the attestor. Blocks on local disk.
    ///
    /// # Errors
    /// When a key cannot be opened, or the configuration is wrong.
    pub fn open(
        config: Config,
        kek: &Kek,
        store: Arc<dyn RegionStore>,
        svid: SvidSource,
        bundles: TrustBundles,
    ) -> Result<Self, Error> {
        let wrong = |error: palladium_spiffe::ParseError| Error::Config(format!("organization_id: {error}"));
        if !config.public_url.starts_with("https://") {
            return Err(Error::Config("public_url must begin with https://".to_owned()));
        }
        let domain = platform::trust_domain(&config.organization_id).map_err(wrong)?;
        let sentry_id = SpiffeId::new(&domain, platform::SENTRY).map_err(wrong)?;
        let attestor = Attestor::open(kek, &config.key_folder.join("attestor.key"), sentry_id.clone())?;
        attestor.publish(&config.trust_folder, "control-plane", &["/ns/region/*"])?;
        let signer = Arc::new(LogSigner::open(kek, &config.key_folder)?);
        let issuer = Issuer {
            attestor,
            sentry_address: config.sentry_address,
            sentry_id,
            bundles: bundles.clone(),
            domain,
        };
        let logs = Logs::new(store.clone(), signer.clone(), config.log_entries_kept);
        Ok(Self(Arc::new(Inner {
            store,
            signer,
            issuer: Arc::new(issuer),
            sessions: Arc::default(),
            logs: Arc::new(logs),
            svid,
            bundles,
            config,
        })))
    }

    /// Makes a join token for a region and keeps it; earlier unused ones stay valid until they expire.
    ///
    /// # Errors
    /// When the own roots are not known yet, or the store fails.
    pub async fn create_join_token(&self, region_id: &RegionId) -> Result<SecretString, Error> {
        let (token, record) = self.mint_join_token(region_id)?;
        self.0.store.put_join_token(record).await?;
        Ok(token)
    }

    /// Makes a join token, which is worth nothing until its record is kept: for whoever keeps it with a record of their own.
    ///
    /// # Errors
    /// When the own roots are not known yet.
    pub fn mint_join_token(&self, region_id: &RegionId) -> Result<(SecretString, JoinTokenRecord), Error> {
        let inner = &self.0;
        let bundle = inner.bundles.get(&inner.issuer.domain);
        // The newest root: during a change of roots it is the one that will be left.
        let root = bundle.as_ref().and_then(|bundle| bundle.roots().last());
        let root = root.ok_or_else(|| Error::Config("the control plane has no root certificate yet".to_owned()))?;
        let token = JoinToken {
            url: inner.config.public_url.clone(),
            root_sha256: sha256(root),
            log_key_sha256: inner.signer.public_key_sha256(),
            region_id: region_id.to_string(),
            id: palladium_kinds::ids::random_base32(8),
            secret: SecretString::from(secret_text()),
        };
        let record = JoinTokenRecord {
            id: token.id.clone(),
            region_id: token.region_id.clone(),
            secret_sha256: token_digest(palladium_sealing::ExposeSecret::expose_secret(&token.secret)),
            expires_at_unix_ms: now_ms() + i64::from(inner.config.join_token_seconds) * 1000,
        };
        Ok((token.encode(), record))
    }

    /// Asks a region for a secret; the caller has authorized and audited it. Answers within five seconds.
    ///
    /// # Errors
    /// See [`ReadBackError`].
    pub async fn read_back(&self, region_id: &str, what: ReadBack, actor: &str) -> Result<SecretString, ReadBackError> {
        let what = match what {
            ReadBack::AppToken { uid } => What::AppTokenUid(uid),
            ReadBack::Field { uid, field } => What::SecretField(SecretField { uid, field }),
        };
        self.0.sessions.read_back(region_id, what, actor).await
    }

    /// The region's live session, if it has one.
    pub fn session(&self, region_id: &str) -> Option<SessionInfo> {
        self.0.sessions.info(region_id)
    }

    /// Binds the listener, for [`Self::serve`]. Apart, so that a taken port is known before anything is started.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn bind(&self) -> Result<TcpListener, Error> {
        let remedy = "regions.listen in the control plane's configuration";
        Ok(palladium_http::bind("the region stream", self.0.config.listen, remedy)?)
    }

    /// Serves regions and keeps their logs until `shutdown`.
    ///
    /// # Errors
    /// When the listener ends by itself.
    pub async fn serve(&self, listener: TcpListener, shutdown: Shutdown) -> Result<(), Error> {
        let inner = &self.0;
        self.nobody_is_connected().await?;
        let mut tasks = Tasks::new();
        let (logs, follow) = (inner.logs.clone(), shutdown.clone());
        tasks.spawn("region-logs", async move { logs.follow(follow).await });
        let join = JoinService::new(
            inner.store.clone(),
            inner.issuer.clone(),
            inner.sessions.clone(),
            inner.config.organization_id.clone(),
            inner.signer.public_key(),
        );
        let stream = StreamService {
            store: inner.store.clone(),
            logs: inner.logs.clone(),
            sessions: inner.sessions.clone(),
            shutdown: shutdown.clone(),
            tasks: Mutex::new(tasks),
        };
        let domain = inner.issuer.domain.clone();
        listener::serve(listener, &inner.svid, &inner.bundles, domain, join, stream, shutdown).await
    }

    /// What the last process believed about sessions is over.
    async fn nobody_is_connected(&self) -> Result<(), StoreError> {
        for region in self.0.store.region_ids().await? {
            self.0
                .store
                .connection(&region, crate::RegionConnection::default())
                .await?;
        }
        Ok(())
    }
}

/// 256 random bits, 43 characters.
fn secret_text() -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random_bytes::<32>())
}
