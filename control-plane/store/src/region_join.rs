//! How a region joins: its tokens, spent once, and the keys that it registers with one.
//!
//! Must never keep a token in clear, or let a region that has joined be replaced by another token.

use palladium_kinds::{RegionId, Timestamp};
use palladium_regions::{JoinTokenRecord, RegionRecord};
use sqlx::Row as _;

use crate::commit::Tx;
use crate::{Error, Store};

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

    pub(crate) async fn redeem_token(&self, token_id: &str, region: &RegionRecord) -> Result<bool, Error> {
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

    pub(crate) async fn keep_join_token(&self, token: &JoinTokenRecord) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        self.join_token_insert(&mut tx, token).await?;
        tx.commit().await.map_err(|error| self.sort(error))
    }

    pub(crate) async fn join_token_insert(&self, tx: &mut Tx, token: &JoinTokenRecord) -> Result<(), Error> {
        sqlx::query("INSERT INTO join_tokens (id, region_id, secret_sha256, expires_at) VALUES (?1, ?2, ?3, ?4)")
            .bind(&token.id)
            .bind(&token.region_id)
            .bind(token.secret_sha256.as_slice())
            .bind(token.expires_at_unix_ms)
            .execute(&mut **tx)
            .await
            .map_err(|error| self.sort(error))?;
        Ok(())
    }

    pub(crate) async fn unused_join_token(&self, id: &str) -> Result<Option<JoinTokenRecord>, Error> {
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
}
