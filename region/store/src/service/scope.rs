//! On whose behalf a call works, and on what.
//!
//! One idea: the certificate says who, the header only which of their own, the agent's table whether. Must never take
//! project or App ID from a message or a header, nor tell an unknown component from a forbidden one.

use std::sync::Arc;
use std::time::Duration;

use palladium_http::Held;
use palladium_tls::PeerInfo;
use tonic::{Request, Status};

use crate::access::{Access, Grant, Kind};
use crate::rows::LONGEST_NAME;

/// Names the component; it only chooses among the caller's own.
const HEADER: &str = "palladium-component";
/// How long a first call waits for a table that is on its way.
const PATIENCE: Duration = Duration::from_secs(3);

/// Project and App ID of the caller, and the uid of the component that it named and may use.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) project: String,
    pub(crate) app: String,
    name: String,
    kind: Kind,
    pub(crate) component: Arc<str>,
    consumer_id: Arc<str>,
    /// The memory that the call takes.
    pub(crate) held: Option<Held>,
}

impl Scope {
    fn new<T>(request: &Request<T>, [project, app, name]: [String; 3], kind: Kind, grant: Grant) -> Self {
        Self {
            project,
            app,
            name,
            kind,
            component: grant.uid,
            consumer_id: grant.consumer_id,
            held: request.extensions().get().cloned(),
        }
    }

    /// Whether the newest table still says the same.
    pub(crate) fn still_permitted(&self, access: &Access) -> bool {
        let grant = access.component(self.kind, &self.project, &self.app, &self.name);
        grant.is_some_and(|grant| grant.uid == self.component && grant.consumer_id == self.consumer_id)
    }

    /// The group that the caller receives for: what the component says, else its App ID.
    pub(crate) fn group(&self) -> Result<String, Status> {
        let said = self.consumer_id.trim();
        if said.is_empty() {
            return Ok(self.app.clone());
        }
        // As a Dapr Server fills them in.
        let group = said
            .replace("{appID}", &self.app)
            .replace("{namespace}", &format!("{}.{}", self.project, self.app));
        if group.contains('{') || group.len() > LONGEST_NAME {
            let reason = "consumerID of a managed component is plain text with {appID} or {namespace} in it at most";
            return Err(Status::failed_precondition(reason));
        }
        Ok(group)
    }
}

/// The scope of a call on state.
pub(crate) fn of<T>(access: &Access, request: &Request<T>) -> Result<Scope, Status> {
    now(access, Kind::State, request)
}

/// The scope of a call on state that may come before its table.
pub(crate) async fn soon<T>(access: &Access, request: &Request<T>) -> Result<Scope, Status> {
    patiently(access, Kind::State, request).await
}

/// The scope of a call on messages.
pub(crate) fn on_the_bus<T>(access: &Access, request: &Request<T>) -> Result<Scope, Status> {
    now(access, Kind::Bus, request)
}

/// The scope of a call on messages that may come before its table.
pub(crate) async fn soon_on_the_bus<T>(access: &Access, request: &Request<T>) -> Result<Scope, Status> {
    patiently(access, Kind::Bus, request).await
}

fn now<T>(access: &Access, kind: Kind, request: &Request<T>) -> Result<Scope, Status> {
    let (project, app, name) = names(request)?;
    let grant = access
        .component(kind, &project, &app, &name)
        .ok_or_else(not_permitted)?;
    Ok(Scope::new(request, [project, app, name], kind, grant))
}

async fn patiently<T>(access: &Access, kind: Kind, request: &Request<T>) -> Result<Scope, Status> {
    let (project, app, name) = names(request)?;
    let grant = access.soon(kind, [&project, &app, &name], PATIENCE).await;
    let grant = grant.ok_or_else(not_permitted)?;
    Ok(Scope::new(request, [project, app, name], kind, grant))
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
