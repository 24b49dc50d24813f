//! `state.diagrid`: the region's managed key-value store.
//!
//! The one idea: this driver holds no address and no credential. The Dapr Server hands it streams to the store process,
//! already mutually authenticated; the store knows the caller from its certificate alone, and the component by name
//! from one header that only chooses among the caller's own components. Must never dial by itself, nor send the
//! component's metadata to the store.

mod metadata;

use std::sync::Arc;

use palladium_component::state::StateStore;
use palladium_component::{ComponentMetadata, Hosted, OpenContext, OpenError, StateDriver, Status};

use crate::grpc::{self, Header, RemoteStore};
use metadata::DiagridMetadata;

/// The driver.
pub const DRIVER: StateDriver = StateDriver {
    type_name: "state.diagrid",
    aliases: &[],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields: DiagridMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// Names the component towards the store process.
const HEADER: &str = "palladium-component";

async fn open(context: OpenContext) -> Result<Arc<dyn StateStore>, OpenError> {
    DiagridMetadata::parse(&context.properties)?;
    let Some(connector) = context.managed else {
        let message =
            "state.diagrid needs a region with managed services: create the component in a project of a region";
        return Err(OpenError::NotAllowed(message.into()));
    };
    let header = header(HEADER, &context.component)?;
    // The component's metadata stays here: the store learns what it must know from the agent.
    let store = RemoteStore::open(grpc::channel(connector), header, &Default::default()).await;
    let store = store
        .map_err(|error| OpenError::Unavailable(format!("the managed store did not take the component: {error}")))?;
    Ok(Arc::new(store))
}

/// A header with a component's name in it.
pub(crate) fn header(name: &'static str, component: &str) -> Result<Header, OpenError> {
    let value = component
        .parse()
        .map_err(|_| OpenError::NotAllowed(format!("component name {component:?} is not printable ASCII")))?;
    Ok(Header { name, value })
}
