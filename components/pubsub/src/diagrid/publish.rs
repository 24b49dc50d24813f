//! Messages as the store takes them.
//!
//! One idea: what Dapr says in metadata about order and time to live becomes a field, once, here; all metadata travels beside
//! the message besides. Must never look into a message's data.

use palladium_component::PubsubError;
use palladium_component::metadata::time_to_live;
use palladium_component::pubsub::{BulkEntry, BulkPublishRequest, Metadata, PublishRequest};
use palladium_proto::store as pb;

const PARTITION_KEY: &str = "partitionKey";
/// Messages in one call, and their bytes: the store takes more.
const CHUNK: usize = 1000;
const CHUNK_BYTES: usize = 8 << 20;
/// What a message counts beside its data, about.
const BESIDE: usize = 512;

/// One message.
pub(super) fn message(request: &PublishRequest, ttl_seconds: u32) -> Result<pb::Message, PubsubError> {
    Ok(pb::Message {
        data: request.data.clone(),
        content_type: request.content_type.clone().unwrap_or_default(),
        partition_key: value(&request.metadata, PARTITION_KEY).unwrap_or_default().to_owned(),
        ttl_seconds: ttl(&request.metadata)?.unwrap_or(ttl_seconds),
        metadata: request.metadata.clone(),
    })
}

/// One of many; what the request says holds where the entry says nothing.
pub(super) fn entry(
    request: &BulkPublishRequest,
    entry: &BulkEntry,
    ttl_seconds: u32,
) -> Result<pb::Message, PubsubError> {
    let mut metadata = request.metadata.clone();
    for (name, value) in &entry.metadata {
        metadata.retain(|other, _| !other.eq_ignore_ascii_case(name));
        metadata.insert(name.clone(), value.clone());
    }
    let one = PublishRequest {
        topic: String::new(),
        data: entry.event.clone(),
        metadata,
        content_type: Some(entry.content_type.clone()),
    };
    message(&one, ttl_seconds)
}

/// Messages in their order, as many at a time as one call takes.
pub(super) fn chunks(messages: Vec<pb::Message>) -> Vec<Vec<pb::Message>> {
    let mut chunks: Vec<Vec<pb::Message>> = Vec::new();
    let mut bytes = 0;
    for message in messages {
        let size = message.data.len() + BESIDE;
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK && bytes + size <= CHUNK_BYTES => {
                bytes += size;
                chunk.push(message);
            }
            _ => {
                bytes = size;
                chunks.push(vec![message]);
            }
        }
    }
    chunks
}

/// The store counts whole seconds, and takes 0 for nothing said: a message that is over at once gets the shortest life that
/// there is.
fn ttl(metadata: &Metadata) -> Result<Option<u32>, PubsubError> {
    let time = time_to_live(metadata).map_err(PubsubError::Invalid)?;
    Ok(time.map(|time| {
        let seconds = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
        u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
    }))
}

fn value<'a>(metadata: &'a Metadata, name: &str) -> Option<&'a str> {
    let found = metadata.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(metadata: &[(&str, &str)]) -> PublishRequest {
        PublishRequest {
            metadata: metadata
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            ..PublishRequest::default()
        }
    }

    #[test]
    fn order_and_time_to_live_are_read_from_metadata() {
        let made = message(
            &request(&[("PartitionKey", "a"), ("ttlInSeconds", "60"), ("x", "y")]),
            7,
        )
        .unwrap();
        assert_eq!((made.partition_key.as_str(), made.ttl_seconds), ("a", 60));
        assert_eq!(made.metadata.get("x").map(String::as_str), Some("y"));
        let seconds = |said: &[(&str, &str)]| message(&request(said), 7).unwrap().ttl_seconds;
        assert_eq!(seconds(&[]), 7);
        assert_eq!(seconds(&[("ttl", "1m500ms")]), 61);
        assert_eq!(seconds(&[("ttl", ""), ("ttlInSeconds", "9")]), 9, "empty is not said");
        assert_eq!(seconds(&[("ttl", "1000000h")]), 3_600_000_000);
        assert_eq!(seconds(&[("ttl", "2000000h")]), u32::MAX);
        for over in ["0", "0s", "-1s", "1ns"] {
            assert_eq!(
                seconds(&[("ttl", over)]),
                1,
                "{over}: not as long as the store keeps messages"
            );
        }
        for wrong in ["-1", "soon"] {
            let error = message(&request(&[("ttlInSeconds", wrong)]), 7).unwrap_err();
            assert!(matches!(error, PubsubError::Invalid(_)), "{error}");
        }
    }

    #[test]
    fn an_entrys_own_word_comes_first() {
        let bulk = BulkPublishRequest {
            metadata: request(&[("ttlInSeconds", "9"), ("partitionKey", "all")]).metadata,
            ..BulkPublishRequest::default()
        };
        let own = BulkEntry {
            metadata: request(&[("TTLInSeconds", "5")]).metadata,
            ..BulkEntry::default()
        };
        let made = entry(&bulk, &own, 0).unwrap();
        assert_eq!((made.ttl_seconds, made.partition_key.as_str()), (5, "all"));
        assert_eq!(entry(&bulk, &BulkEntry::default(), 0).unwrap().ttl_seconds, 9);
    }

    #[test]
    fn many_are_cut_by_number_and_by_bytes() {
        let of = |count: usize, size: usize| {
            let message = pb::Message {
                data: vec![0; size].into(),
                ..pb::Message::default()
            };
            let chunks = chunks(vec![message; count]);
            chunks.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(of(2500, 1), [1000, 1000, 500]);
        assert_eq!(of(3, 4 << 20), [1, 1, 1]);
        assert_eq!(of(5, 3 << 20), [2, 2, 1]);
        assert_eq!(of(1, 20 << 20), [1], "the store says what it thinks of it");
        assert!(of(0, 1).is_empty());
    }
}
