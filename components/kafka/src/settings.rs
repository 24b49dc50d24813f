//! A component's metadata, checked.
//!
//! One idea: all that can be wrong about a component is said when it is opened, by the name of the setting. Must never let a
//! setting through that would be ignored although it asks for more than there is.

use std::time::Duration;

use krafka::Compression;
use krafka::consumer::PartitionAssignmentStrategy as Strategy;
use krafka::producer::Acks;
use palladium_component::{MetadataError, OpenContext, OpenError};
use regex::RegexBuilder;

use crate::again::Again;
use crate::{Headers, KafkaMetadata, Reach};

/// Most messages of a partition that are read ahead.
const MOST_AHEAD: u32 = 10_000;
/// Memory that the compiled form of a regular expression may take.
const MOST_REGEX: usize = 1 << 20;
/// Unless the component says another bound.
const MESSAGE: usize = 1 << 20;
/// Bytes of a compressed batch when it is not compressed any more, unless the component publishes larger messages. A few bytes
/// can become as many.
const UNPACKED: usize = 16 << 20;
/// What a batch takes beside its messages.
const BESIDE: usize = 1 << 20;

/// What a component says.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How the cluster is reached.
    pub reach: Reach,
    /// How it publishes.
    pub writing: Writing,
    /// How it receives.
    pub reading: Reading,
    /// How it carries metadata.
    pub headers: Headers,
}

/// How a component publishes.
#[derive(Debug, Clone)]
pub struct Writing {
    pub(crate) compression: Compression,
    pub(crate) acks: Acks,
    pub(crate) largest: usize,
}

/// How a component receives.
#[derive(Debug, Clone)]
pub struct Reading {
    pub(crate) group: String,
    pub(crate) oldest: bool,
    pub(crate) fetch_min: i32,
    pub(crate) fetch_most: i32,
    pub(crate) unpacked: usize,
    pub(crate) ahead: usize,
    pub(crate) strategy: Strategy,
    pub(crate) heartbeat: Duration,
    pub(crate) session: Duration,
    /// How a record that was not handled is handed out again, if it is.
    pub(crate) again: Option<Again>,
    /// The pause after a failure.
    pub(crate) pause: Duration,
}

impl Settings {
    /// Reads them. `consumer_id`: the group where it is not said as one. `retry`: whether records are handed out again where
    /// the component says nothing about it.
    ///
    /// # Errors
    /// Names the setting that cannot be.
    pub async fn read(
        metadata: &KafkaMetadata,
        consumer_id: Option<&str>,
        context: &OpenContext,
        retry: bool,
    ) -> Result<Self, OpenError> {
        unavailable(metadata)?;
        let exclude = match metadata.exclude_header_meta_regex.as_deref() {
            None | Some("") => None,
            Some(text) => Some(
                RegexBuilder::new(text)
                    .size_limit(MOST_REGEX)
                    .build()
                    .map_err(|error| MetadataError::new("excludeHeaderMetaRegex", error.to_string(), "correct it"))?,
            ),
        };
        Ok(Settings {
            reading: reading(metadata, consumer_id, &context.app_id, retry)?,
            writing: writing(metadata)?,
            headers: Headers {
                exclude,
                escape: metadata.escape_headers,
            },
            reach: Reach::read(metadata, &context.app_id).await?,
        })
    }
}

fn unavailable(metadata: &KafkaMetadata) -> Result<(), MetadataError> {
    let registry = metadata.schema_registry_url.as_deref().unwrap_or_default();
    for (field, asked) in [
        ("schemaRegistryURL", !registry.trim().is_empty()),
        ("useAvroJSON", metadata.use_avro_json),
    ] {
        if asked {
            let reason = "schema registries are not supported";
            return Err(MetadataError::new(
                field,
                reason,
                "remove it; values are sent as they are",
            ));
        }
    }
    let version = metadata.version.as_deref().unwrap_or_default().trim();
    let is_version = version.split('.').all(|part| part.parse::<u32>().is_ok());
    if !version.is_empty() && !is_version {
        let reason = format!("'{version}' is no version");
        return Err(MetadataError::new(
            "version",
            reason,
            "write it as '2.0.0', or remove it",
        ));
    }
    Ok(())
}

fn writing(metadata: &KafkaMetadata) -> Result<Writing, MetadataError> {
    let compression = match metadata.compression.to_ascii_lowercase().as_str() {
        "gzip" => Compression::Gzip,
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4,
        "zstd" => {
            let reason = "'zstd' is read, but not written";
            return Err(MetadataError::new(
                "compression",
                reason,
                "use 'none', 'gzip', 'snappy' or 'lz4'",
            ));
        }
        _ => Compression::None,
    };
    Ok(Writing {
        compression,
        acks: match metadata.producer_required_acks.to_ascii_lowercase().as_str() {
            "local" | "none" => Acks::Leader,
            _ => Acks::All,
        },
        largest: largest(metadata),
    })
}

fn largest(metadata: &KafkaMetadata) -> usize {
    match usize::try_from(metadata.max_message_bytes) {
        Ok(0) | Err(_) => MESSAGE,
        Ok(bytes) => bytes,
    }
}

fn reading(
    metadata: &KafkaMetadata,
    consumer_id: Option<&str>,
    app_id: &str,
    retry: bool,
) -> Result<Reading, MetadataError> {
    if metadata.heartbeat_interval.is_zero() || metadata.heartbeat_interval >= metadata.session_timeout {
        let reason = "it is not between 0 and sessionTimeout";
        return Err(MetadataError::new(
            "heartbeatInterval",
            reason,
            "use about a third of sessionTimeout",
        ));
    }
    for (field, number) in [
        ("consumerFetchMin", metadata.consumer_fetch_min),
        ("consumerFetchDefault", metadata.consumer_fetch_default),
    ] {
        if !(1..=16 << 20).contains(&number) {
            return Err(MetadataError::new(
                field,
                "it is not between 1 and 16 MiB",
                "use a number in between",
            ));
        }
    }
    let pause = metadata.consume_retry_interval.0.unwrap_or_default();
    let said = [metadata.consumer_group.as_deref(), consumer_id, Some(app_id)];
    let mut said = said.into_iter().flatten().map(str::trim);
    Ok(Reading {
        group: said.find(|name| !name.is_empty()).unwrap_or_default().to_owned(),
        oldest: metadata.initial_offset.eq_ignore_ascii_case("oldest"),
        fetch_min: metadata.consumer_fetch_min,
        fetch_most: metadata.consumer_fetch_default,
        unpacked: UNPACKED.max(largest(metadata).saturating_add(BESIDE)),
        ahead: usize::try_from(metadata.channel_buffer_size.clamp(1, MOST_AHEAD)).unwrap_or(1),
        strategy: match metadata.consumer_group_rebalance_strategy.to_ascii_lowercase().as_str() {
            "sticky" => Strategy::CooperativeSticky,
            "roundrobin" => Strategy::RoundRobin,
            _ => Strategy::Range,
        },
        heartbeat: metadata.heartbeat_interval,
        session: metadata.session_timeout,
        again: metadata
            .consume_retry_enabled
            .unwrap_or(retry)
            .then(|| Again::read(metadata)),
        pause: pause.max(Duration::from_millis(10)),
    })
}

#[cfg(test)]
mod tests;
