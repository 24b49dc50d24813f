//! What each kind of process is told, computed from desired and observed state.
//!
//! The one idea: pure functions. A view is complete for its caller; what is not in it does not exist for that caller. The
//! version is filled in by whoever sends it. Must never contain a token or secret, except the application token that its
//! own Dapr Server needs to call the application.

use std::net::SocketAddr;

use palladium_kinds::app_identity::{AppIdentitySpec, EndpointToken, Protocol, quantity_bytes};
use palladium_kinds::component::ComponentSpec;
use palladium_kinds::project::{MANAGED_BUS_TYPE, MANAGED_KV_TYPE};
use palladium_proto::region::{
    AppEndpoint, AppServerState, DeletedApp, HealthCheck, Identity, IdentityTable, ManagedComponent, ManagedTable,
    Peer, ProjectHosts, Route, RouteTable,
};
use palladium_sealing::ExposeSecret as _;
use serde_json::Value;

use crate::desired::{Admitted, Desired};
use crate::ports::AppPorts;
use crate::region::Region;

/// Component types that the store serves.
pub(crate) const MANAGED_TYPES: &[&str] = &[MANAGED_KV_TYPE, MANAGED_BUS_TYPE];
/// Under which name the App IDs of a message bus receive.
const CONSUMER_ID: &str = "consumerID";

/// `<project id>/<app id>`: how a Dapr Server is called in the supervisor's table, the ports file and reports.
pub(crate) fn server_name(project_id: &str, app_id: &str) -> String {
    format!("{project_id}/{app_id}")
}

/// For gateways.
pub(crate) fn routes(region: &Region) -> RouteTable {
    let desired = region.desired();
    let mut table = RouteTable::default();
    for (app, spec) in apps(&desired) {
        let (project_id, app_id) = (&app.meta.project_id, &app.meta.name);
        let name = server_name(project_id, app_id);
        let tokens = region.tokens.digests(&app.meta.uid);
        // Without ports or tokens nothing leads there yet.
        let (Some(ports), false) = (region.ports.get(&name), tokens.is_empty()) else {
            continue;
        };
        if region.tombstones.has("AppIdentity", project_id, app_id) {
            continue;
        }
        table.routes.push(Route {
            project_id: project_id.clone(),
            app_id: app_id.clone(),
            spiffe_id: region.names.app(project_id, app_id),
            address: ports.gateway_address().to_string(),
            tokens,
            max_body_bytes: max_body(&desired, app, spec),
            ready: region.observed.is_ready(&name),
        });
    }
    for project in desired.admitted().filter(|object| object.project().is_some()) {
        let project_id = &project.meta.project_id;
        let hosts = region.config.ingress_domain.as_ref().map(|domain| {
            let domain = domain.to_ascii_lowercase();
            vec![
                format!("http-{project_id}.{domain}"),
                format!("grpc-{project_id}.{domain}"),
            ]
        });
        table.hosts.push(ProjectHosts {
            project_id: project_id.clone(),
            hosts: hosts.unwrap_or_default(),
        });
    }
    table.revoked = revoked(region, &desired, |_| true);
    table
}

/// For the Dapr Server of one App ID; `None` when the App ID does not exist.
pub(crate) fn app_server(region: &Region, project_id: &str, app_id: &str) -> Option<AppServerState> {
    let desired = region.desired();
    let app = desired.app(project_id, app_id)?;
    let spec = app.app()?;
    if region.tombstones.has("AppIdentity", project_id, app_id) {
        return None;
    }
    let peers = desired
        .apps(project_id)
        .filter(|peer| peer.meta.name != app_id)
        .filter_map(|peer| {
            let ports = region.ports.get(&server_name(project_id, &peer.meta.name))?;
            Some(Peer {
                app_id: peer.meta.name.clone(),
                spiffe_id: region.names.app(project_id, &peer.meta.name),
                internal_address: ports.internal_address().to_string(),
            })
        });
    let store = region.config.store_address;
    Some(AppServerState {
        version: 0,
        project_id: project_id.to_owned(),
        app_id: app_id.to_owned(),
        tokens: region.tokens.digests(&app.meta.uid),
        max_body_bytes: max_body(&desired, app, spec),
        endpoint: endpoint(region, app, spec),
        peers: peers.collect(),
        project_name: app.meta.project_name.clone(),
        store_address: store.map(|address| address.to_string()).unwrap_or_default(),
        store_spiffe_id: store.map(|_| region.names.store()).unwrap_or_default(),
        revoked: revoked(region, &desired, |app| app.meta.project_id == project_id),
    })
}

