//! Dapr's component protocol, served to Dapr Servers.
//!
//! The one idea: every call first becomes a [`Scope`] (whose project, whose App ID, which component uid) from certificate and
//! table, and from there on works on rows of that scope only. This layer translates. Must never touch a row outside of its
//! call's scope, nor decide anything about durability.

mod bus;
mod convert;
mod scope;
mod status;

use std::sync::Arc;

use palladium_proto::components as pb;
use pb::state_store_server::StateStore;
use pb::transactional_state_store_server::TransactionalStateStore;
use pb::transactional_store_multi_max_size_server::TransactionalStoreMultiMaxSize;
use tonic::{Request, Response, Status};

use crate::access::Access;
use crate::projects::Projects;
use crate::rows::{Found, Outcome, Step, Work, now_ms};
use scope::Scope;

pub(crate) use bus::BusService;

const FEATURES: [&str; 3] = ["ETAG", "TRANSACTIONAL", "TTL"];

/// The service; cheap to clone.
#[derive(Clone)]
pub(crate) struct Service {
    access: Access,
    projects: Arc<Projects>,
}

impl Service {
    pub(crate) fn new(access: Access, projects: Arc<Projects>) -> Self {
        Service { access, projects }
    }

    async fn write(&self, scope: Scope, steps: Vec<Step>, atomic: bool) -> Result<(), Status> {
        if steps.is_empty() {
            return Ok(());
        }
        let project = self.projects.get(&scope.project).await.map_err(status::storage)?;
        let (component, access) = (scope.component.clone(), self.access.clone());
        // The scope goes along with what it holds of the budget: the caller may be gone before the work is done.
        let permitted = Box::new(move || scope.still_permitted(&access));
        let done = project
            .submit(Work::Steps {
                component,
                steps,
                atomic,
                permitted,
            })
            .await;
        match done.map_err(status::storage)? {
            Outcome::Done => Ok(()),
            Outcome::Mismatch(_) => Err(status::etag_mismatch()),
            _ => Err(scope::not_permitted()),
        }
    }

    async fn read(&self, scope: &Scope, keys: &[&str]) -> Result<Vec<(String, Found)>, Status> {
        let project = self.projects.get(&scope.project).await.map_err(status::storage)?;
        let room = |bytes| scope.held.as_ref().is_none_or(|held| held.take(bytes).is_ok());
        project
            .read(&scope.component, keys, now_ms(), &room)
            .await
            .map_err(status::storage)
    }

    async fn set_step(&self, scope: &Scope, request: pb::SetRequest) -> Result<Step, Status> {
        let set = convert::set(request)?;
        let project = self.projects.get(&scope.project).await.map_err(status::storage)?;
        let value = project
            .seal(&scope.component, &set.key, &set.value)
            .map_err(status::storage)?;
        Ok(Step::Set {
            key: set.key,
            value,
            etag: convert::new_etag(),
            expires_ms: set.expires_ms,
            condition: set.condition,
        })
    }
}

#[tonic::async_trait]
impl StateStore for Service {
    async fn init(&self, request: Request<pb::InitRequest>) -> Result<Response<pb::InitResponse>, Status> {
        scope::soon(&self.access, &request).await?;
        Ok(Response::new(pb::InitResponse {}))
    }

    async fn features(&self, request: Request<pb::FeaturesRequest>) -> Result<Response<pb::FeaturesResponse>, Status> {
        scope::of(&self.access, &request)?;
        Ok(Response::new(pb::FeaturesResponse {
            features: FEATURES.map(str::to_string).to_vec(),
        }))
    }

    async fn get(&self, request: Request<pb::GetRequest>) -> Result<Response<pb::GetResponse>, Status> {
        let scope = scope::of(&self.access, &request)?;
        let key = convert::key(request.into_inner().key)?;
        let found = self.read(&scope, &[key.as_str()]).await?.pop();
        Ok(Response::new(
            found.map(|(_, found)| convert::response(found)).unwrap_or_default(),
        ))
    }

