//! The opened store: calls, and what repeats them.
//!
//! One idea: a key is a hash of data and version, and every write is one script that checks and changes in one step.
//! Must never repeat a write that may have reached the server: only a refused connection is certain not to have.

use std::time::Duration;

use ::redis::aio::ConnectionManager;
use ::redis::{Cmd, FromRedisValue, RedisError, Script, ScriptInvocation, cmd, pipe};
use bytes::Bytes;
use palladium_component::reply::BoxFuture;
use palladium_component::state::{
    BulkGetItem, BulkOptions, Concurrency, Consistency, DeleteRequest, Feature, Features, GetRequest, GetResponse,
    Operation, SetRequest, StateStore, TransactRequest,
};
use palladium_component::{Reply, StateError};

use super::scripts;
use crate::{bulk, ttl};

const FEATURES: Features = Features::NONE
    .with(Feature::Etag)
    .with(Feature::Transactional)
    .with(Feature::Ttl)
    .with(Feature::KeysLike);
/// How long a strongly consistent write waits for replicas, in milliseconds.
const REPLICA_WAIT_MS: u32 = 1000;

/// When and how often to repeat.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retry {
    pub(super) times: u32,
    pub(super) min: Duration,
    pub(super) max: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
}

pub(super) struct RedisStore {
    connection: ConnectionManager,
    retry: Retry,
    default_ttl: Option<i32>,
    replicas: u32,
    set: Script,
    delete: Script,
    transact: Script,
}

/// One stored hash: (data, version), and the rest of its life in milliseconds (-1 = no end, -2 = absent).
type Found = ((Option<Vec<u8>>, Option<String>), i64);

impl RedisStore {
    pub(super) async fn new(
        mut connection: ConnectionManager,
        retry: Retry,
        default_ttl: Option<i32>,
    ) -> Result<Self, RedisError> {
        cmd("PING").query_async::<()>(&mut connection).await?;
        let info: String = cmd("INFO").arg("replication").query_async(&mut connection).await?;
        let replicas = info
            .lines()
            .find_map(|line| line.strip_prefix("connected_slaves:")?.trim().parse().ok())
            .unwrap_or(0);
        let (set, delete, transact) = (scripts::set(), scripts::delete(), scripts::transact());
        Ok(RedisStore {
            connection,
            retry,
            default_ttl,
            replicas,
            set,
            delete,
            transact,
        })
    }

    /// Runs a call, and again when it certainly never arrived, or only reads.
    async fn call<'a, T>(
        &self,
        kind: Kind,
        run: impl Fn(ConnectionManager) -> BoxFuture<'a, Result<T, RedisError>>,
    ) -> Result<T, RedisError> {
        let mut pause = self.retry.min;
        for _ in 0..self.retry.times {
            match run(self.connection.clone()).await {
                Err(error) if error.is_connection_refusal() || (kind == Kind::Read && error.is_io_error()) => {
                    tracing::debug!(%error, "redis call is repeated");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(self.retry.max);
                }
                outcome => return outcome,
            }
        }
        run(self.connection.clone()).await
    }

    async fn read(&self, key: &str) -> Result<GetResponse, StateError> {
        match self.found(&[key]).await {
            Ok(mut found) => found.pop().map_or_else(|| Ok(GetResponse::default()), response),
            // Not a hash: a plain string that something else wrote.
            Err(error) if error.code() == Some("WRONGTYPE") => {
                let get = cmd("GET").arg(key).to_owned();
                let plain = self.command::<Option<Vec<u8>>>(&get).await.map_err(failed)?;
                Ok(GetResponse {
                    value: plain.map(Bytes::from),
                    ..GetResponse::default()
                })
            }
            Err(error) => Err(failed(error)),
        }
    }

    async fn read_many(&self, requests: &[GetRequest], options: BulkOptions) -> Result<Vec<BulkGetItem>, StateError> {
        let keys: Vec<&str> = requests.iter().map(|request| request.key.as_str()).collect();
        match self.found(&keys).await {
            Ok(found) => Ok(keys
                .into_iter()
                .zip(found)
                .map(|(key, found)| bulk::item(key, response(found)))
                .collect()),
            Err(error) if error.code() == Some("WRONGTYPE") => {
                let mut calls: Vec<bulk::Call<'_, GetResponse>> = Vec::with_capacity(keys.len());
                for key in keys {
                    calls.push((key, Box::pin(self.read(key))));
                }
                Ok(bulk::read(calls, options).await)
            }
            Err(error) => Err(failed(error)),
        }
    }

    async fn found(&self, keys: &[&str]) -> Result<Vec<Found>, RedisError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let pipeline = read_pipe(keys);
        let pipeline = &pipeline;
        let query = |mut connection| -> BoxFuture<'_, _> {
            Box::pin(async move { pipeline.query_async(&mut connection).await })
        };
        self.call(Kind::Read, query).await
    }

    pub(super) async fn command<T: FromRedisValue + Send>(&self, command: &Cmd) -> Result<T, RedisError> {
        let query = |mut connection| -> BoxFuture<'_, _> {
            Box::pin(async move { command.query_async(&mut connection).await })
        };
        self.call(Kind::Read, query).await
    }

    async fn script(&self, invocation: &ScriptInvocation<'_>) -> Result<usize, StateError> {
        let invoke = |mut connection| -> BoxFuture<'_, _> {
            Box::pin(async move { invocation.invoke_async(&mut connection).await })
        };
        self.call(Kind::Write, invoke).await.map_err(failed)
    }

    async fn write(&self, request: &SetRequest) -> Result<(), StateError> {
        let step = self.step(request)?;
        let mut invocation = self.set.key(&request.key);
        invocation
            .arg(step.etag)
            .arg(&request.value[..])
            .arg(step.first)
            .arg(step.ttl);
        if self.script(&invocation).await? == 0 {
            return Err(StateError::EtagMismatch(Some(format!(
                "failed to set key {}",
                request.key
            ))));
        }
        if request.consistency == Consistency::Strong && self.replicas > 0 {
            let mut connection = self.connection.clone();
            let waited = cmd("WAIT")
                .arg(self.replicas)
                .arg(REPLICA_WAIT_MS)
                .query_async::<i64>(&mut connection)
                .await;
            waited.map_err(failed)?;
        }
        Ok(())
    }

    async fn remove(&self, request: &DeleteRequest) -> Result<(), StateError> {
        let mut invocation = self.delete.key(&request.key);
        invocation.arg(request.etag.as_deref().unwrap_or_default());
        match self.script(&invocation).await? {
            0 => Err(StateError::EtagMismatch(Some(format!(
                "failed to delete key {}",
                request.key
            )))),
            _ => Ok(()),
        }
    }

    async fn run(&self, request: &TransactRequest) -> Result<(), StateError> {
        if request.operations.is_empty() {
            return Ok(());
        }
        let mut invocation = self.transact.prepare_invoke();
        for operation in &request.operations {
            invocation.key(operation.key());
            match operation {
                Operation::Set(set) => {
                    let step = self.step(set)?;
                    invocation
                        .arg("set")
                        .arg(step.etag)
                        .arg(&set.value[..])
                        .arg(step.first)
                        .arg(step.ttl);
                }
                Operation::Delete(delete) => {
                    let etag = delete.etag.as_deref().unwrap_or_default();
                    invocation.arg("delete").arg(etag).arg("").arg("").arg("");
                }
            }
        }
        match self.script(&invocation).await? {
            0 => Ok(()),
            step => {
                let key = request.operations.get(step - 1).map(Operation::key).unwrap_or_default();
                Err(StateError::EtagMismatch(Some(format!("failed to change key {key}"))))
            }
        }
    }

    fn step<'a>(&self, request: &'a SetRequest) -> Result<Step<'a>, StateError> {
        let etag = request.etag.as_deref().unwrap_or_default();
        let etag = if request.concurrency == Concurrency::LastWrite {
            ""
        } else {
            etag
        };
        if !etag.is_empty() && etag.parse::<u64>().is_err() {
            return Err(StateError::EtagInvalid(Some(
                "an etag of Redis is a whole number".into(),
            )));
        }
        let ttl = ttl::parse(&request.metadata)?
            .map(i64::from)
            .or(self.default_ttl.map(i64::from));
        let first = if request.concurrency == Concurrency::FirstWrite {
            "1"
        } else {
            "0"
        };
        Ok(Step {
            etag,
            first,
            ttl: ttl.map(|seconds| seconds.to_string()).unwrap_or_default(),
        })
    }
}

