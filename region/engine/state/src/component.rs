//! One loaded state store, and the set of them that a Dapr Server has.
//!
//! The one idea: a call takes the application's keys and values, and the driver never sees a key without its prefix, nor,
//! where the component has an encryption key, a value that is not encrypted. Both are fixed when the component is loaded;
//! no request can choose otherwise. Each call runs under the caller's resiliency policy, as far as it may be repeated
//! ([`crate::repeat`]). Actors and workflows, whose state Dapr does not encrypt, use [`StateComponent::store`].

use std::collections::HashMap;
use std::sync::Arc;

use palladium_component::state::{
    self, BulkGetItem, BulkOptions, DeleteRequest, Feature, Features, GetRequest, GetResponse, Metadata, QueryResponse,
    SetRequest, StateStore,
};
use palladium_component::{MetadataError, Properties, StateError};
use palladium_engine_resiliency::Policy;
use thiserror::Error;

use crate::encryption::Encryption;
use crate::error::{ApiError, Operation};
use crate::keys::{KeyPrefix, original_key};
use crate::query;
use crate::repeat::{self, Conditional as _};

/// Single reads at a time in a bulk read that does not say.
const BULK_GET_PARALLELISM: usize = 100;

/// The loaded state stores of one Dapr Server, by component name. Replaced as a whole when components change.
#[derive(Debug, Clone, Default)]
pub struct Stores(HashMap<String, Arc<StateComponent>>);

impl Stores {
    /// The set of these components.
    pub fn new(components: impl IntoIterator<Item = Arc<StateComponent>>) -> Self {
        Stores(
            components
                .into_iter()
                .map(|component| (component.name.clone(), component))
                .collect(),
        )
    }

    /// The component of that name; `app_id` only goes into the error.
    pub fn find(&self, store: &str, app_id: &str) -> Result<&Arc<StateComponent>, ApiError> {
        self.0.get(store).ok_or_else(|| {
            let (store, app_id) = (store.to_string(), app_id.to_string());
            if self.0.is_empty() {
                ApiError::NotConfigured { store, app_id }
            } else {
                ApiError::NotFound { store, app_id }
            }
        })
    }

    /// All components, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<StateComponent>> {
        self.0.values()
    }
}

/// One loaded state store.
pub struct StateComponent {
    name: String,
    store: Arc<dyn StateStore>,
    prefix: KeyPrefix,
    encryption: Option<Encryption>,
}

/// A component whose metadata cannot be used.
#[derive(Debug, Error)]
pub enum SetupError {
    /// Its `keyPrefix` is illegal.
    #[error("{0}")]
    KeyPrefix(ApiError),
    /// Its encryption keys are.
    #[error(transparent)]
    Encryption(#[from] MetadataError),
}

impl StateComponent {
    /// A component over an opened store. Fails when its `keyPrefix` is illegal or an encryption key is none.
    pub fn new(
        name: &str,
        app_id: &str,
        namespace: &str,
        properties: &Properties,
        store: Arc<dyn StateStore>,
    ) -> Result<Self, SetupError> {
        let prefix = KeyPrefix::from_metadata(properties, name, app_id, namespace).map_err(|message| {
            SetupError::KeyPrefix(ApiError::IllegalKey {
                store: name.into(),
                key: properties.get("keyPrefix").unwrap_or_default().to_lowercase(),
                message,
            })
        })?;
        Ok(StateComponent {
            name: name.into(),
            store,
            prefix,
            encryption: Encryption::from_metadata(properties, name)?,
        })
    }

    /// Name of the component.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the store can do.
    pub fn features(&self) -> Features {
        self.store.features()
    }

    /// The opened store, for liveness checks and closing.
    pub fn store(&self) -> &Arc<dyn StateStore> {
        &self.store
    }

    /// Reads one key. The request's key is the application's.
    pub async fn get(&self, policy: &Policy, request: GetRequest) -> Result<GetResponse, ApiError> {
        let stored = GetRequest {
            key: self.key(&request.key)?,
            ..request
        };
        let found = repeat::run(policy, false, || self.store.get(&stored)).await;
        let answer = found.and_then(|found| self.readable(found));
        answer.map_err(|source| {
            self.failed(
                Operation::Get {
                    key: original_key(&stored.key).into(),
                },
                source,
            )
        })
    }

