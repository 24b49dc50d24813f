//! The audit table: appended to, read in pages, never changed.
//!
//! Must never change a record, or answer one organization with another's.

use palladium_kinds::OrganizationId;
use palladium_kinds::audit_event::AuditEvent;
use sqlx::Row as _;

use crate::commit::Tx;
use crate::resource::text;
use crate::store::{signed, unsigned};
use crate::{Error, Store};

/// Which events. Empty strings mean "any".
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Name of the action.
    pub action: String,
    /// Id of the actor.
    pub actor: String,
    /// `success`, `refused`, `failed`.
    pub outcome: String,
    /// Kind of the object.
    pub kind: String,
    /// Name of the object.
    pub name: String,
    /// Project.
    pub project_id: String,
    /// Not before, milliseconds since 1970.
    pub since: Option<i64>,
    /// Before, milliseconds since 1970.
    pub until: Option<i64>,
    /// Only events older than this sequence (paging; newest come first); 0 = from the newest.
    pub before: u64,
    /// At most so many.
    pub limit: u32,
}

/// One page, newest first.
#[derive(Debug, Default)]
pub struct AuditPage {
    /// The events.
    pub events: Vec<AuditEvent>,
    /// [`AuditFilter::before`] of the next page; `None` = this was the last.
    pub next: Option<u64>,
}

impl Store {
    /// Records an event that comes with no change: a refusal, a read of a secret, a count of strangers.
    ///
    /// # Errors
    /// When it cannot be written; the caller decides whether what it records may then happen.
    pub async fn audit_record(&self, organization: &OrganizationId, event: &AuditEvent) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        self.audit_insert(&mut tx, organization, event).await?;
        tx.commit().await.map_err(|error| self.sort(error))
    }

    /// One page of the log.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_list(&self, organization: &OrganizationId, filter: &AuditFilter) -> Result<AuditPage, Error> {
        let rows = sqlx::query(
            "SELECT seq, event FROM audit WHERE org_id = ?1 AND (?2 = '' OR action = ?2) AND (?3 = '' OR actor_id = ?3) \
             AND (?4 = '' OR outcome = ?4) AND (?5 = '' OR kind = ?5) AND (?6 = '' OR name = ?6) \
             AND (?7 = '' OR project_id = ?7) AND (?8 IS NULL OR occurred_at >= ?8) AND (?9 IS NULL OR occurred_at < ?9) \
             AND (?10 = 0 OR seq < ?10) ORDER BY seq DESC LIMIT ?11",
        )
        .bind(organization.as_str())
        .bind(&filter.action)
        .bind(&filter.actor)
        .bind(&filter.outcome)
        .bind(&filter.kind)
        .bind(&filter.name)
        .bind(&filter.project_id)
        .bind(filter.since)
        .bind(filter.until)
        .bind(signed(filter.before))
        .bind(i64::from(filter.limit) + 1)
        .fetch_all(&self.readers)
        .await
        .map_err(|error| self.sort(error))?;
        let mut page = AuditPage::default();
        for row in rows.iter().take(filter.limit as usize) {
            let mut event: AuditEvent = serde_json::from_str(row.get::<&str, _>("event"))
                .map_err(|_| Error::Corrupt { what: "audit event" })?;
            event.sequence = unsigned(row.get("seq"));
            page.events.push(event);
        }
        if rows.len() > filter.limit as usize {
            page.next = page.events.last().map(|event| event.sequence);
        }
        Ok(page)
    }

    pub(crate) async fn audit_insert(
        &self,
        tx: &mut Tx,
        organization: &OrganizationId,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO audit (id, org_id, occurred_at, actor_type, actor_id, action, outcome, kind, name, project_id, event) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )
        .bind(&event.id)
        .bind(organization.as_str())
        .bind(event.occurred_at.unix_millis())
        .bind(&event.actor.kind)
        .bind(&event.actor.id)
        .bind(&event.action)
        .bind(&event.outcome)
        .bind(&event.resource.kind)
        .bind(&event.resource.name)
        .bind(&event.resource.project_id)
        .bind(text(event)?)
        .execute(&mut **tx)
        .await
        .map_err(|error| self.sort(error))?;
        Ok(())
    }
}
