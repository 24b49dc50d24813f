//! The calls of a state store as etcd transactions.
//!
//! One idea: an etag is a modification revision, a life is a lease, and a write is one transaction that carries its own
//! conditions. Must never read first to decide about a write: between the two another writer fits.

use std::collections::HashMap;

use bytes::Bytes;
use palladium_component::state::{
    BulkGetItem, BulkOptions, Concurrency, DeleteRequest, Feature, Features, GetRequest, GetResponse, Metadata,
    Operation, SetRequest, StateStore, TransactRequest,
};
use palladium_component::{Reply, StateError};

use super::cluster::Cluster;
use super::layout::Layout;
use super::wire::{
    Compare, DeleteRangeRequest, LEASE_GRANT, LEASE_REVOKE, LEASE_TIME_TO_LIVE, LeaseGrantRequest, LeaseGrantResponse,
    LeaseRequest, LeaseRevokeResponse, LeaseTimeToLiveResponse, Op, PutRequest, RANGE, RangeRequest, RangeResponse,
    RequestOp, TXN, TxnRequest, TxnResponse,
};
use crate::{bulk, ttl};

const FEATURES: Features = Features::NONE
    .with(Feature::Etag)
    .with(Feature::Transactional)
    .with(Feature::Ttl);

pub(super) struct EtcdStore {
    cluster: Cluster,
    prefix: String,
    layout: Layout,
    max_operations: usize,
}

impl EtcdStore {
    pub(super) fn new(cluster: Cluster, prefix: String, layout: Layout, max_operations: usize) -> Self {
        Self {
            cluster,
            prefix,
            layout,
            max_operations,
        }
    }

    fn key(&self, key: &str) -> Bytes {
        format!("{}/{key}", self.prefix).into()
    }

    async fn read(&self, request: &GetRequest) -> Result<GetResponse, StateError> {
        let asked = RangeRequest {
            key: self.key(&request.key),
        };
        let found: RangeResponse = self.cluster.call(RANGE, asked).await?;
        let Some(found) = found.kvs.into_iter().next() else {
            return Ok(GetResponse::default());
        };
        let (value, mut metadata) = self.layout.decode(found.value)?;
        if found.lease != 0 && !self.layout.tells_expiry() {
            metadata = self.expiry(found.lease).await?;
        }
        Ok(GetResponse {
            value: Some(value),
            etag: Some(found.mod_revision.to_string()),
            metadata,
        })
    }

    /// When a lease ends, as response metadata; none when it has ended just now.
    async fn expiry(&self, lease: i64) -> Result<Metadata, StateError> {
        let left: LeaseTimeToLiveResponse = self
            .cluster
            .call(LEASE_TIME_TO_LIVE, LeaseRequest { id: lease })
            .await?;
        if left.ttl < 0 {
            return Ok(Metadata::new());
        }
        Ok(ttl::response_metadata(ttl::now_unix_s().saturating_add(left.ttl)))
    }

    async fn put(&self, request: &SetRequest) -> Result<Op, StateError> {
        let life = ttl::parse(&request.metadata)?.filter(|seconds| *seconds > 0);
        let lease = match life {
            None => 0,
            Some(seconds) => {
                let wanted = LeaseGrantRequest { ttl: seconds.into() };
                let granted: LeaseGrantResponse = self.cluster.call(LEASE_GRANT, wanted).await?;
                granted.id
            }
        };
        Ok(Op::Put(PutRequest {
            key: self.key(&request.key),
            value: self.layout.encode(&request.value, life),
            lease,
        }))
    }

    /// The condition of a write or deletion, if it has one.
    fn condition(&self, key: &str, etag: Option<&str>, how: Concurrency) -> Result<Option<Compare>, StateError> {
        match etag.filter(|etag| !etag.is_empty()) {
            Some(etag) => match etag.parse() {
                Ok(revision) if revision > 0 => Ok(Some(Compare::written_at(self.key(key), revision))),
                // No key has such an etag: a mismatch without asking.
                _ => Err(StateError::EtagMismatch(Some("state etag does not match".into()))),
            },
            None => Ok((how == Concurrency::FirstWrite).then(|| Compare::absent(self.key(key)))),
        }
    }

