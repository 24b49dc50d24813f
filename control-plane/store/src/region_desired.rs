//! What a region is to have: changed objects, all objects, and the sealed values that travel with them until it has them.
//!
//! Must never give one region what is another's, or a sealed value that the region has confirmed.

use std::collections::HashMap;

use palladium_proto::region::SealedConfirmation;
use palladium_regions::{Change, DesiredObject};
use palladium_sealing::SealedValue;
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use crate::resource::{Resource, from_row, select};
use crate::store::{signed, unsigned};
use crate::{Error, Store};

impl Store {
    pub(crate) async fn changes(&self, region_id: &str, cursor: u64, limit: u32) -> Result<Vec<Change>, Error> {
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

    pub(crate) async fn all_objects(&self, region_id: &str) -> Result<(u64, Vec<DesiredObject>), Error> {
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

    pub(crate) async fn forget_sealed(&self, region_id: &str, confirmed: &SealedConfirmation) -> Result<(), Error> {
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