struct Step<'a> {
    etag: &'a str,
    first: &'static str,
    ttl: String,
}

fn read_pipe(keys: &[&str]) -> ::redis::Pipeline {
    let mut pipeline = pipe();
    for key in keys {
        pipeline
            .cmd("HMGET")
            .arg(key)
            .arg("data")
            .arg("version")
            .cmd("PTTL")
            .arg(key);
    }
    pipeline
}

fn response(((data, version), life_ms): Found) -> Result<GetResponse, StateError> {
    let metadata = match life_ms {
        // Rounded up: a key must not look expired while it lives.
        0.. => ttl::response_metadata(ttl::now_unix_s() + (life_ms + 999) / 1000),
        _ => Default::default(),
    };
    match (data, version) {
        (Some(data), Some(version)) => Ok(GetResponse {
            value: Some(data.into()),
            etag: Some(version),
            metadata,
        }),
        (None, None) if life_ms == -2 => Ok(GetResponse::default()),
        _ => Err(StateError::Other(
            "required hash field 'data' or 'version' was not found".into(),
        )),
    }
}

fn failed(error: RedisError) -> StateError {
    if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() {
        return StateError::Unavailable(format!("redis store: {error}"));
    }
    StateError::Other(format!("redis store: {error}"))
}

impl StateStore for RedisStore {
    fn features(&self) -> Features {
        FEATURES
    }

    fn get<'a>(&'a self, request: &'a GetRequest) -> Reply<'a, GetResponse> {
        Reply::wait(self.read(&request.key))
    }

    fn set<'a>(&'a self, request: &'a SetRequest) -> Reply<'a, ()> {
        Reply::wait(self.write(request))
    }

    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> Reply<'a, ()> {
        Reply::wait(self.remove(request))
    }

    fn bulk_get<'a>(&'a self, requests: &'a [GetRequest], options: BulkOptions) -> Reply<'a, Vec<BulkGetItem>> {
        Reply::wait(self.read_many(requests, options))
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

    fn keys_like<'a>(&'a self, pattern: &'a str, after: &'a str, limit: usize) -> Reply<'a, Vec<String>> {
        Reply::wait(async move { self.keys(pattern, after, limit).await.map_err(failed) })
    }

    fn ping(&self) -> Reply<'_, ()> {
        Reply::wait(async move {
            let mut connection = self.connection.clone();
            cmd("PING").query_async::<()>(&mut connection).await.map_err(failed)
        })
    }
}
