//! How much of its callers' data a store holds in memory: of all together, and of each project.
//!
//! One idea: the project is the one in the caller's certificate, so whoever floods the store uses up its own project's part
//! and no other's. Who comes when a part or the whole is used up is told so (`RESOURCE_EXHAUSTED`). Must never keep a part
//! for a project that has no call under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::BodyExt as _;
use palladium_http::{Budget, Exhausted};
use palladium_tls::PeerInfo;
use tonic::Status;
use tonic::body::Body;

const SUBSCRIBE: &str = "/palladium.store.v1.Bus/Subscribe";

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Budgets {
    whole: Budget,
    part: usize,
    projects: Arc<Mutex<HashMap<String, Budget>>>,
}

impl Budgets {
    /// `whole`: bytes of all projects together. `part`: bytes of one.
    pub(crate) fn new(whole: usize, part: usize) -> Self {
        Self {
            whole: Budget::new(whole),
            part,
            projects: Arc::default(),
        }
    }

    /// Counts the body of a request as it is read: all of it until the end of its call, but of a subscription, which has no
    /// end, each piece until it was read. The handler finds what it holds ([`palladium_http::Held`]) and the budget among its
    /// extensions.
    pub(crate) fn meter(&self, mut request: http::Request<Body>) -> http::Request<Body> {
        let peer = request.extensions().get::<PeerInfo>();
        let peer = peer.and_then(|info| info.peer.as_ref()?.id.namespace_and_name());
        // Nobody else gets here; if so, they share one part.
        let budget = self.of(peer.map_or("", |(project, _)| project));
        let held = budget.hold();
        request.extensions_mut().insert(held.clone());
        request.extensions_mut().insert(budget);
        if request.uri().path() == SUBSCRIBE {
            return request
                .map(|inner| Body::new(held.meter(inner).passing().map_err(|error| refused(error.as_ref()))));
        }
        request.map(|inner| Body::new(held.meter(inner).map_err(|error| refused(error.as_ref()))))
    }

    fn of(&self, project: &str) -> Budget {
        let mut projects = self.projects.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(part) = projects.get(project) {
            return part.clone();
        }
        projects.retain(|_, part| part.is_shared());
        let part = self.whole.part(self.part);
        projects.insert(project.to_owned(), part.clone());
        part
    }
}

fn refused(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Status {
    if error.is::<Exhausted>() {
        return Status::resource_exhausted("the managed store is busy: too much data at a time");
    }
    let status = error.downcast_ref::<Status>().cloned();
    status.unwrap_or_else(|| Status::cancelled(error.to_string()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;
    use palladium_http::Held;
    use palladium_spiffe::SpiffeId;
    use palladium_tls::Peer;

    use super::*;

    /// A request of a project, its body read; what it holds, or why it holds nothing.
    async fn call(budgets: &Budgets, project: &str, bytes: usize) -> Result<Held, tonic::Code> {
        let id = format!("spiffe://reg-a.palladium.internal/ns/{project}/orders");
        let mut request = http::Request::new(Body::new(Full::new(Bytes::from(vec![0; bytes]))));
        let peer = Some(Peer {
            id: SpiffeId::parse(&id).expect("an id"),
            not_before: 0,
            not_after: 0,
        });
        request.extensions_mut().insert(PeerInfo { peer, remote: None });
        let mut request = budgets.meter(request);
        let held = request.extensions().get::<Held>().cloned().expect("for the handler");
        match request.body_mut().collect().await {
            Ok(_) => Ok(held),
            Err(status) => Err(status.code()),
        }
    }

    #[tokio::test]
    async fn one_project_cannot_take_what_others_need() {
        let budgets = Budgets::new(10, 4);
        let greedy = call(&budgets, "prj-a", 4).await.expect("its own part");
        assert_eq!(
            call(&budgets, "prj-a", 1).await.err(),
            Some(tonic::Code::ResourceExhausted)
        );
        let other = call(&budgets, "prj-b", 4).await.expect("another part");
        assert_eq!(
            call(&budgets, "prj-c", 3).await.err(),
            Some(tonic::Code::ResourceExhausted),
            "the whole"
        );
        assert!(other.take(1).is_err(), "what is read counts too");
        drop(greedy);
        call(&budgets, "prj-c", 3).await.expect("given back");
        drop(other);
        call(&budgets, "prj-d", 1).await.expect("room");
        let projects = budgets.projects.lock().expect("not poisoned");
        assert_eq!(projects.keys().collect::<Vec<_>>(), ["prj-d"], "no call, no part");
    }
}
