//! Finds components in processes of the user's own, beside the Dapr Server, by their Unix sockets.
//!
//! The one idea: as in Dapr, a socket `<name>.sock` in the sockets folder is asked once which services it has; each
//! building block takes those that it knows. Only in a process of the user's own; a tenant's Dapr Server never looks. Must
//! never speak a building block's own protocol. What the way to them has in common with the way to managed services: [`stream`].

mod reflection;
pub mod stream;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use palladium_component::reply::BoxFuture;
use palladium_component::{Connector, Duplex};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// Names the instance of the component towards the other process.
pub const HEADER: &str = "x-component-instance";
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// A socket and what is behind it.
#[derive(Debug, Clone)]
pub struct Found {
    /// Name of the socket, without its ending.
    pub name: String,
    /// The socket.
    pub socket: Socket,
    services: Vec<String>,
}

impl Found {
    /// Whether a component of type `block` and this socket's name is meant, and the service is there. Any version is.
    pub fn is(&self, block: &str, service: &str, type_name: &str) -> bool {
        let name = type_name
            .get(..block.len())
            .filter(|prefix| prefix.eq_ignore_ascii_case(block));
        name.is_some()
            && type_name[block.len()..].eq_ignore_ascii_case(&self.name)
            && self.services.iter().any(|own| own == service)
    }
}

/// Looks at every socket of a folder. A folder that does not exist holds none.
///
/// # Errors
/// When a socket does not answer.
pub async fn discover(folder: &Path) -> io::Result<Vec<Found>> {
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
        let Some(name) = socket.file_stem().and_then(|name| name.to_str()).map(str::to_owned) else {
            continue;
        };
        let socket = Socket(socket);
        let services = tokio::time::timeout(DISCOVERY_TIMEOUT, reflection::services(socket.channel()))
            .await
            .map_err(io::Error::other);
        let services = services.and_then(|services| services.map_err(io::Error::other));
        let services = services.map_err(|error| io::Error::other(format!("{}: {error}", socket.0.display())))?;
        found.push(Found { name, socket, services });
    }
    Ok(found)
}

/// A Unix socket that a component listens on.
#[derive(Debug, Clone)]
pub struct Socket(PathBuf);

impl Socket {
    /// A channel to it. Nothing is connected before the first call; a lost connection is re-made.
    pub fn channel(&self) -> Channel {
        let socket = self.clone();
        let dial = tower::service_fn(move |_: Uri| {
            let path = socket.0.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        Endpoint::from_static("http://component").connect_with_connector_lazy(dial)
    }
}

impl Connector for Socket {
    fn connect(&self) -> BoxFuture<'static, io::Result<Box<dyn Duplex>>> {
        let path = self.0.clone();
        Box::pin(async move { Ok(Box::new(UnixStream::connect(path).await?) as Box<dyn Duplex>) })
    }
}
