//! Log rows and positions of regions: bytes that `control-plane/regions` has signed, kept in order.
//!
//! One idea: rows and the log's end move in one transaction, and only from the end that the caller knew. Must never
//! change a row, or leave a gap between two.

use bytes::Bytes;
use palladium_regions::{LogRow, Position};
use sqlx::Row as _;

use crate::store::{signed, unsigned};
use crate::{Error, Store};

impl Store {
    pub(crate) async fn log_position(&self, region_id: &str) -> Result<Position, Error> {
        let row = sqlx::query("SELECT epoch, seq, head, cursor FROM region_positions WHERE region_id = ?1")
            .bind(region_id)
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| self.sort(error))?;
        Ok(row.map_or_else(Position::default, |row| Position {
            epoch: unsigned(row.get("epoch")),
            seq: unsigned(row.get("seq")),
            head: Bytes::from(row.get::<Vec<u8>, _>("head")),
            cursor: unsigned(row.get("cursor")),
        }))
    }

    pub(crate) async fn log_append(
        &self,
        region_id: &str,
        from: &Position,
        rows: Vec<LogRow>,
        to: &Position,
    ) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let moved = sqlx::query(
            "INSERT INTO region_positions (region_id, epoch, seq, head, cursor) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (region_id) DO UPDATE SET epoch = ?2, seq = ?3, head = ?4, cursor = ?5 \
             WHERE epoch = ?6 AND seq = ?7 AND cursor = ?8",
        )
        .bind(region_id)
        .bind(signed(to.epoch))
        .bind(signed(to.seq))
        .bind(to.head.as_ref())
        .bind(signed(to.cursor))
        .bind(signed(from.epoch))
        .bind(signed(from.seq))
        .bind(signed(from.cursor))
        .execute(&mut *tx)
        .await
        .map_err(|error| self.sort(error))?;
        if moved.rows_affected() == 0 {
            return Err(Error::Changed);
        }
        for row in rows {
            sqlx::query(
                "INSERT INTO region_log (region_id, epoch, seq, header, signature, payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .bind(region_id)
            .bind(signed(row.epoch))
            .bind(signed(row.seq))
            .bind(row.header.as_ref())
            .bind(row.signature.as_ref())
            .bind(row.payload.as_ref())
            .execute(&mut *tx)
            .await
            .map_err(|error| self.sort(error))?;
        }
        tx.commit().await.map_err(|error| self.sort(error))
    }

    pub(crate) async fn log_rows(
        &self,
        region_id: &str,
        epoch: u64,
        after: u64,
        limit: u32,
    ) -> Result<Vec<LogRow>, Error> {
        let rows = sqlx::query(
            "SELECT epoch, seq, header, signature, payload FROM region_log \
             WHERE region_id = ?1 AND epoch = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4",
        )
        .bind(region_id)
        .bind(signed(epoch))
        .bind(signed(after))
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .map_err(|error| self.sort(error))?;
        let bytes = |row: &sqlx::sqlite::SqliteRow, column: &str| Bytes::from(row.get::<Vec<u8>, _>(column));
        Ok(rows
            .iter()
            .map(|row| LogRow {
                epoch: unsigned(row.get("epoch")),
                seq: unsigned(row.get("seq")),
                header: bytes(row, "header"),
                signature: bytes(row, "signature"),
                payload: bytes(row, "payload"),
            })
            .collect())
    }

    pub(crate) async fn log_trim(&self, region_id: &str, epoch: u64, seq: u64) -> Result<(), Error> {
        sqlx::query("DELETE FROM region_log WHERE region_id = ?1 AND (epoch < ?2 OR (epoch = ?2 AND seq <= ?3))")
            .bind(region_id)
            .bind(signed(epoch))
            .bind(signed(seq))
            .execute(&self.writer)
            .await
            .map_err(|error| self.sort(error))?;
        Ok(())
    }
}
