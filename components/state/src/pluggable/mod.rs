//! Pluggable components: state stores of the user's own, in processes beside the Dapr Server, found as Unix sockets.
//!
//! The one idea: as in Dapr, a socket `<name>.sock` in the sockets folder whose server implements the state store
//! service is the component type `state.<name>`. Only in a process of the user's own; a tenant's Dapr Server never looks.

mod reflection;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use palladium_component::reply::BoxFuture;
use palladium_component::{Connector, Duplex, OpenContext, OpenError, StateStore};
use tokio::net::UnixStream;

use crate::diagrid::header;
use crate::grpc::{self, RemoteStore};

/// The service that makes a socket a state store.
const SERVICE: &str = "dapr.proto.components.v1.StateStore";
/// Names the instance of the component towards the other process.
const HEADER: &str = "x-component-instance";
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// A state store found on a socket.
#[derive(Debug, Clone)]
pub struct PluggableStore {
    type_name: String,
    socket: PathBuf,
}

/// Looks at every socket of a folder. A folder that does not exist holds none; a socket that does not answer is an error.
pub async fn discover(folder: &Path) -> io::Result<Vec<PluggableStore>> {
    use std::os::unix::fs::FileTypeExt as _;
    let mut entries = match tokio::fs::read_dir(folder).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    while let Some(entry) = entries.next_entry().await? {
        let socket = entry.path();
        if !entry.file_type().await?.is_socket() {
            continue;
        }
        let Some(name) = socket.file_stem().and_then(|name| name.to_str()) else {
            continue;
        };
        let services = reflection::services(grpc::channel(Arc::new(Socket(socket.clone()))));
        let services = tokio::time::timeout(DISCOVERY_TIMEOUT, services)
            .await
            .map_err(io::Error::other);
        let services = services.and_then(|services| services.map_err(io::Error::other));
        let services = services.map_err(|error| io::Error::other(format!("{}: {error}", socket.display())))?;
        if services.iter().any(|service| service == SERVICE) {
            found.push(PluggableStore {
                type_name: format!("state.{name}"),
                socket,
            });
        }
    }
    Ok(found)
}

impl PluggableStore {
    /// The component type, `state.<name of the socket>`.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// Whether a component of this type is meant. Any version is.
    pub fn matches(&self, type_name: &str) -> bool {
        self.type_name.eq_ignore_ascii_case(type_name)
    }

    /// Opens a component on this store.
    pub async fn open(&self, context: OpenContext) -> Result<Arc<dyn StateStore>, OpenError> {
        let channel = grpc::channel(Arc::new(Socket(self.socket.clone())));
        let store = RemoteStore::open(channel, header(HEADER, &context.component)?, &context.properties).await;
        let store = store.map_err(|error| OpenError::Unavailable(error.to_string()))?;
        Ok(Arc::new(store.always_queryable()))
    }
}

#[derive(Debug)]
struct Socket(PathBuf);

impl Connector for Socket {
    fn connect(&self) -> BoxFuture<'static, io::Result<Box<dyn Duplex>>> {
        let path = self.0.clone();
        Box::pin(async move { Ok(Box::new(UnixStream::connect(path).await?) as Box<dyn Duplex>) })
    }
}
