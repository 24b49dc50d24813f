//! `state.etcd`: an etcd cluster, in the layouts of Dapr's own driver, so that daprd and this driver can share one.
//!
//! The one idea: every write is one etcd transaction that checks and writes in one step; etags are modification
//! revisions; a TTL is a lease, and when a read says until when a key lives, v1 asks the lease and v2 the value. As in
//! Dapr, a component opens without its cluster, and calls fail until it is there. TLS is not spoken yet: a component
//! that asks for it is refused. Must never open a component in the clear that asked for TLS.

mod cluster;
mod layout;
mod store;
mod wire;

use std::sync::Arc;

use palladium_component::state::StateStore;
use palladium_component::{ComponentMetadata, Hosted, MetadataError, OpenContext, OpenError, StateDriver, Status};

use cluster::Cluster;
use layout::Layout;
use store::EtcdStore;

/// The driver.
pub const DRIVER: StateDriver = StateDriver {
    type_name: "state.etcd",
    aliases: &[],
    versions: &["v1", "v2"],
    status: Status::Beta,
    hosted: Hosted::Allowed,
    fields: EtcdMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// Metadata of `state.etcd`, under Dapr's names.
#[derive(Debug, ComponentMetadata)]
struct EtcdMetadata {
    /// Addresses of the cluster's members, separated by commas.
    #[metadata(required)]
    endpoints: String,
    /// Put before every key, with a slash between.
    #[metadata(default = "")]
    key_prefix_path: String,
    /// Whether to use TLS. Not available yet: only "false" is accepted.
    #[metadata(name = "tlsEnable", default = "false")]
    tls_enable: bool,
    /// Most operations in one transaction, as the cluster is configured.
    #[metadata(default = "128")]
    max_txn_ops: u32,
}

async fn open(context: OpenContext) -> Result<Arc<dyn StateStore>, OpenError> {
    let metadata = EtcdMetadata::parse(&context.properties)?;
    if metadata.tls_enable {
        let remedy = "use a cluster on a trusted network with tlsEnable: false";
        return Err(MetadataError::new("tlsEnable", "TLS to etcd is not available yet", remedy).into());
    }
    let layout = match context.version.eq_ignore_ascii_case("v2") {
        true => Layout::V2,
        false => Layout::V1,
    };
    let limit = usize::try_from(metadata.max_txn_ops).unwrap_or(usize::MAX);
    Ok(Arc::new(EtcdStore::new(
        Cluster::new(&metadata.endpoints)?,
        metadata.key_prefix_path,
        layout,
        limit,
    )))
}