    /// Reads several keys; `parallelism` ≤ 0 means the default. The items carry the application's keys.
    pub async fn bulk_get(
        &self,
        policy: &Policy,
        keys: &[String],
        metadata: &Metadata,
        parallelism: i64,
    ) -> Result<Vec<BulkGetItem>, ApiError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut requests = Vec::with_capacity(keys.len());
        for key in keys {
            requests.push(GetRequest {
                key: self.key(key)?,
                metadata: metadata.clone(),
                ..GetRequest::default()
            });
        }
        let parallelism = usize::try_from(parallelism)
            .ok()
            .filter(|count| *count > 0)
            .unwrap_or(BULK_GET_PARALLELISM);
        let read = || self.store.bulk_get(&requests, BulkOptions { parallelism });
        let items = repeat::run(policy, false, read).await;
        let mut items = items.map_err(|source| self.failed(Operation::BulkGet, source))?;
        for item in &mut items {
            item.key = original_key(&item.key).to_string();
            if let (Some(encryption), Some(value)) = (&self.encryption, &item.value) {
                match encryption.open(value) {
                    Ok(value) => item.value = Some(value),
                    Err(error) => (item.value, item.error) = (None, Some(error.to_string())),
                }
            }
        }
        Ok(items)
    }

    /// Writes items, each on its own. The requests' keys are the application's.
    pub async fn save(&self, policy: &Policy, mut requests: Vec<SetRequest>) -> Result<(), ApiError> {
        for request in &mut requests {
            if request.key.is_empty() {
                return Err(ApiError::MissingKey);
            }
            request.key = self.key(&request.key)?;
            self.close(request)
                .map_err(|source| self.failed(Operation::Save, source))?;
        }
        let saved = repeat::bulk(policy, &*self.store, requests).await;
        saved.map_err(|source| self.failed(Operation::Save, settle(source)))
    }

    /// Deletes one key. The request's key is the application's.
    pub async fn delete(&self, policy: &Policy, request: DeleteRequest) -> Result<(), ApiError> {
        let stored = DeleteRequest {
            key: self.key(&request.key)?,
            ..request
        };
        let answer = repeat::run(policy, stored.is_conditional(), || self.store.delete(&stored)).await;
        answer.map_err(|source| {
            self.failed(
                Operation::Delete {
                    key: original_key(&stored.key).into(),
                },
                source,
            )
        })
    }

    /// Deletes several keys, each on its own. The requests' keys are the application's.
    pub async fn bulk_delete(&self, policy: &Policy, mut requests: Vec<DeleteRequest>) -> Result<(), ApiError> {
        for request in &mut requests {
            request.key = self.key(&request.key)?;
        }
        let deleted = repeat::bulk(policy, &*self.store, requests).await;
        deleted.map_err(|source| self.failed(Operation::BulkDelete, settle(source)))
    }

    /// Refuses transactions on a store without them. Called before the body is read, as upstream does.
    pub fn check_transactional(&self) -> Result<(), ApiError> {
        if self.store.features().has(Feature::Transactional) {
            return Ok(());
        }
        Err(ApiError::TransactionsNotSupported {
            store: self.name.clone(),
        })
    }

    /// Carries out all operations or none. The operations' keys are the application's.
    pub async fn transact(
        &self,
        policy: &Policy,
        operations: Vec<state::Operation>,
        metadata: Metadata,
    ) -> Result<(), ApiError> {
        let operations = self.prepared(operations).await?;
        self.commit(policy, operations, metadata).await
    }

    /// The operations of a transaction as the store gets them, for whoever adds to them ([`StateComponent::commit`]).
    pub async fn prepared(&self, mut operations: Vec<state::Operation>) -> Result<Vec<state::Operation>, ApiError> {
        self.check_transactional()?;
        for operation in &mut operations {
            let key = match operation {
                state::Operation::Set(request) => &mut request.key,
                state::Operation::Delete(request) => &mut request.key,
            };
            *key = self.key(key)?;
        }
        self.check_count(operations.len()).await?;
        for operation in &mut operations {
            if let state::Operation::Set(request) = operation {
                self.close(request)
                    .map_err(|source| self.failed(Operation::Transaction, source))?;
            }
        }
        Ok(operations)
    }

