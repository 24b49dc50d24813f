//! Changes as data: what [`Store::commit`](crate::Store::commit) applies, all or nothing, together with one audit event.
//!
//! Must never hold a secret in clear.

use std::collections::BTreeMap;

use palladium_kinds::{ProjectId, RegionId};
use palladium_regions::JoinTokenRecord;
use palladium_sealing::SealedValue;
use serde_json::{Map, Value};

use crate::keys::NewApiKey;

/// One step of a commit.
#[derive(Debug, Clone)]
pub enum Mutation {
    /// Makes an object.
    Create(Create),
    /// Changes what is wanted of an object.
    Update(Update),
    /// Marks an object, and for a project everything in it, as being deleted; without finalizers it is gone at once.
    Delete {
        /// Which object.
        uid: String,
        /// The generation that the decision was made upon.
        generation: u64,
    },
    /// Keeps a new API key (its digest).
    CreateKey(NewApiKey),
    /// Revokes an API key.
    DeleteKey {
        /// `key-…`
        id: String,
    },
    /// Keeps a region's join token (its digest).
    CreateJoinToken(JoinTokenRecord),
}

/// A new object.
#[derive(Debug, Clone)]
pub struct Create {
    /// `AppIdentity`
    pub kind: String,
    /// The project that it goes into; `None` for objects of the organization.
    pub project: Option<ProjectId>,
    /// Its own `prj-…` or `reg-…`; empty for other kinds.
    pub id: String,
    /// The region that is told; `None` = none. Objects in a project go where the project is, whatever stands here.
    pub region: Option<RegionId>,
    /// Canonical name.
    pub name: String,
    /// Never used before.
    pub uid: String,
    /// Content without secrets.
    pub content: Map<String, Value>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Who must let go before it disappears.
    pub finalizers: Vec<String>,
    /// Extracted secrets.
    pub sealed: Vec<SealedSecret>,
}

/// A changed object.
#[derive(Debug, Clone)]
pub struct Update {
    /// Which object.
    pub uid: String,
    /// The generation that the change was made upon; another one now means [`Error::Changed`](crate::Error::Changed).
    pub generation: u64,
    /// Whole new content without secrets.
    pub content: Map<String, Value>,
    /// Whole new labels.
    pub labels: BTreeMap<String, String>,
    /// Whole new annotations.
    pub annotations: BTreeMap<String, String>,
    /// Newly extracted secrets; each replaces the older one of its field.
    pub sealed: Vec<SealedSecret>,
    /// Fields whose secrets are gone from the content.
    pub forgotten: Vec<String>,
}

/// An extracted secret.
#[derive(Debug, Clone)]
pub struct SealedSecret {
    /// Sealed to the region, bound to its place and version.
    pub value: SealedValue,
    /// Keyed hash of the plaintext.
    pub fingerprint: [u8; 32],
}
