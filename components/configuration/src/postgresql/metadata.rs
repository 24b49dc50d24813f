//! Metadata of `configuration.postgresql`, under Dapr's names.
//!
//! One idea: the way to the server is said as for every component on PostgreSQL, see `PostgresMetadata`; what is said here is
//! where items are and who tells of their changes. Must never let a name through that could be more than a name.

use palladium_component::{ComponentMetadata, MetadataError};
use palladium_components_sql::check_table;

/// Longer names of channels are no names to PostgreSQL.
const LONGEST_CHANNEL: usize = 63;

/// What only a configuration store takes.
#[derive(Debug, ComponentMetadata)]
pub(super) struct ConfigurationMetadata {
    /// Table with the columns key, value, version and metadata, with a schema before it if needed. It must be there.
    pub(super) table: String,
    /// Channel on which a trigger of the table tells of changes. When absent, subscriptions name one as 'pgNotifyChannel'.
    #[metadata(alias = "pgNotifyChannel")]
    pub(super) notify_channel: Option<String>,
}

impl ConfigurationMetadata {
    /// What the types alone cannot say.
    pub(super) fn check(&self) -> Result<(), MetadataError> {
        check_table("table", &self.table, true)?;
        match self.channel() {
            Some(channel) => check_channel(channel)
                .map_err(|reason| MetadataError::new("notifyChannel", reason, "use small letters, digits and '_'")),
            None => Ok(()),
        }
    }

    pub(super) fn channel(&self) -> Option<&str> {
        self.notify_channel.as_deref().filter(|channel| !channel.is_empty())
    }
}

/// Why something is no channel: as in Dapr, capital letters are none, since SQL that does not quote them changes them.
pub(super) fn check_channel(channel: &str) -> Result<(), &'static str> {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"./_".contains(&byte);
    if channel.len() > LONGEST_CHANNEL {
        return Err("it is longer than 63 bytes");
    }
    match channel.bytes().all(known) {
        true => Ok(()),
        false => Err("it is no name of a channel"),
    }
}
