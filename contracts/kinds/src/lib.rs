//! The resource kinds: what an object looks like, which rules it obeys and which actions exist on it.
//!
//! One idea: a kind is *data plus pure functions* ([`KindDefinition`]); storage, REST routes, OpenAPI, the role matrix, CLI tables
//! and the region's payload all follow from it. One folder per kind, one line in [`registry`].
//!
//! Must never: do I/O, decide authorization (it only names the class of every action), or hold a secret outside of the value that
//! the caller handed in.

#![forbid(unsafe_code)]

pub mod action;
pub mod api_key;
pub mod app_identity;
pub mod audit_event;
pub mod component;
pub mod configuration;
pub mod decode;
pub mod definition;
pub mod duration;
pub mod error;
pub mod expression;
pub mod headers;
pub mod http_endpoint;
pub mod ids;
pub mod meta;
pub mod names;
pub mod project;
pub mod region;
pub mod registry;
pub mod resiliency;
pub mod role;
pub mod scopes;
pub mod secret_ref;
pub mod status;
pub mod subscription;
pub mod timestamp;
pub mod values;

pub use action::{Action, Class};
pub use definition::{KindDefinition, Scope};
pub use error::{ErrorBody, FieldError, FieldErrors};
pub use ids::{OrganizationId, ProjectId, RegionId};
pub use meta::{Metadata, Object};
pub use role::{Grant, Role, RoleScope};
pub use timestamp::Timestamp;