    async fn commit(&self, compare: Vec<Compare>, ops: Vec<Op>) -> Result<(), StateError> {
        let leases: Vec<i64> = ops.iter().filter_map(Op::lease).collect();
        let success = ops.into_iter().map(|op| RequestOp { op: Some(op) }).collect();
        let done: TxnResponse = self.cluster.call(TXN, TxnRequest { compare, success }).await?;
        if done.succeeded {
            return Ok(());
        }
        // Nothing holds them now. One that cannot be revoked ends by itself.
        for id in leases {
            let revoked: Result<LeaseRevokeResponse, _> = self.cluster.call(LEASE_REVOKE, LeaseRequest { id }).await;
            if let Err(error) = revoked {
                tracing::debug!(%error, "a lease without keys stays until its end");
                break;
            }
        }
        Err(StateError::EtagMismatch(Some(
            "state etag does not match, or the item already exists".into(),
        )))
    }

    async fn write(&self, request: &SetRequest) -> Result<(), StateError> {
        let compare = self.condition(&request.key, request.etag.as_deref(), request.concurrency)?;
        let op = self.put(request).await?;
        self.commit(compare.into_iter().collect(), vec![op]).await
    }

    async fn remove(&self, request: &DeleteRequest) -> Result<(), StateError> {
        let compare = self.condition(&request.key, request.etag.as_deref(), request.concurrency)?;
        let op = Op::Delete(DeleteRangeRequest {
            key: self.key(&request.key),
        });
        self.commit(compare.into_iter().collect(), vec![op]).await
    }

    /// All conditions hold before, then all steps count. etcd takes each key once: of several steps the last one stands.
    async fn run(&self, request: &TransactRequest) -> Result<(), StateError> {
        let mut compare = Vec::new();
        let mut last: HashMap<&str, usize> = HashMap::new();
        for (at, operation) in request.operations.iter().enumerate() {
            let (etag, how) = match operation {
                Operation::Set(set) => (set.etag.as_deref(), set.concurrency),
                Operation::Delete(delete) => (delete.etag.as_deref(), delete.concurrency),
            };
            compare.extend(self.condition(operation.key(), etag, how)?);
            last.insert(operation.key(), at);
        }
        let mut ops = Vec::with_capacity(last.len());
        for (at, operation) in request.operations.iter().enumerate() {
            if last.get(operation.key()) != Some(&at) {
                continue;
            }
            ops.push(match operation {
                Operation::Set(set) => self.put(set).await?,
                Operation::Delete(delete) => Op::Delete(DeleteRangeRequest {
                    key: self.key(&delete.key),
                }),
            });
        }
        self.commit(compare, ops).await
    }
}

impl StateStore for EtcdStore {
    fn features(&self) -> Features {
        FEATURES
    }

    fn max_transaction_operations(&self) -> Reply<'_, Option<usize>> {
        Reply::ready(Ok(Some(self.max_operations)))
    }

    fn get<'a>(&'a self, request: &'a GetRequest) -> Reply<'a, GetResponse> {
        Reply::wait(self.read(request))
    }

    fn set<'a>(&'a self, request: &'a SetRequest) -> Reply<'a, ()> {
        Reply::wait(self.write(request))
    }

    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> Reply<'a, ()> {
        Reply::wait(self.remove(request))
    }

    fn bulk_get<'a>(&'a self, requests: &'a [GetRequest], options: BulkOptions) -> Reply<'a, Vec<BulkGetItem>> {
        let calls = requests
            .iter()
            .map(|request| bulk::call(&request.key, self.read(request)));
        let calls = calls.collect();
        Reply::wait(async move { Ok(bulk::read(calls, options).await) })
    }

    fn bulk_set<'a>(&'a self, requests: &'a [SetRequest], options: BulkOptions) -> Reply<'a, ()> {
        let calls = requests
            .iter()
            .map(|request| bulk::call(&request.key, self.write(request)));
        Reply::wait(bulk::run(calls.collect(), options))
    }

    fn bulk_delete<'a>(&'a self, requests: &'a [DeleteRequest], options: BulkOptions) -> Reply<'a, ()> {
        let calls = requests
            .iter()
            .map(|request| bulk::call(&request.key, self.remove(request)));
        Reply::wait(bulk::run(calls.collect(), options))
    }

    fn transact<'a>(&'a self, request: &'a TransactRequest) -> Reply<'a, ()> {
        Reply::wait(self.run(request))
    }

    fn ping(&self) -> Reply<'_, ()> {
        Reply::wait(async move {
            let asked = RangeRequest {
                key: Bytes::from_static(b"health"),
            };
            self.cluster.call::<_, RangeResponse>(RANGE, asked).await.map(|_| ())
        })
    }
}
