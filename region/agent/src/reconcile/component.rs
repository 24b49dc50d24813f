//! Components: their secrets, and whether the Dapr Servers that may use them could load them.
//!
//! One idea: a component is ready when the Dapr Servers in scope say so for this generation, not when it was sent to
//! them. Must never forget a managed component before the store has destroyed its data.

use std::sync::Arc;

use palladium_kinds::component::AppIdLoad;
use palladium_kinds::status::{Message, word};
use palladium_stream::status::MAX_DETAILS;
use serde_json::{Value, json};

use super::{Word, say, say_deleting, take_in_secrets};
use crate::Error;
use crate::desired::Admitted;
use crate::region::Region;
use crate::run::blocking;
use crate::supervisor::Supervisor;
use crate::views::{is_managed, server_name};

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
            Ok(()) => loads(region, &component),
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

fn secrets_here(region: &Region, component: &Admitted) -> usize {
    let references = component.managed_references();
    references
        .iter()
        .filter(|(_, field)| region.secrets.get(&component.meta.uid, field).is_some())
        .count()
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

/// App IDs shown in a component's status; beyond that only their number is told.
const MAX_ROWS: usize = 256;
/// Characters of what a Dapr Server says that go on.
const MAX_MESSAGE: usize = 512;
/// Failures told in the one sentence about the component.
const MAX_TOLD: usize = 4;

/// What the Dapr Servers in scope made of it.
fn loads(region: &Region, component: &Admitted) -> (Word, Value) {
    let meta = &component.meta;
    let apps: Vec<String> = {
        let desired = region.desired();
        let in_scope = desired
            .apps(&meta.project_id)
            .filter(|app| desired.in_scope(component, &app.meta.name));
        in_scope.map(|app| app.meta.name.clone()).collect()
    };
    let mut rows = Vec::with_capacity(apps.len());
    let (mut failed, mut waiting) = (Vec::new(), 0);
    for app_id in apps {
        let report = region.observed.app_report(&server_name(&meta.project_id, &app_id));
        let load = report.as_ref().and_then(|report| report.loads.get(&meta.uid));
        let (status, message) = match load.filter(|load| load.generation == meta.generation) {
            Some(load) if load.ok => (word::READY, None),
            Some(load) => {
                // A Dapr Server is not believed to be brief.
                let message = region.secrets.masked(&meta.uid, &load.message);
                let message: String = message.chars().take(MAX_MESSAGE).collect();
                failed.push(format!("{app_id}: {message}"));
                (word::ERROR, Some(message))
            }
            None => {
                waiting += 1;
                (word::PENDING, None)
            }
        };
        let messages = message.map(|message| Message { message }).into_iter().collect();
        rows.push(AppIdLoad {
            app_id,
            status: status.to_owned(),
            messages,
        });
    }
    let (all, more) = (rows.len(), failed.len().saturating_sub(MAX_TOLD));
    let details = |rows: &[AppIdLoad]| json!({ "appIdStatus": rows });
    let fits = |rows: &[AppIdLoad]| details(rows).to_string().len() <= MAX_DETAILS;
    if all > MAX_ROWS || !fits(&rows) {
        // Stable: within each word the order of the App IDs stays.
        rows.sort_by_key(|row| (row.status != word::ERROR, row.status == word::READY));
        rows.truncate(MAX_ROWS);
        while !fits(&rows) {
            rows.truncate(rows.len() / 2);
        }
    }
    let word = if !failed.is_empty() {
        failed.truncate(MAX_TOLD);
        let mut message = failed.join("; ");
        if more > 0 {
            message.push_str(&format!("; and {more} more of {all} App IDs"));
        }
        Word::error("NotLoaded", message)
    } else if waiting > 0 {
        Word::pending("Loading", format!("{waiting} App ID(s) have not loaded it yet"))
    } else if all == 0 {
        Word::ready("NotUsed")
    } else {
        Word::ready("Loaded")
    };
    (word, details(&rows))
}
