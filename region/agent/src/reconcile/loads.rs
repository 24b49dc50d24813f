//! What the Dapr Servers that are given an object say of it, as the object's status.
//!
//! One idea: they are believed about this generation only, and not to be brief. Must never show a secret that a driver
//! repeats.

use palladium_kinds::component::AppIdLoad;
use palladium_kinds::status::{Message, word};
use palladium_stream::status::MAX_DETAILS;
use serde_json::{Value, json};

use super::Word;
use crate::desired::Admitted;
use crate::region::Region;
use crate::views::server_name;

/// App IDs shown in an object's status; beyond that only their number is told.
const MAX_ROWS: usize = 256;
/// Characters of what a Dapr Server says that go on.
const MAX_MESSAGE: usize = 512;
/// Failures told in the one sentence about the component.
const MAX_TOLD: usize = 4;

/// What it means that a Dapr Server has not said anything about an object yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// It says a word about each of them, and will.
    Waits,
    /// It says a word only when something is wrong.
    IsFine,
}

/// What the Dapr Servers that are given an object made of it.
pub(super) fn loads(region: &Region, object: &Admitted, silence: Silence) -> (Word, Value) {
    let meta = &object.meta;
    let apps = region.desired().users(object);
    let used = apps.len();
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
            None if silence == Silence::IsFine => continue,
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
    } else if used == 0 {
        Word::ready("NotUsed")
    } else if silence == Silence::IsFine {
        Word::ready("HandedOut")
    } else {
        Word::ready("Loaded")
    };
    (word, details(&rows))
}
