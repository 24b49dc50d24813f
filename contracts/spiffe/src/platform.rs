//! The names of the platform's own roles, so that no two crates spell them differently.
//!
//! Paths only; which trust domain they are looked for in is the reader's business. Must never lose a name to another
//! meaning: certificates and lists of permitted peers are written in them.

use crate::{ParseError, SpiffeId, TrustDomain};

/// Namespace of the platform's own roles.
pub const NAMESPACE: &str = "palladium";
/// Namespace, in the control plane's trust domain, of the regions' identities.
pub const REGION_NAMESPACE: &str = "region";
/// The zone's certificate authority.
pub const SENTRY: &str = "/ns/palladium/dapr-sentry";
/// The region's agent.
pub const AGENT: &str = "/ns/palladium/agent";
/// The region's gateways.
pub const GATEWAY: &str = "/ns/palladium/gateway";
/// The region's managed services.
pub const STORE: &str = "/ns/palladium/store";
/// The control plane's server.
pub const CONTROL_PLANE: &str = "/ns/palladium/control-plane";

/// Trust domain of a zone, by its immutable id: `<region id>` or `<org id>`.
pub fn trust_domain(zone_id: &str) -> Result<TrustDomain, ParseError> {
    TrustDomain::parse(&format!("{zone_id}.palladium.internal"))
}

/// The ID of a region towards the control plane.
pub fn region(control: &TrustDomain, region_id: &str) -> Result<SpiffeId, ParseError> {
    SpiffeId::workload(control, REGION_NAMESPACE, region_id)
}