fn endpoint(region: &Region, app: &Admitted, spec: &AppIdentitySpec) -> Option<AppEndpoint> {
    let endpoint = spec.app_endpoint.as_ref()?;
    let token = match &endpoint.token {
        Some(EndpointToken::Reference { secret_key_ref }) if secret_key_ref.is_managed() => {
            let field = palladium_kinds::app_identity::ENDPOINT_TOKEN;
            region
                .secrets
                .get(&app.meta.uid, field)
                .map(|secret| secret.expose_secret().to_owned())
        }
        _ => None,
    };
    let health_check = spec.health_check.as_ref().map(|check| HealthCheck {
        enabled: check.probe.enabled,
        path: check.path.clone(),
        interval_seconds: check.probe.interval_in_sec,
        timeout_ms: check.probe.timeout_in_ms,
        failure_threshold: check.probe.failure_threshold,
    });
    Some(AppEndpoint {
        url: endpoint.url.clone(),
        protocol: match spec.protocol {
            Protocol::Http => "http",
            Protocol::Grpc => "grpc",
        }
        .to_owned(),
        token: token.unwrap_or_default(),
        token_header: endpoint.token_header.clone(),
        timeout_seconds: endpoint.client_timeout_seconds,
        health_check,
    })
}

/// For Sentry.
pub(crate) fn identities(region: &Region) -> IdentityTable {
    IdentityTable {
        version: 0,
        identities: live(region, &region.desired(), |_| true),
    }
}

/// The identities of which older SVIDs are void.
fn revoked(region: &Region, desired: &Desired, of: impl Fn(&Admitted) -> bool) -> Vec<Identity> {
    let mut identities = live(region, desired, of);
    identities.retain(|identity| identity.revoked_before_unix_s > 0);
    identities
}

/// The identities of App IDs that are there.
fn live(region: &Region, desired: &Desired, of: impl Fn(&Admitted) -> bool) -> Vec<Identity> {
    let identities = apps(desired)
        .filter(|(app, _)| of(app) && is_there(region, app))
        .map(|(app, _)| Identity {
            spiffe_id: region.names.app(&app.meta.project_id, &app.meta.name),
            revoked_before_unix_s: region
                .revocations
                .before(&server_name(&app.meta.project_id, &app.meta.name)),
        });
    identities.collect()
}

/// Whether nothing of its name is on the way out.
fn is_there(region: &Region, app: &Admitted) -> bool {
    let (project_id, app_id) = (&app.meta.project_id, &app.meta.name);
    !region.tombstones.has("AppIdentity", project_id, app_id)
}

/// For whoever reads metrics: project id and name of each App ID that is there, whether its Dapr Server runs or not, since one
/// that should and does not is to be noticed.
pub(crate) fn app_ids(region: &Region) -> Vec<(String, String)> {
    let desired = region.desired();
    let there = apps(&desired).filter(|(app, _)| is_there(region, app));
    there
        .map(|(app, _)| (app.meta.project_id.clone(), app.meta.name.clone()))
        .collect()
}

/// Where a Dapr Server is, and who must answer there.
pub(crate) struct DaprServer {
    pub(crate) spiffe_id: String,
    /// Its gateway port; none before its first start.
    pub(crate) address: Option<SocketAddr>,
}