    async fn set(&self, request: Request<pb::SetRequest>) -> Result<Response<pb::SetResponse>, Status> {
        let scope = scope::of(&self.access, &request)?;
        let step = self.set_step(&scope, request.into_inner()).await?;
        self.write(scope, vec![step], true).await?;
        Ok(Response::new(pb::SetResponse {}))
    }

    async fn delete(&self, request: Request<pb::DeleteRequest>) -> Result<Response<pb::DeleteResponse>, Status> {
        let scope = scope::of(&self.access, &request)?;
        let step = convert::delete(request.into_inner())?;
        self.write(scope, vec![step], true).await?;
        Ok(Response::new(pb::DeleteResponse {}))
    }

    async fn bulk_get(&self, request: Request<pb::BulkGetRequest>) -> Result<Response<pb::BulkGetResponse>, Status> {
        let scope = scope::of(&self.access, &request)?;
        let keys = request
            .into_inner()
            .items
            .into_iter()
            .map(|item| convert::key(item.key))
            .collect::<Result<Vec<_>, _>>()?;
        let found = self
            .read(&scope, &keys.iter().map(String::as_str).collect::<Vec<_>>())
            .await?;
        let found = found.into_iter().collect();
        let items = keys.into_iter().map(|key| convert::item(key, &found)).collect();
        Ok(Response::new(pb::BulkGetResponse { items }))
    }

    async fn bulk_set(&self, request: Request<pb::BulkSetRequest>) -> Result<Response<pb::BulkSetResponse>, Status> {
        let scope = scope::of(&self.access, &request)?;
        let mut steps = Vec::new();
        for item in request.into_inner().items {
            steps.push(self.set_step(&scope, item).await?);
        }
        self.write(scope, steps, false).await?;
        Ok(Response::new(pb::BulkSetResponse {}))
    }

    async fn bulk_delete(
        &self,
        request: Request<pb::BulkDeleteRequest>,
    ) -> Result<Response<pb::BulkDeleteResponse>, Status> {
        let scope = scope::of(&self.access, &request)?;
        let steps = request
            .into_inner()
            .items
            .into_iter()
            .map(convert::delete)
            .collect::<Result<Vec<_>, _>>()?;
        self.write(scope, steps, false).await?;
        Ok(Response::new(pb::BulkDeleteResponse {}))
    }

    async fn ping(&self, request: Request<pb::PingRequest>) -> Result<Response<pb::PingResponse>, Status> {
        let scope = scope::of(&self.access, &request)?;
        self.read(&scope, &[]).await?;
        Ok(Response::new(pb::PingResponse {}))
    }
}

#[tonic::async_trait]
impl TransactionalStateStore for Service {
    async fn transact(
        &self,
        request: Request<pb::TransactionalStateRequest>,
    ) -> Result<Response<pb::TransactionalStateResponse>, Status> {
        use pb::transactional_state_operation::Request as Operation;
        let scope = scope::of(&self.access, &request)?;
        let mut steps = Vec::new();
        for operation in request.into_inner().operations {
            steps.push(match operation.request {
                Some(Operation::Set(set)) => self.set_step(&scope, set).await?,
                Some(Operation::Delete(delete)) => convert::delete(delete)?,
                None => return Err(Status::invalid_argument("an operation is neither set nor delete")),
            });
        }
        self.write(scope, steps, true).await?;
        Ok(Response::new(pb::TransactionalStateResponse {}))
    }
}

#[tonic::async_trait]
impl TransactionalStoreMultiMaxSize for Service {
    async fn multi_max_size(
        &self,
        request: Request<pb::MultiMaxSizeRequest>,
    ) -> Result<Response<pb::MultiMaxSizeResponse>, Status> {
        scope::of(&self.access, &request)?;
        // No limit but that of a message.
        Ok(Response::new(pb::MultiMaxSizeResponse { max_size: 0 }))
    }
}
