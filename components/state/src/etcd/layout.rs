//! How a value lies in etcd: bare (component version v1), or in Dapr's envelope with its time (v2).
//!
//! One idea: only here it matters what the bytes of a value look like; daprd must be able to read what was written.
//! Must never change a field number, nor guess the layout from the bytes: the component's version says it.

use bytes::Bytes;
use palladium_component::StateError;
use palladium_component::state::Metadata;
use prost::Message as _;

use crate::ttl;

/// The layout by component version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    V1,
    V2,
}

/// Dapr's envelope.
#[derive(Clone, PartialEq, prost::Message)]
struct Envelope {
    #[prost(bytes = "bytes", tag = "1")]
    data: Bytes,
    #[prost(message, optional, tag = "2")]
    written: Option<Instant>,
    #[prost(message, optional, tag = "3")]
    ttl: Option<Instant>,
}

/// `google.protobuf.Timestamp` and `Duration` have the same numbers.
#[derive(Clone, PartialEq, prost::Message)]
struct Instant {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl Layout {
    /// Whether a value says itself until when it lives.
    pub(super) fn tells_expiry(self) -> bool {
        self == Self::V2
    }

    pub(super) fn encode(self, data: &Bytes, ttl_seconds: Option<u32>) -> Bytes {
        match self {
            Self::V1 => data.clone(),
            Self::V2 => {
                let at = |seconds| Instant { seconds, nanos: 0 };
                let envelope = Envelope {
                    data: data.clone(),
                    written: Some(at(ttl::now_unix_s())),
                    ttl: ttl_seconds.map(|seconds| at(seconds.into())),
                };
                envelope.encode_to_vec().into()
            }
        }
    }

    pub(super) fn decode(self, stored: Bytes) -> Result<(Bytes, Metadata), StateError> {
        if self == Self::V1 {
            return Ok((stored, Metadata::new()));
        }
        let envelope = Envelope::decode(stored)
            .map_err(|_| StateError::Other("the stored value is not in the layout of version v2".into()))?;
        // Dapr writes a duration of zero where there is none.
        let life = envelope.ttl.map_or(0, |ttl| ttl.seconds);
        let metadata = match envelope.written {
            Some(written) if life > 0 => ttl::response_metadata(written.seconds.saturating_add(life)),
            _ => Metadata::new(),
        };
        Ok((envelope.data, metadata))
    }
}