/// The Dapr Server of an App ID that is there, by its own names and not by those of whoever asks.
pub(crate) fn dapr_server(region: &Region, project_id: &str, app_id: &str) -> Option<DaprServer> {
    let desired = region.desired();
    let app = desired.app(project_id, app_id).filter(|app| is_there(region, app))?;
    let (project_id, app_id) = (&app.meta.project_id, &app.meta.name);
    let ports = region.ports.get(&server_name(project_id, app_id));
    Some(DaprServer {
        spiffe_id: region.names.app(project_id, app_id),
        address: ports.map(AppPorts::gateway_address),
    })
}

/// For the store.
pub(crate) fn managed(region: &Region) -> ManagedTable {
    let desired = region.desired();
    let mut components: Vec<ManagedComponent> = Vec::new();
    for component in desired.admitted() {
        let Some(content) = component.component().filter(|content| is_managed(&content.spec.kind)) else {
            continue;
        };
        let meta = &component.meta;
        components.push(ManagedComponent {
            project_id: meta.project_id.clone(),
            component_uid: meta.uid.clone(),
            name: meta.name.clone(),
            r#type: content.spec.kind.clone(),
            app_ids: desired.users(component),
            deleted: false,
            consumer_id: consumer_id(&content.spec),
        });
    }
    for gone in region
        .tombstones
        .of_kind("Component")
        .into_iter()
        .filter(|gone| is_managed(&gone.component_type))
    {
        components.push(ManagedComponent {
            project_id: gone.project_id,
            component_uid: gone.uid,
            name: gone.name,
            r#type: gone.component_type,
            app_ids: Vec::new(),
            deleted: true,
            consumer_id: String::new(),
        });
    }
    let deleted_apps = region.tombstones.of_kind("AppIdentity").into_iter();
    let deleted_apps = deleted_apps.map(|gone| DeletedApp {
        project_id: gone.project_id,
        app_id: gone.name,
        uid: gone.uid,
    });
    ManagedTable {
        version: 0,
        components,
        deleted_apps: deleted_apps.collect(),
        revoked: revoked(region, &desired, |_| true),
    }
}

/// The store is told by the agent, not by Dapr Servers, who receives under which name. What is not plain text is passed on as
/// a placeholder that the store refuses in words.
fn consumer_id(spec: &ComponentSpec) -> String {
    let item = spec
        .metadata
        .iter()
        .find(|item| item.name.eq_ignore_ascii_case(CONSUMER_ID));
    match item.map(|item| (&item.value, &item.secret_key_ref)) {
        Some((_, Some(_))) => "{secretKeyRef}".into(),
        Some((Some(Value::String(text)), None)) => text.trim().to_owned(),
        Some((Some(Value::Null) | None, None)) | None => String::new(),
        Some((Some(other), None)) => other.to_string(),
    }
}

/// Whether the store serves components of this type.
pub(crate) fn is_managed(kind: &str) -> bool {
    MANAGED_TYPES.iter().any(|managed| managed.eq_ignore_ascii_case(kind))
}

fn apps(desired: &Desired) -> impl Iterator<Item = (&Admitted, &AppIdentitySpec)> {
    desired
        .admitted()
        .filter_map(|object| Some((object.as_ref(), object.app()?)))
}

fn max_body(desired: &Desired, app: &Admitted, spec: &AppIdentitySpec) -> u64 {
    let project = desired
        .project(&app.meta.project_id)
        .and_then(|project| project.project());
    let of_project = project.map_or("", |project| project.max_body_size.as_str());
    let text = if spec.max_body_size.is_empty() {
        of_project
    } else {
        &spec.max_body_size
    };
    quantity_bytes(text).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_store_is_told_who_receives_under_which_name() {
        let of = |metadata: Value| {
            let spec = json!({ "type": "pubsub.diagrid", "metadata": metadata });
            consumer_id(&serde_json::from_value(spec).unwrap())
        };
        assert_eq!(of(json!([])), "");
        assert_eq!(of(json!([{ "name": "CONSUMERid", "value": " all " }])), "all");
        assert_eq!(of(json!([{ "name": "consumerID", "value": 7 }])), "7");
        let secret = json!([{ "name": "consumerID", "secretKeyRef": { "name": "s", "key": "k" } }]);
        assert!(of(secret).contains('{'), "the store refuses it");
    }
}
