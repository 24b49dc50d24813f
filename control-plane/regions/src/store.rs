//! What this crate needs of the control plane's storage, as one trait.
//!
//! The one idea: SQL stays in the store crate, and the tests here run against memory. Every method is one transaction.
//! Must never have a method that hands out a join token's secret, nor steps that only two calls together make whole.

use std::collections::BTreeMap;

use bytes::Bytes;
use palladium_proto::region::{ObjectStatus, SealedConfirmation};
use palladium_sealing::SealedValue;
use serde_json::{Map, Value};
use tokio::sync::watch;

/// The store failed; the text is for the log, not for a region.
#[derive(Debug, thiserror::Error)]
#[error("store: {0}")]
pub struct StoreError(pub String);

/// A join token as it is kept: without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinTokenRecord {
    /// Public part.
    pub id: String,
    /// The only region that it is for.
    pub region_id: String,
    /// SHA-256 of the secret part.
    pub secret_sha256: [u8; 32],
    /// Milliseconds since 1970.
    pub expires_at_unix_ms: i64,
}

/// What is known of a region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionRecord {
    /// `reg-…`
    pub region_id: String,
    /// DER SubjectPublicKeyInfo of its P-256 key; empty until it has joined.
    pub key_spki: Bytes,
    /// Its X25519 key for sealed values, 32 bytes; empty until it has joined.
    pub hpke_public_key: Bytes,
    /// Name of that key.
    pub hpke_key_id: String,
}

/// What a session says about its region. An empty text leaves what was known, except that of the alarm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionConnection {
    /// A session is open.
    pub connected: bool,
    /// Of the agent.
    pub agent_version: String,
    /// What applications dial.
    pub gateway_url: String,
    /// PEM roots of the region's workload certificates.
    pub trust_anchors: String,
    /// Something that a person should look at; empty = nothing.
    pub alarm: String,
}

/// One object as it is now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DesiredObject {
    /// As written.
    pub api_version: String,
    /// `Project`, `AppIdentity`, `Component`.
    pub kind: String,
    /// `prj-…`; for a project its own id.
    pub project_id: String,
    /// Name of that project.
    pub project_name: String,
    /// Name of the object.
    pub name: String,
    /// Never reused.
    pub uid: String,
    /// Of what is wanted.
    pub generation: u64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// `spec` and what stands beside it, secrets replaced by references.
    pub content: Map<String, Value>,
    /// Sealed values that the region has not confirmed.
    pub sealed: Vec<SealedValue>,
    /// The object is being deleted: the region is told to remove it.
    pub deleting: bool,
}

/// One step of the store's change feed, with the object as it is now. `None` = gone entirely.
#[derive(Clone, Debug)]
pub struct Change {
    /// Position in the feed; grows.
    pub cursor: u64,
    /// The object.
    pub object: Option<DesiredObject>,
}

/// The end of a region's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Grows when the database was restored.
    pub epoch: u64,
    /// Of the last entry; 0 = none in this epoch.
    pub seq: u64,
    /// SHA-256 of the last header; empty before the very first.
    pub head: Bytes,
    /// How far the change feed has been read.
    pub cursor: u64,
}

impl Default for Position {
    fn default() -> Self {
        Self {
            epoch: 1,
            seq: 0,
            head: Bytes::new(),
            cursor: 0,
        }
    }
}

/// A stored log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// Its epoch.
    pub epoch: u64,
    /// Its place.
    pub seq: u64,
    /// Exact signed bytes.
    pub header: Bytes,
    /// Ed25519.
    pub signature: Bytes,
    /// JSON, or empty.
    pub payload: Bytes,
}

/// The storage.
#[tonic::async_trait]
pub trait RegionStore: Send + Sync + 'static {
    /// Keeps a new join token.
    async fn put_join_token(&self, token: JoinTokenRecord) -> Result<(), StoreError>;
    /// An unused join token; expiry is checked by the caller.
    async fn join_token(&self, id: &str) -> Result<Option<JoinTokenRecord>, StoreError>;
    /// Marks the token as used and registers the region's keys, both or neither. `false` when it was used before.
    async fn redeem(&self, token_id: &str, region: RegionRecord) -> Result<bool, StoreError>;
    /// A region of this installation.
    async fn region(&self, region_id: &str) -> Result<Option<RegionRecord>, StoreError>;
    /// All regions.
    async fn region_ids(&self) -> Result<Vec<String>, StoreError>;
    /// What a session says about its region.
    async fn connection(&self, region_id: &str, connection: RegionConnection) -> Result<(), StoreError>;

    /// Grows after every committed change of an object.
    fn changed(&self) -> watch::Receiver<u64>;
    /// Changes of the region's objects after `cursor`, oldest first, at most `limit`.
    async fn changes_after(&self, region_id: &str, cursor: u64, limit: u32) -> Result<Vec<Change>, StoreError>;
    /// All objects of the region and the cursor that they correspond to, from one read transaction.
    async fn objects(&self, region_id: &str) -> Result<(u64, Vec<DesiredObject>), StoreError>;

    /// The end of the region's log; the default when there is none.
    async fn position(&self, region_id: &str) -> Result<Position, StoreError>;
    /// Appends rows and moves the end; fails when the end is not `from` any more.
    async fn append(
        &self,
        region_id: &str,
        from: &Position,
        rows: Vec<LogRow>,
        to: &Position,
    ) -> Result<(), StoreError>;
    /// Kept rows of an epoch after `seq`, in order, at most `limit`.
    async fn rows_after(&self, region_id: &str, epoch: u64, seq: u64, limit: u32) -> Result<Vec<LogRow>, StoreError>;
    /// Removes rows of older epochs and those up to `seq` of this one.
    async fn trim(&self, region_id: &str, epoch: u64, seq: u64) -> Result<(), StoreError>;

    /// What the region made of one of its objects; reports about others' objects are ignored.
    async fn report(&self, region_id: &str, status: ObjectStatus) -> Result<(), StoreError>;
    /// The region holds the value: its sealed form is removed from the object and from kept log rows.
    async fn confirm_sealed(&self, region_id: &str, confirmation: SealedConfirmation) -> Result<(), StoreError>;
}
