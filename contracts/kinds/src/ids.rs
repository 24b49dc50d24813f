//! Identifiers that are never reused: `org-`, `prj-`, `reg-` and 12 random base32 characters; UUIDv7 uids.
//!
//! One idea: an id is a validated newtype, so a project's name can never be passed where its id is meant.
//!
//! Must never: accept an id that could not have been generated here (they end up in SPIFFE IDs, host names and paths).

use std::fmt;
use std::str::FromStr;

use rand::Rng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const RANDOM_CHARACTERS: usize = 12;

/// The text is not an id of the expected type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id: expected {prefix} and 12 characters of a-z and 2-7")]
pub struct IdError {
    prefix: &'static str,
}

/// `length` random characters of lower-case base32.
pub fn random_base32(length: usize) -> String {
    let mut rng = rand::rng();
    (0..length)
        .map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]))
        .collect()
}

/// A new time-ordered uid.
pub fn new_uid() -> String {
    uuid::Uuid::now_v7().to_string()
}

fn matches(prefix: &str, text: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|tail| tail.len() == RANDOM_CHARACTERS && tail.bytes().all(|b| ALPHABET.contains(&b)))
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// What every id of this type begins with.
            pub const PREFIX: &'static str = $prefix;

            /// A fresh random id.
            pub fn generate() -> Self {
                Self(format!("{}{}", $prefix, random_base32(RANDOM_CHARACTERS)))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                if matches($prefix, text) { Ok(Self(text.to_owned())) } else { Err(IdError { prefix: $prefix }) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                String::schema()
            }
        }

        impl utoipa::ToSchema for $name {}
    };
}

id!(
    /// An organization.
    OrganizationId,
    "org-"
);
id!(
    /// A project: the unit of isolation; the namespace part of every SPIFFE ID in it.
    ProjectId,
    "prj-"
);
id!(
    /// A region; its trust domain is `<region id>.palladium.internal`.
    RegionId,
    "reg-"
);

/// True when a *name* could be taken for an id; such names are refused, so that "by id or name" is never ambiguous.
pub fn looks_like_id(text: &str) -> bool {
    [OrganizationId::PREFIX, ProjectId::PREFIX, RegionId::PREFIX]
        .iter()
        .any(|prefix| matches(prefix, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_ids_parse_and_foreign_ones_do_not() {
        let id = ProjectId::generate();
        assert_eq!(id.as_str().parse::<ProjectId>().unwrap(), id);
        assert!(id.as_str().parse::<RegionId>().is_err());
        for bad in [
            "",
            "prj-",
            "prj-abc",
            "prj-ABCDEFGHIJKL",
            "prj-abcdefghijk1",
            "prj-abcdefghijkl/",
            "prj-abcdefghijklm",
        ] {
            assert!(bad.parse::<ProjectId>().is_err(), "{bad}");
        }
    }
}
