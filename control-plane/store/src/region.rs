//! What the region stream needs: `palladium_regions::RegionStore` over this store.
//!
//! Must never change what is wanted: joining, logs, status, and forgetting sealed values are all that happens here.

use std::collections::HashMap;

use palladium_kinds::status::{Report, Verdict, word};
use palladium_kinds::{RegionId, Timestamp};
use palladium_proto::region::{ObjectStatus, SealedConfirmation, Verdict as WireVerdict};
use palladium_regions::{
    Change, DesiredObject, JoinTokenRecord, LogRow, Position, RegionConnection, RegionRecord, RegionStore, StoreError,
};
use palladium_sealing::SealedValue;
use serde_json::{Map, Value, json};
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::watch;

use crate::resource::{Resource, from_row, select, text, version};
use crate::store::{signed, unsigned};
use crate::{Error, Store};

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        StoreError(error.to_string())
    }
}

impl Store {
    /// A region's registered keys; `None` when it has not joined.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn region_record(&self, region_id: &str) -> Result<Option<RegionRecord>, Error> {
        let row = sqlx::query("SELECT * FROM regions WHERE region_id = ?1")
            .bind(region_id)
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| self.sort(error))?;
        Ok(row.map(|row| RegionRecord {
            region_id: row.get("region_id"),
            key_spki: row.get::<Vec<u8>, _>("key_spki").into(),
            hpke_public_key: row.get::<Vec<u8>, _>("hpke_public_key").into(),
            hpke_key_id: row.get("hpke_key_id"),
        }))
    }

    /// True while an unused, unexpired join token of the region exists.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn join_token_pending(&self, region_id: &RegionId) -> Result<bool, Error> {
        let count: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM join_tokens WHERE region_id = ?1 AND used_at IS NULL AND expires_at > ?2",
        )
        .bind(region_id.as_str())
        .bind(Timestamp::now().unix_millis())
        .fetch_one(&self.readers)
        .await
        .map_err(|error| self.sort(error))?;
        Ok(count > 0)
    }

    async fn redeem_token(&self, token_id: &str, region: &RegionRecord) -> Result<bool, Error> {
        let now = Timestamp::now().unix_millis();
        let mut tx = self.begin().await?;
        let used =
            sqlx::query("UPDATE join_tokens SET used_at = ?3 WHERE id = ?1 AND region_id = ?2 AND used_at IS NULL")
                .bind(token_id)
                .bind(&region.region_id)
                .bind(now)
                .execute(&mut *tx)
                .await
                .map_err(|error| self.sort(error))?;
        // A region joins once; its key is then its lasting credential, and another token changes nothing.
        let joined = sqlx::query(
            "INSERT INTO regions (region_id, key_spki, hpke_public_key, hpke_key_id, joined_at) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (region_id) DO NOTHING",
        )
        .bind(&region.region_id)
        .bind(region.key_spki.as_ref())
        .bind(region.hpke_public_key.as_ref())
        .bind(&region.hpke_key_id)
        .bind(now)
        .execute(&mut *tx)
        .await
        .map_err(|error| self.sort(error))?;
        if used.rows_affected() == 0 || joined.rows_affected() == 0 {
            return Ok(false);
        }
        // Whatever other tokens exist are of no use any more.
        sqlx::query("DELETE FROM join_tokens WHERE region_id = ?1 AND used_at IS NULL")
            .bind(&region.region_id)
            .execute(&mut *tx)
            .await
            .map_err(|error| self.sort(error))?;
        tx.commit().await.map_err(|error| self.sort(error))?;
        Ok(true)
    }

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

    async fn changes(&self, region_id: &str, cursor: u64, limit: u32) -> Result<Vec<Change>, Error> {
        let mut tx = self.readers.begin().await.map_err(|error| self.sort(error))?;
        let rows = sqlx::query("SELECT seq, uid FROM changes WHERE region_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3")
            .bind(region_id)
            .bind(signed(cursor))
            .bind(limit)
            .fetch_all(&mut *tx)
            .await
            .map_err(|error| self.sort(error))?;
        let mut changes = Vec::with_capacity(rows.len());
        for row in rows {
            let uid: String = row.get("uid");
            let object = sqlx::query(select!("WHERE r.uid = ?1"))
                .bind(&uid)
                .fetch_optional(&mut *tx)
                .await
                .map_err(|error| self.sort(error))?;
            let object = object.as_ref().map(from_row).transpose()?;
            let sealed = self.sealed_of(&mut tx, &uid).await?;
            changes.push(Change {
                cursor: unsigned(row.get("seq")),
                object: object.map(|object| desired(object, sealed)),
            });
        }
        Ok(changes)
    }

    async fn all_objects(&self, region_id: &str) -> Result<(u64, Vec<DesiredObject>), Error> {
        let mut tx = self.readers.begin().await.map_err(|error| self.sort(error))?;
        let cursor: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(seq), 0) FROM changes WHERE region_id = ?1")
            .bind(region_id)
            .fetch_one(&mut *tx)
            .await
            .map_err(|error| self.sort(error))?;
        let rows = sqlx::query(select!(
            "WHERE r.region_id = ?1 AND r.kind <> 'Region' ORDER BY r.desired_version"
        ))
        .bind(region_id)
        .fetch_all(&mut *tx)
        .await
        .map_err(|error| self.sort(error))?;
        let sealed_rows = sqlx::query(
            "SELECT s.* FROM sealed s JOIN resources r ON r.uid = s.uid WHERE r.region_id = ?1 AND s.ciphertext IS NOT NULL",
        )
        .bind(region_id)
        .fetch_all(&mut *tx)
        .await
        .map_err(|error| self.sort(error))?;
        let mut sealed: HashMap<String, Vec<SealedValue>> = HashMap::new();
        for row in &sealed_rows {
            sealed.entry(row.get("uid")).or_default().push(sealed_value(row));
        }
        let mut objects = Vec::with_capacity(rows.len());
        for row in &rows {
            let object = from_row(row)?;
            let values = sealed.remove(&object.uid).unwrap_or_default();
            objects.push(desired(object, values));
        }
        Ok((unsigned(cursor), objects))
    }

    async fn sealed_of(&self, connection: &mut SqliteConnection, uid: &str) -> Result<Vec<SealedValue>, Error> {
        let rows = sqlx::query("SELECT * FROM sealed WHERE uid = ?1 AND ciphertext IS NOT NULL ORDER BY field")
            .bind(uid)
            .fetch_all(connection)
            .await
            .map_err(|error| self.sort(error))?;
        Ok(rows.iter().map(sealed_value).collect())
    }

    async fn forget_sealed(&self, region_id: &str, confirmed: &SealedConfirmation) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let ciphertext: Option<Option<String>> = sqlx::query_scalar(
            "SELECT s.ciphertext FROM sealed s JOIN resources r ON r.uid = s.uid \
             WHERE s.uid = ?1 AND s.field = ?2 AND s.version = ?3 AND r.region_id = ?4",
        )
        .bind(&confirmed.uid)
        .bind(&confirmed.field)
        .bind(signed(confirmed.version))
        .bind(region_id)
        .fetch_optional(&mut *tx)
        .await
        .map_err(|error| self.sort(error))?;
        let Some(Some(ciphertext)) = ciphertext else {
            return Ok(());
        };
        sqlx::query("UPDATE sealed SET ciphertext = NULL WHERE uid = ?1 AND field = ?2")
            .bind(&confirmed.uid)
            .bind(&confirmed.field)
            .execute(&mut *tx)
            .await
            .map_err(|error| self.sort(error))?;
        // A signed row cannot be edited: it goes as a whole, and a region that still needs it gets a snapshot.
        sqlx::query("DELETE FROM region_log WHERE region_id = ?1 AND instr(payload, CAST(?2 AS BLOB)) > 0")
            .bind(region_id)
            .bind(&ciphertext)
            .execute(&mut *tx)
            .await
            .map_err(|error| self.sort(error))?;
        tx.commit().await.map_err(|error| self.sort(error))
    }
}

