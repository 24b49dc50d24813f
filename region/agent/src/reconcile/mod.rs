//! The reconcilers: one file per kind, or for kinds that need the same, one line each in [`RECONCILERS`].
//!
//! The one idea: a reconciler takes no input. It looks at what is wanted and what is observed, does the next thing that is
//! missing, says truthfully where each object stands, and can be run at any time, any number of times. It runs on every
//! change signal and on a timer that only repairs lost signals. Must never depend on what ran before it.

mod app_identity;
mod component;
mod loads;
mod project;
mod resource;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use palladium_proto::region::{ObjectStatus, Verdict};
use palladium_tasks::Shutdown;
use serde_json::Value;

use crate::Error;
use crate::desired::Admitted;
use crate::region::Region;
use crate::secrets::TakeIn;
use crate::supervisor::Supervisor;

/// Between two looks when nothing happens.
const TIMER: Duration = Duration::from_secs(15);
/// Changes that come together are one look.
const SETTLE: Duration = Duration::from_millis(10);

type Run = Pin<Box<dyn Future<Output = Result<Option<Duration>, Error>> + Send>>;
/// Called for each look.
type Look = Box<dyn FnMut() -> Run + Send>;
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One kind's reconciler. A run says how soon it wants to look again, if sooner than the timer.
struct Reconciler {
    name: &'static str,
    make: fn(Arc<Region>, Supervisor) -> Look,
}

/// All of them.
const RECONCILERS: &[Reconciler] = &[
    Reconciler {
        name: "reconcile-project",
        make: project::reconciler,
    },
    Reconciler {
        name: "reconcile-component",
        make: component::reconciler,
    },
    Reconciler {
        name: "reconcile-resource",
        make: resource::reconciler,
    },
    Reconciler {
        name: "reconcile-app-identity",
        make: app_identity::reconciler,
    },
];

/// The tasks that run the reconcilers until `shutdown`.
pub(crate) fn tasks(region: &Arc<Region>, supervisor: &Supervisor, shutdown: &Shutdown) -> Vec<(&'static str, Task)> {
    RECONCILERS
        .iter()
        .map(|reconciler| {
            let run = (reconciler.make)(region.clone(), supervisor.clone());
            let task: Task = Box::pin(drive(reconciler.name, run, region.clone(), shutdown.clone()));
            (reconciler.name, task)
        })
        .collect()
}

async fn drive(name: &'static str, mut run: Look, region: Arc<Region>, shutdown: Shutdown) {
    let mut changed = region.versions.subscribe();
    loop {
        changed.mark_unchanged();
        let wait = match shutdown.unless(run()).await {
            None => return,
            Some(Ok(wait)) => wait.map_or(TIMER, |wait| wait.min(TIMER)),
            Some(Err(error)) => {
                tracing::error!(reconciler = name, %error, "not reconciled; trying again");
                Duration::from_secs(2)
            }
        };
        let next = async {
            if let Ok(Ok(())) = tokio::time::timeout(wait, changed.changed()).await {
                tokio::time::sleep(SETTLE).await;
            }
        };
        if shutdown.unless(next).await.is_none() {
            return;
        }
    }
}

/// What is said about one object.
pub(crate) struct Word {
    verdict: Verdict,
    reason: &'static str,
    message: String,
    field: String,
}

impl Word {
    pub(crate) fn ready(reason: &'static str) -> Self {
        Self {
            verdict: Verdict::Ready,
            reason,
            message: String::new(),
            field: String::new(),
        }
    }

    pub(crate) fn pending(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Pending,
            reason,
            message: message.into(),
            field: String::new(),
        }
    }

    pub(crate) fn error(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Error,
            reason,
            message: message.into(),
            field: String::new(),
        }
    }

    pub(crate) fn held(message: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Held,
            reason: "BeyondGuardRails",
            message: message.into(),
            field: String::new(),
        }
    }

    fn at(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }
}

/// Says where an object stands, unless its newest generation is refused: then that is what counts.
pub(crate) fn say(region: &Region, object: &Admitted, word: Word, details: &Value) {
    let status_json = if details.is_null() {
        Vec::new()
    } else {
        details.to_string().into_bytes()
    };
    region.say_if_admitted(ObjectStatus {
        uid: object.meta.uid.clone(),
        generation: object.meta.generation,
        verdict: word.verdict.into(),
        reason: word.reason.to_owned(),
        message: word.message,
        field: word.field,
        status_json: status_json.into(),
    });
}

/// Says where an object stands whose removal is not finished.
pub(crate) fn say_deleting(region: &Region, uid: &str, generation: u64, message: &str) {
    region.statuses.set(ObjectStatus {
        uid: uid.to_owned(),
        generation,
        verdict: Verdict::Pending.into(),
        reason: "Deleting".to_owned(),
        message: message.to_owned(),
        ..ObjectStatus::default()
    });
}

/// Stores the object's sealed values and confirms them; then, whether all secrets that it refers to are here. Blocks on
/// local disk.
pub(crate) fn take_in_secrets(region: &Region, object: &Admitted) -> Result<(), Word> {
    match region.secrets.take_in(object) {
        Ok(confirmed) => confirmed.into_iter().for_each(|confirmation| {
            region.statuses.confirm(confirmation);
        }),
        Err(TakeIn::Disk(error)) => return Err(Word::error("SecretNotStored", error.to_string())),
        Err(TakeIn::Refused { field }) => {
            let message = "the sealed value was not made for this region's key and this object; enter it again";
            return Err(Word::error("SecretNotReadable", message).at(field));
        }
    }
    for (_, field) in object.managed_references() {
        if region.secrets.get(&object.meta.uid, &field).is_none() {
            let message = "the secret is not in this region; enter it again";
            return Err(Word::error("SecretMissing", message).at(field));
        }
    }
    Ok(())
}

/// How many of the secrets that an object refers to are here.
fn secrets_here(region: &Region, object: &Admitted) -> usize {
    let references = object.managed_references();
    references
        .iter()
        .filter(|(_, field)| region.secrets.get(&object.meta.uid, field).is_some())
        .count()
}
