//! Reading what is pending, beside the writer.
//!
//! One idea: numbers are few and small, so a group's queue in memory holds numbers, and a message is read when it goes
//! out. Must never give out a message that has expired.

use bytes::Bytes;
use palladium_proto::store::Message;
use prost::Message as _;
use sqlx::Row as _;

use super::super::{Project, StorageError, now_ms};
use super::{Entry, ID, Token, schema};

impl Project {
    /// Encrypts a message for its place.
    pub(crate) fn seal_message(
        &self,
        component: &str,
        topic: &str,
        id: &[u8; ID],
        message: &Message,
    ) -> Result<Vec<u8>, StorageError> {
        self.key
            .seal(&self.id, component, &place(topic, id), &message.encode_to_vec())
    }

    /// What is pending for a group after a number, in order, at most so many.
    pub(crate) async fn pending(&self, group: i64, after: i64, most: usize) -> Result<Vec<Entry>, StorageError> {
        let rows = sqlx::query(schema::PAGE)
            .bind(group)
            .bind(after)
            .bind(now_ms())
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .fetch_all(&self.readers)
            .await?;
        rows.iter()
            .map(|row| {
                let id: &[u8] = row.try_get(1)?;
                Ok(Entry {
                    token: Token {
                        seq: row.try_get(0)?,
                        id: id
                            .try_into()
                            .map_err(|_| StorageError::Other("a stored message is damaged: its name".into()))?,
                    },
                    part: row.try_get(2)?,
                    size: usize::try_from(row.try_get::<i64, _>(3)?).unwrap_or(usize::MAX),
                    expires_ms: row.try_get(4)?,
                })
            })
            .collect()
    }

    /// A message; `None` when it is gone, has expired or does not open.
    pub(crate) async fn message(
        &self,
        component: &str,
        topic: &str,
        token: &Token,
    ) -> Result<Option<Message>, StorageError> {
        let found = sqlx::query(schema::SEALED)
            .bind(token.seq)
            .bind(&token.id[..])
            .bind(now_ms())
            .fetch_optional(&self.readers)
            .await?;
        let Some(row) = found else { return Ok(None) };
        let content = self
            .key
            .open(&self.id, component, &place(topic, &token.id), row.try_get(0)?);
        let message = content.and_then(|content| {
            let message = Message::decode(Bytes::from(content));
            message.map_err(|error| StorageError::Other(format!("a stored message is damaged: {error}")))
        });
        // One that is damaged must not hold up the others.
        Ok(message
            .inspect_err(|error| tracing::error!(%error, number = token.seq, "a message is not delivered"))
            .ok())
    }
}

/// Where a message belongs: moved to another topic or put under another name, it does not open.
fn place(topic: &str, id: &[u8; ID]) -> String {
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("message {id} {topic}")
}
