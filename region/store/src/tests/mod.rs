//! The store as its callers see it: over mutual TLS, with certificates of a test authority.

mod bus;
mod bus_following;
mod bus_killed;
mod conformance;
mod following;
mod isolation;
mod killed;
mod pki;
mod sizes;
mod small_disk;
mod world;

use palladium_proto::region::ManagedComponent;

/// One live managed component.
pub(crate) fn component(project: &str, uid: &str, name: &str, apps: &[&str]) -> ManagedComponent {
    ManagedComponent {
        project_id: project.into(),
        component_uid: uid.into(),
        name: name.into(),
        r#type: "state.diagrid".into(),
        app_ids: apps.iter().map(ToString::to_string).collect(),
        deleted: false,
        consumer_id: String::new(),
    }
}

/// The same for messages.
pub(crate) fn bus(project: &str, uid: &str, name: &str, apps: &[&str]) -> ManagedComponent {
    ManagedComponent {
        r#type: "pubsub.diagrid".into(),
        ..component(project, uid, name, apps)
    }
}
