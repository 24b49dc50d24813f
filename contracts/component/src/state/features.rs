//! What a state store can do, under the names that Dapr's metadata endpoint reports.
//!
//! One idea: a set in one byte, with names that programs read from the metadata endpoint. Must never be guessed from a
//! type: each store says it.

use std::fmt;

/// One capability of a state store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Feature {
    /// Optimistic concurrency by etag.
    Etag = 0,
    /// Several operations, all or none.
    Transactional = 1,
    /// Dapr's query API (alpha).
    QueryApi = 2,
    /// Keys that expire.
    Ttl = 3,
    /// Deleting all keys below a prefix.
    DeleteWithPrefix = 4,
    /// Keys are spread by a partition key.
    PartitionKey = 5,
    /// Listing keys by an SQL pattern.
    KeysLike = 6,
}

const ALL: [Feature; 7] = [
    Feature::Etag,
    Feature::Transactional,
    Feature::QueryApi,
    Feature::Ttl,
    Feature::DeleteWithPrefix,
    Feature::PartitionKey,
    Feature::KeysLike,
];

impl Feature {
    /// The name on the wire, for instance `ETAG`.
    pub fn name(self) -> &'static str {
        match self {
            Feature::Etag => "ETAG",
            Feature::Transactional => "TRANSACTIONAL",
            Feature::QueryApi => "QUERY_API",
            Feature::Ttl => "TTL",
            Feature::DeleteWithPrefix => "DELETE_WITH_PREFIX",
            Feature::PartitionKey => "PARTITION_KEY",
            Feature::KeysLike => "KEYS_LIKE",
        }
    }

    /// The feature with that name on the wire, if it is a known one.
    pub fn from_name(name: &str) -> Option<Self> {
        ALL.into_iter()
            .find(|feature| feature.name().eq_ignore_ascii_case(name))
    }
}

/// A set of [`Feature`]s.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Features(u8);

impl Features {
    /// No feature.
    pub const NONE: Features = Features(0);

    /// This set and one feature more.
    pub const fn with(self, feature: Feature) -> Self {
        Features(self.0 | 1 << feature as u8)
    }

    /// Whether the set has this feature.
    pub const fn has(self, feature: Feature) -> bool {
        self.0 & (1 << feature as u8) != 0
    }

    /// The names on the wire, in a fixed order.
    pub fn names(self) -> Vec<&'static str> {
        ALL.into_iter()
            .filter(|feature| self.has(*feature))
            .map(Feature::name)
            .collect()
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}
