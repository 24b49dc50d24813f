//! On whose behalf a call works, and on what.
//!
//! One idea: the certificate says who, the header only which of their own, the agent's table whether. Must never take
//! project or App ID from a message or a header, nor tell an unknown component from a forbidden one.

use std::sync::Arc;
use std::time::Duration;

use palladium_http::Held;
use palladium_tls::PeerInfo;
use tonic::{Request, Status};

use crate::access::Access;

/// Names the component; it only chooses among the caller's own.
const HEADER: &str = "palladium-component";
/// How long a first call waits for a table that is on its way.
const PATIENCE: Duration = Duration::from_secs(3);

/// Project and App ID of the caller, and the uid of the component that it named and may use.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) project: String,
    app: String,
    name: String,
    pub(crate) component: Arc<str>,
    /// The memory that the call takes.
    pub(crate) held: Option<Held>,
}

impl Scope {
    fn new<T>(request: &Request<T>, [project, app, name]: [String; 3], component: Arc<str>) -> Self {
        Self {
            project,
            app,
            name,
            component,
            held: request.extensions().get().cloned(),
        }
    }

    /// Whether the newest table still says the same.
    pub(crate) fn still_permitted(&self, access: &Access) -> bool {
        access.component(&self.project, &self.app, &self.name).as_ref() == Some(&self.component)
    }
}

/// The scope of a call.
pub(crate) fn of<T>(access: &Access, request: &Request<T>) -> Result<Scope, Status> {
    let (project, app, name) = names(request)?;
    let component = access.component(&project, &app, &name).ok_or_else(not_permitted)?;
    Ok(Scope::new(request, [project, app, name], component))
}

/// The scope of a call that may come before its table.
pub(crate) async fn soon<T>(access: &Access, request: &Request<T>) -> Result<Scope, Status> {
    let (project, app, name) = names(request)?;
    let component = access
        .soon(&project, &app, &name, PATIENCE)
        .await
        .ok_or_else(not_permitted)?;
    Ok(Scope::new(request, [project, app, name], component))
}

/// The same words whether the component is unknown or out of scope.
pub(crate) fn not_permitted() -> Status {
    Status::permission_denied("this App ID has no such managed component")
}

/// Project and App ID from the certificate, the component's name from the header.
fn names<T>(request: &Request<T>) -> Result<(String, String, String), Status> {
    let peer = request
        .extensions()
        .get::<PeerInfo>()
        .and_then(|info| info.peer.as_ref());
    let Some((project, app)) = peer.and_then(|peer| peer.id.namespace_and_name()) else {
        return Err(Status::unauthenticated("a Dapr Server's certificate is required"));
    };
    let name = request
        .metadata()
        .get(HEADER)
        .and_then(|name| name.to_str().ok())
        .filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Status::invalid_argument(format!("header {HEADER} is missing")))?;
    Ok((project.to_string(), app.to_string(), name.to_string()))
}
