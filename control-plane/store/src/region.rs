//! What the region stream needs: `palladium_regions::RegionStore` over this store; whether a region is connected, what it reports.
//!
//! The one idea: the stream gets this trait and nothing else of the store, so a region can report and never want.
//!
//! Must never change what is wanted: joining, logs, status, and forgetting sealed values are all that happens here.

use palladium_kinds::Timestamp;
use palladium_kinds::status::{Report, Verdict, word};
use palladium_proto::region::{ObjectStatus, SealedConfirmation, Verdict as WireVerdict};
use palladium_regions::{
    Change, DesiredObject, JoinTokenRecord, LogRow, Position, RegionConnection, RegionRecord, RegionStore, StoreError,
};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::resource::{from_row, select, text, version};
use crate::{Error, Store};

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        StoreError(error.to_string())
    }
}

impl Store {
    async fn set_connection(&self, region_id: &str, connection: RegionConnection) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let row = sqlx::query(select!("WHERE r.kind = 'Region' AND r.id = ?1"))
            .bind(region_id)
            .fetch_optional(&mut *tx)
            .await
            .map_err(|error| self.sort(error))?;
        let Some(region) = row.as_ref().map(from_row).transpose()? else {
            return Ok(());
        };
        let joined: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM regions WHERE region_id = ?1")
            .bind(region_id)
            .fetch_one(&mut *tx)
            .await
            .map_err(|error| self.sort(error))?;
        let mut status = region.status;
        let details = &mut status.details;
        details.insert("connected".into(), connection.connected.into());
        details.insert("joined".into(), (joined > 0).into());
        // What was last known stays visible while the region is away.
        for (key, text) in [
            ("agentVersion", connection.agent_version),
            ("gatewayUrl", connection.gateway_url),
            ("trustAnchors", connection.trust_anchors),
        ] {
            if !text.is_empty() {
                details.insert(key.into(), text.into());
            }
        }
        status.messages.clear();
        if !connection.alarm.is_empty() {
            status.messages.push(palladium_kinds::status::Message {
                message: connection.alarm,
            });
        }
        status.status = word::READY.into();
        status.updated_at = Timestamp::now();
        let at = self.next_version(&mut tx).await?;
        sqlx::query("UPDATE resources SET status = ?2, resource_version = ?3 WHERE uid = ?1")
            .bind(&region.uid)
            .bind(text(&status)?)
            .bind(version(at))
            .execute(&mut *tx)
            .await
            .map_err(|error| self.sort(error))?;
        tx.commit().await.map_err(|error| self.sort(error))
    }
}

fn report(status: ObjectStatus) -> Option<Report> {
    let verdict = match status.verdict() {
        WireVerdict::Unspecified => return None,
        WireVerdict::Pending => Verdict::Pending,
        WireVerdict::Ready => Verdict::Ready,
        WireVerdict::Error => Verdict::Error,
        WireVerdict::Rejected => Verdict::Rejected,
        WireVerdict::Held => Verdict::Held,
        WireVerdict::Deleted => Verdict::Deleted,
    };
    let details = match serde_json::from_slice(&status.status_json).unwrap_or(json!({})) {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let (generation, reason, message, field) = (status.generation, status.reason, status.message, status.field);
    Some(Report {
        generation,
        verdict,
        reason,
        message,
        field,
        details,
    })
}

#[tonic::async_trait]
impl RegionStore for Store {
    async fn put_join_token(&self, token: JoinTokenRecord) -> Result<(), StoreError> {
        Ok(self.keep_join_token(&token).await?)
    }

    async fn join_token(&self, id: &str) -> Result<Option<JoinTokenRecord>, StoreError> {
        Ok(self.unused_join_token(id).await?)
    }

    async fn redeem(&self, token_id: &str, region: RegionRecord) -> Result<bool, StoreError> {
        Ok(self.redeem_token(token_id, &region).await?)
    }

    async fn region(&self, region_id: &str) -> Result<Option<RegionRecord>, StoreError> {
        Ok(self.region_record(region_id).await?)
    }

    async fn region_ids(&self) -> Result<Vec<String>, StoreError> {
        let ids = sqlx::query_scalar("SELECT id FROM resources WHERE kind = 'Region' ORDER BY id")
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.sort(error))?;
        Ok(ids)
    }

    async fn connection(&self, region_id: &str, connection: RegionConnection) -> Result<(), StoreError> {
        Ok(self.set_connection(region_id, connection).await?)
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    async fn changes_after(&self, region_id: &str, cursor: u64, limit: u32) -> Result<Vec<Change>, StoreError> {
        Ok(self.changes(region_id, cursor, limit).await?)
    }

    async fn objects(&self, region_id: &str) -> Result<(u64, Vec<DesiredObject>), StoreError> {
        Ok(self.all_objects(region_id).await?)
    }

    async fn position(&self, region_id: &str) -> Result<Position, StoreError> {
        Ok(self.log_position(region_id).await?)
    }

    async fn append(
        &self,
        region_id: &str,
        from: &Position,
        rows: Vec<LogRow>,
        to: &Position,
    ) -> Result<(), StoreError> {
        Ok(self.log_append(region_id, from, rows, to).await?)
    }

    async fn rows_after(&self, region_id: &str, epoch: u64, seq: u64, limit: u32) -> Result<Vec<LogRow>, StoreError> {
        Ok(self.log_rows(region_id, epoch, seq, limit).await?)
    }

    async fn trim(&self, region_id: &str, epoch: u64, seq: u64) -> Result<(), StoreError> {
        Ok(self.log_trim(region_id, epoch, seq).await?)
    }

    async fn report(&self, region_id: &str, status: ObjectStatus) -> Result<(), StoreError> {
        let uid = status.uid.clone();
        match report(status) {
            Some(report) => Ok(self.status_report(region_id, &uid, report).await?),
            None => Ok(()),
        }
    }

    async fn confirm_sealed(&self, region_id: &str, confirmation: SealedConfirmation) -> Result<(), StoreError> {
        Ok(self.forget_sealed(region_id, &confirmation).await?)
    }
}