fn sealed_value(row: &sqlx::sqlite::SqliteRow) -> SealedValue {
    SealedValue {
        field: row.get("field"),
        version: unsigned(row.get("version")),
        key_id: row.get("key_id"),
        ciphertext: row.get("ciphertext"),
    }
}

fn desired(resource: Resource, sealed: Vec<SealedValue>) -> DesiredObject {
    let object = resource.to_object();
    DesiredObject {
        api_version: object.api_version,
        kind: resource.kind,
        project_id: object.metadata.project_id.map(|id| id.to_string()).unwrap_or_default(),
        project_name: resource.project_name,
        name: resource.name,
        uid: resource.uid,
        generation: resource.generation,
        labels: resource.labels,
        annotations: resource.annotations,
        content: resource.content,
        sealed,
        deleting: resource.deleted_at.is_some(),
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
        sqlx::query("INSERT INTO join_tokens (id, region_id, secret_sha256, expires_at) VALUES (?1, ?2, ?3, ?4)")
            .bind(&token.id)
            .bind(&token.region_id)
            .bind(token.secret_sha256.as_slice())
            .bind(token.expires_at_unix_ms)
            .execute(&self.writer)
            .await
            .map_err(|error| self.sort(error))?;
        Ok(())
    }

    async fn join_token(&self, id: &str) -> Result<Option<JoinTokenRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM join_tokens WHERE id = ?1 AND used_at IS NULL")
            .bind(id)
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| self.sort(error))?;
        row.map(|row| {
            let digest: Vec<u8> = row.get("secret_sha256");
            Ok(JoinTokenRecord {
                id: row.get("id"),
                region_id: row.get("region_id"),
                secret_sha256: digest.try_into().map_err(|_| Error::Corrupt { what: "join token" })?,
                expires_at_unix_ms: row.get("expires_at"),
            })
        })
        .transpose()
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
