//! Components: their secrets, and whether the Dapr Servers that may use them could load them.
//!
//! One idea: a component is ready when the Dapr Servers in scope say so for this generation, not when it was sent to
//! them. Must never forget a managed component before the store has destroyed its data.

use std::sync::Arc;

use serde_json::Value;

use super::loads::{Silence, loads};
use super::{Word, say, say_deleting, secrets_here, take_in_secrets};
use crate::Error;
use crate::desired::Admitted;
use crate::region::Region;
use crate::run::blocking;
use crate::supervisor::Supervisor;
use crate::views::is_managed;

pub(super) fn reconciler(region: Arc<Region>, _: Supervisor) -> super::Look {
    Box::new(move || {
        let region = region.clone();
        Box::pin(async move { blocking(move || run(&region)).await.map(|()| None) })
    })
}

fn run(region: &Region) -> Result<(), Error> {
    let components: Vec<_> = region
        .desired()
        .admitted()
        .filter(|object| object.component().is_some())
        .cloned()
        .collect();
    for component in components {
        let had = secrets_here(region, &component);
        let (said, details) = match take_in_secrets(region, &component).and_then(|()| within_rails(region, &component))
        {
            Err(error) => (error, Value::Null),
            Ok(()) => loads(region, &component, Silence::Waits),
        };
        if had != secrets_here(region, &component) {
            // Dapr Servers can be given the component now.
            region.versions.bump();
        }
        say(region, &component, said, &details);
    }
    for gone in region.tombstones.of_kind("Component") {
        let managed = is_managed(&gone.component_type) && region.config.store_address.is_some();
        if managed && !region.observed.component_destroyed(&gone.uid) {
            say_deleting(
                region,
                &gone.uid,
                gone.generation,
                "waiting for the store to destroy the component's data",
            );
            continue;
        }
        region.secrets.forget(&gone.uid)?;
        region.tombstones.remove(&gone.uid)?;
        region.observed.forget_destroyed(&gone.uid);
        region.audit_event("region", "component.delete", &gone.uid, "done");
        region.say_deleted(&gone.uid, gone.generation);
        region.versions.bump();
    }
    Ok(())
}

/// Secret settings can hold hosts too (connection strings); the guard rails see them here, in clear and unquoted.
fn within_rails(region: &Region, component: &Admitted) -> Result<(), Word> {
    use palladium_sealing::ExposeSecret as _;
    let rails = region.rails();
    if rails.allows_all_components() {
        return Ok(());
    }
    for (_, field) in component.managed_references() {
        let Some(secret) = region.secrets.get(&component.meta.uid, &field) else {
            continue;
        };
        let name = field.strip_prefix("spec.metadata.").unwrap_or(&field);
        if let Err(refused) = component.check_component_hosts(&rails, name, secret.expose_secret(), false) {
            return Err(Word::held(refused.message).at(refused.field));
        }
    }
    Ok(())
}
