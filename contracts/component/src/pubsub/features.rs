//! What a publish/subscribe component can do, under the names that Dapr's metadata endpoint reports.
//!
//! One idea: a set in one byte. Must never be guessed from a type: each component says it.

use std::fmt;

/// One capability of a publish/subscribe component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Feature {
    /// The broker itself drops what is too old.
    MessageTtl = 0,
    /// Topics of a subscription may be patterns.
    SubscribeWildcards = 1,
    /// Many messages in one call.
    BulkPublish = 2,
    /// Messages come one after the other, so that waiting for more of them to fill a batch is in vain.
    BulkSubscribeImmediate = 3,
}

const ALL: [Feature; 4] = [
    Feature::MessageTtl,
    Feature::SubscribeWildcards,
    Feature::BulkPublish,
    Feature::BulkSubscribeImmediate,
];

impl Feature {
    /// The name on the wire, for instance `MESSAGE_TTL`.
    pub fn name(self) -> &'static str {
        match self {
            Feature::MessageTtl => "MESSAGE_TTL",
            Feature::SubscribeWildcards => "SUBSCRIBE_WILDCARDS",
            Feature::BulkPublish => "BULK_PUBSUB",
            Feature::BulkSubscribeImmediate => "BULK_SUBSCRIBE_IMMEDIATE",
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
    /// The empty set.
    pub const NONE: Features = Features(0);

    /// This set and one more feature.
    #[must_use]
    pub const fn with(self, feature: Feature) -> Self {
        Features(self.0 | 1 << feature as u8)
    }

    /// Whether a feature is in the set.
    pub const fn has(self, feature: Feature) -> bool {
        self.0 & 1 << feature as u8 != 0
    }

    /// The names on the wire.
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
