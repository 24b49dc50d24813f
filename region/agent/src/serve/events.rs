//! What changes in the resources of one kind that an App ID is given, as Dapr's update events.
//!
//! One idea: level-triggered. Each event is the difference between what was told last and what is now, so a slow reader
//! misses steps and never the end; whoever subscribes first and lists then misses nothing. Must never go on for an App ID
//! that is gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use palladium_proto::operator::ResourceEventType;
use palladium_tasks::Shutdown;
use tonic::Status;

use super::resource::{self, Resource};
use crate::region::Region;

type Known = BTreeMap<String, Bytes>;

fn known(resources: Vec<Resource>) -> Known {
    resources
        .into_iter()
        .map(|resource| (resource.name, resource.json))
        .collect()
}

/// What changed between two looks; what is gone comes first.
fn differences<M>(before: &Known, now: &Known, message: fn(Bytes, i32) -> M) -> Vec<M> {
    let event = |json: &Bytes, kind: ResourceEventType| message(json.clone(), kind.into());
    let gone = before.iter().filter(|(name, _)| !now.contains_key(*name));
    let gone = gone.map(|(_, json)| event(json, ResourceEventType::Deleted));
    let changed = now.iter().filter_map(|(name, json)| match before.get(name) {
        None => Some(event(json, ResourceEventType::Created)),
        Some(old) if old != json => Some(event(json, ResourceEventType::Updated)),
        Some(_) => None,
    });
    gone.chain(changed).collect()
}

/// The changes from now on, until the agent stops or the App ID is gone.
pub(super) fn events<M: Send + 'static>(
    region: Arc<Region>,
    shutdown: Shutdown,
    kind: &'static str,
    (project_id, app_id): (String, String),
    message: fn(Bytes, i32) -> M,
) -> impl Stream<Item = Result<M, Status>> + Send {
    // Taken now, not at the first poll: a caller lists after it has subscribed, and nothing may fall between.
    let changed = region.versions.subscribe();
    let before = known(resource::all(&region, kind, &project_id, &app_id));
    let state = (region, shutdown, changed, before, project_id, app_id, kind, message);
    stream::unfold(Some(state), async |state| {
        let (region, shutdown, mut changed, before, project_id, app_id, kind, message) = state?;
        loop {
            if !matches!(shutdown.unless(changed.changed()).await, Some(Ok(()))) {
                return Some((vec![Err(Status::unavailable("the agent is stopping"))], None));
            }
            if region.desired().app(&project_id, &app_id).is_none() {
                let gone = Status::permission_denied("this App ID does not exist any more");
                return Some((vec![Err(gone)], None));
            }
            let now = known(resource::all(&region, kind, &project_id, &app_id));
            let events = differences(&before, &now, message);
            if !events.is_empty() {
                let events = events.into_iter().map(Ok).collect();
                let state = (region, shutdown, changed, now, project_id, app_id, kind, message);
                return Some((events, Some(state)));
            }
        }
    })
    .flat_map(stream::iter)
}
