//! State stores of the user's own, in processes beside the Dapr Server.
//!
//! The one idea: a socket whose server has the state store service is the component type `state.<name of the socket>`.
//! Only in a process of the user's own; a tenant's Dapr Server never looks.

use std::sync::Arc;

use palladium_component::{OpenContext, OpenError, StateStore};
use palladium_components_pluggable::{Found, HEADER};

use crate::diagrid::header;
use crate::grpc::{self, RemoteStore};

/// The service that makes a socket a state store.
const SERVICE: &str = "dapr.proto.components.v1.StateStore";

/// Opens a component of a type that no driver has, if one of the sockets is meant.
pub async fn open(
    found: &[Found],
    type_name: &str,
    context: OpenContext,
) -> Option<Result<Arc<dyn StateStore>, OpenError>> {
    let found = found.iter().find(|found| found.is("state.", SERVICE, type_name))?;
    Some(on_socket(found, context).await)
}

async fn on_socket(found: &Found, context: OpenContext) -> Result<Arc<dyn StateStore>, OpenError> {
    let channel = grpc::channel(Arc::new(found.socket.clone()));
    let store = RemoteStore::open(channel, header(HEADER, &context.component)?, &context.properties).await;
    let store = store.map_err(|error| OpenError::Unavailable(error.to_string()))?;
    Ok(Arc::new(store.always_queryable()))
}
