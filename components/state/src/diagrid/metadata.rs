//! Metadata of `state.diagrid`, under Catalyst's names.
//!
//! Must never get an address or a credential.

use palladium_component::ComponentMetadata;

/// What a component says. Which store, where it is and who asks comes from the region, never from here; the one field is
/// declared so that the catalog knows it.
#[derive(Debug, ComponentMetadata)]
#[allow(dead_code)]
pub struct DiagridMetadata {
    /// Name of the managed key-value store; the component's own name when absent.
    pub state: Option<String>,
}
