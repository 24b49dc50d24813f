//! What all requests share. The store is visible to the stages only.
//!
//! One idea: what needs a policy or a record is reachable only through a stage. Must never hand the store to a handler.

use std::sync::Arc;

use palladium_audit::{Note, Outcome, Record, Repeats, Strangers};
use palladium_authn::Authenticator;
use palladium_authz::Authorizer;
use palladium_component::catalog::Catalog;
use palladium_control_store::{Error as StoreError, Organization, Store};
use palladium_kinds::audit_event::AuditEvent;
use palladium_kinds::{RegionId, Timestamp, project};
use palladium_regions::{Error as RegionsError, JoinTokenRecord, ReadBack, ReadBackError, Regions};
use palladium_sealing::SecretString;

use crate::config::LimitsConfig;

/// What the API needs of the region stream.
#[tonic::async_trait]
pub trait RegionPort: Send + Sync + 'static {
    /// A single-use token for a region that has not joined; good once its record is kept.
    fn mint_join_token(&self, region: &RegionId) -> Result<(SecretString, JoinTokenRecord), RegionsError>;
    /// Whether the region hears of changes now.
    fn is_connected(&self, region: &str) -> bool;
    /// A secret that only the region has. The caller has been authorized.
    async fn read_back(&self, region: &str, what: ReadBack, actor: &str) -> Result<SecretString, ReadBackError>;
}

#[tonic::async_trait]
impl RegionPort for Regions {
    fn mint_join_token(&self, region: &RegionId) -> Result<(SecretString, JoinTokenRecord), RegionsError> {
        Regions::mint_join_token(self, region)
    }

    fn is_connected(&self, region: &str) -> bool {
        self.session(region).is_some()
    }

    async fn read_back(&self, region: &str, what: ReadBack, actor: &str) -> Result<SecretString, ReadBackError> {
        Regions::read_back(self, region, what, actor).await
    }
}

/// What [`App::new`] is made of.
pub struct AppParts {
    /// The store.
    pub store: Store,
    /// The organization of this installation.
    pub organization: Organization,
    /// The policy.
    pub authorizer: Authorizer,
    /// The component catalog.
    pub catalog: &'static Catalog,
    /// The region stream.
    pub regions: Arc<dyn RegionPort>,
    /// Key of the fingerprints of secrets.
    pub fingerprint_key: [u8; 32],
    /// What clients dial.
    pub public_url: String,
    /// Bounds and deadlines.
    pub limits: LimitsConfig,
}

/// How the audit log calls whoever was not recognized.
pub(super) const ANONYMOUS: &str = "anonymous";

/// The action of the record that stands for many requests of theirs.
pub(super) const UNAUTHENTICATED: &str = "unauthenticated";

/// What all requests share.
pub struct App {
    pub(super) store: Store,
    pub(super) organization: Organization,
    pub(super) authenticator: Authenticator,
    pub(super) authorizer: Authorizer,
    pub(super) catalog: &'static Catalog,
    pub(super) regions: Arc<dyn RegionPort>,
    pub(super) fingerprint_key: [u8; 32],
    strangers: Strangers,
    repeats: Repeats,
    logged_strangers: Strangers,
    public_url: String,
    limits: LimitsConfig,
}

impl App {
    /// Puts it together.
    pub fn new(parts: AppParts) -> Self {
        Self {
            authenticator: Authenticator::new(parts.store.clone()),
            store: parts.store,
            organization: parts.organization,
            authorizer: parts.authorizer,
            catalog: parts.catalog,
            regions: parts.regions,
            fingerprint_key: parts.fingerprint_key,
            strangers: Strangers::default(),
            repeats: Repeats::default(),
            logged_strangers: Strangers::default(),
            public_url: parts.public_url,
            limits: parts.limits,
        }
    }

    /// What clients dial.
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    /// Bounds and deadlines.
    pub fn limits(&self) -> &LimitsConfig {
        &self.limits
    }

    /// Whether the database answers.
    pub async fn is_healthy(&self) -> bool {
        self.store
            .organization()
            .await
            .is_ok_and(|organization| organization.is_some())
    }

    /// Records what comes with no change of the store. Answers whether it is recorded.
    pub(in crate::api) async fn record(&self, event: &AuditEvent) -> Result<(), StoreError> {
        self.store.audit_record(&self.organization.id, event).await
    }

    /// Records a request that was refused or failed, or counts it when its caller does nothing else. What the path called the
    /// project is replaced by its id, so that a filter for the project finds the event.
    pub(in crate::api) async fn record_end(
        &self,
        record: &Record,
        outcome: Outcome,
        status: u16,
        reason: &str,
    ) -> Result<(), StoreError> {
        if !self
            .repeats
            .note(record, outcome, status, Timestamp::now().unix_millis())
        {
            return Ok(());
        }
        let mut event = record.event(outcome, status, reason);
        let named = &record.resource.project_id;
        if !named.is_empty()
            && let Some(found) = self
                .store
                .resource_find_by_id_or_name(&self.organization.id, project::KIND.kind, named)
                .await?
        {
            event.resource.project_id = found.id;
        }
        self.record(&event).await
    }

    /// Takes note of a request that nobody recognizable sent.
    pub(in crate::api) async fn note_stranger(&self, record: &Record, reason: &str) {
        let note = self.strangers.note(Timestamp::now().unix_millis());
        let event = record.event(Outcome::Refused, 401, reason);
        let (own, counted) = match note {
            Note::Counted => (false, None),
            Note::Record => (true, None),
            Note::RecordAndSummarize(counted) => (true, Some(counted)),
        };
        if let Some(counted) = counted {
            self.record_counted(counted).await;
        }
        if own && let Err(error) = self.record(&event).await {
            tracing::error!(%error, "a refused stranger could not be recorded");
        }
    }

    /// How many log lines a 401 is worth: `None` = no line, otherwise how many were left out before it.
    pub(in crate::api) fn log_stranger(&self) -> Option<u64> {
        match self.logged_strangers.note(Timestamp::now().unix_millis()) {
            Note::Counted => None,
            Note::Record => Some(0),
            Note::RecordAndSummarize(left_out) => Some(left_out),
        }
    }

    /// Records what was only counted of refused strangers and callers; called by a timer. `now` in milliseconds since 1970;
    /// the end of time = all of it.
    pub async fn summarize(&self, now: i64) {
        if let Some(counted) = self.strangers.due(now) {
            self.record_counted(counted).await;
        }
        for event in self.repeats.due(now) {
            if let Err(error) = self.record(&event).await {
                tracing::error!(%error, count = event.count, "refused requests could not be recorded");
            }
        }
    }

    async fn record_counted(&self, count: u64) {
        let record = Record {
            actor: palladium_kinds::audit_event::AuditActor {
                kind: "unauthenticated".into(),
                name: ANONYMOUS.into(),
                ..Default::default()
            },
            action: UNAUTHENTICATED,
            resource: Default::default(),
            source: Default::default(),
        };
        let event = AuditEvent {
            count,
            ..record.event(Outcome::Refused, 401, "further requests without a valid credential")
        };
        if let Err(error) = self.record(&event).await {
            tracing::error!(%error, count, "refused strangers could not be recorded");
        }
    }
}