    /// Refuses a transaction of more operations than the store takes.
    pub async fn check_count(&self, count: usize) -> Result<(), ApiError> {
        if count == 0 {
            return Ok(());
        }
        let max = self.store.max_transaction_operations().await;
        let max = max.map_err(|source| self.failed(Operation::Transaction, source))?;
        match max.filter(|max| *max > 0 && count > *max) {
            None => Ok(()),
            Some(max) => Err(ApiError::TooManyOperations {
                store: self.name.clone(),
                count,
                max,
            }),
        }
    }

    /// Carries out all of these or none. They are as the store gets them.
    pub async fn commit(
        &self,
        policy: &Policy,
        operations: Vec<state::Operation>,
        metadata: Metadata,
    ) -> Result<(), ApiError> {
        if operations.is_empty() {
            return Ok(());
        }
        let request = state::TransactRequest { operations, metadata };
        let conditional = request.operations.iter().any(|operation| operation.is_conditional());
        let answer = repeat::run(policy, conditional, || self.store.transact(&request)).await;
        answer.map_err(|source| self.failed(Operation::Transaction, source))
    }

    /// Runs a query document (JSON). The found items carry the application's keys.
    pub async fn query(&self, policy: &Policy, document: &str, metadata: Metadata) -> Result<QueryResponse, ApiError> {
        if !self.store.queryable() {
            return Err(ApiError::QueryNotSupported {
                store: self.name.clone(),
            });
        }
        let failed = |source| ApiError::QueryFailed {
            store: self.name.clone(),
            source,
        };
        if self.encryption.is_some() {
            return Err(failed(StateError::NotSupported("cannot query encrypted store".into())));
        }
        let request = query::parse(document, metadata)
            .map_err(|error| failed(StateError::Invalid(format!("failed to parse JSON query body: {error}"))))?;
        let mut response = repeat::run(policy, false, || self.store.query(&request))
            .await
            .map_err(failed)?;
        for item in &mut response.items {
            item.key = original_key(&item.key).to_string();
        }
        Ok(response)
    }

    /// An error of this store, for callers that found a bad option before calling.
    pub fn failed(&self, operation: Operation, source: StateError) -> ApiError {
        ApiError::Failed {
            store: self.name.clone(),
            operation,
            source,
        }
    }

    fn readable(&self, mut found: GetResponse) -> Result<GetResponse, StateError> {
        if let (Some(encryption), Some(value)) = (&self.encryption, &found.value) {
            found.value = Some(encryption.open(value)?);
        }
        Ok(found)
    }

    fn close(&self, request: &mut SetRequest) -> Result<(), StateError> {
        self.encryption
            .as_ref()
            .map_or(Ok(()), |encryption| encryption.close(request))
    }

    fn key(&self, key: &str) -> Result<String, ApiError> {
        self.prefix.apply(key).map_err(|message| ApiError::IllegalKey {
            store: self.name.clone(),
            key: key.into(),
            message,
        })
    }
}

impl std::fmt::Debug for StateComponent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateComponent")
            .field("name", &self.name)
            .field("prefix", &self.prefix)
            .field("encrypted", &self.encryption.is_some())
            .finish_non_exhaustive()
    }
}

/// A bulk call whose failures are all etag failures is itself one: it can never succeed by repetition.
fn settle(error: StateError) -> StateError {
    let StateError::Bulk(failures) = &error else {
        return error;
    };
    if failures.is_empty() || !failures.iter().all(|failure| failure.error.is_etag()) {
        return error;
    }
    let invalid = failures
        .iter()
        .any(|failure| matches!(failure.error, StateError::EtagInvalid(_)));
    let detail = Some(error.to_string());
    if invalid {
        StateError::EtagInvalid(detail)
    } else {
        StateError::EtagMismatch(detail)
    }
}

#[cfg(test)]
mod tests;
