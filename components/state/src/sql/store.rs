//! One store over a table of a SQL server, whatever its dialect.
//!
//! One idea: what a step is said in SQL is the dialect's; deadlines, transactions, repetition after a deadlock and
//! cleaning up are the same for all. Must never repeat a step whose outcome is unknown, only what the server undid.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use palladium_component::state::{
    BulkGetItem, BulkOptions, DeleteRequest, Feature, Features, GetRequest, GetResponse, Operation, QueryRequest,
    QueryResponse, SetRequest, StateStore, TransactRequest,
};
use palladium_component::{Reply, StateError};
use palladium_components_sql::Lease;
use palladium_tasks::Tasks;
use sqlx::{Connection as _, Database, Pool};

use super::Failed;
use crate::bulk;

/// How often a step that met somebody else's is tried.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(5);

const FEATURES: Features = Features::NONE
    .with(Feature::Etag)
    .with(Feature::Transactional)
    .with(Feature::Ttl)
    .with(Feature::KeysLike);

/// A row as it was read, with its key.
pub(crate) type Found = (String, GetResponse);

/// What differs between servers and layouts.
pub(crate) trait Dialect: Send + Sync + 'static {
    type DB: Database;
    /// The server's name in messages.
    const SERVER: &'static str;

    /// Refuses keys that the table cannot hold.
    fn check_key(&self, key: &str) -> Result<(), StateError>;
    /// The rows of these keys that have not expired.
    fn read(
        &self,
        connection: &mut <Self::DB as Database>::Connection,
        keys: &[&str],
    ) -> impl Future<Output = Result<Vec<Found>, Failed>> + Send;
    /// Writes one row, under the request's conditions.
    fn write(
        &self,
        connection: &mut <Self::DB as Database>::Connection,
        request: &SetRequest,
    ) -> impl Future<Output = Result<(), Failed>> + Send;
    /// Deletes one row, under the request's conditions.
    fn remove(
        &self,
        connection: &mut <Self::DB as Database>::Connection,
        request: &DeleteRequest,
    ) -> impl Future<Output = Result<(), Failed>> + Send;
    /// Keys by pattern, see [`StateStore::keys_like`].
    fn keys_like(
        &self,
        connection: &mut <Self::DB as Database>::Connection,
        pattern: &str,
        after: &str,
        limit: i64,
    ) -> impl Future<Output = Result<Vec<String>, Failed>> + Send;
    /// Whether [`Dialect::query`] may be called.
    fn queries(&self) -> bool {
        false
    }
    /// Runs a query, see [`StateStore::query`].
    fn query(
        &self,
        _: &mut <Self::DB as Database>::Connection,
        _: &QueryRequest,
    ) -> impl Future<Output = Result<QueryResponse, Failed>> + Send {
        async { Err(StateError::NotSupported("state store does not support querying".into()).into()) }
    }
    /// Notes that expired rows are removed now, unless somebody did so within the interval.
    fn is_due(
        &self,
        connection: &mut <Self::DB as Database>::Connection,
        interval: Duration,
    ) -> impl Future<Output = Result<bool, Failed>> + Send;
    /// Removes some expired rows and says how many.
    fn sweep(
        &self,
        connection: &mut <Self::DB as Database>::Connection,
    ) -> impl Future<Output = Result<u64, Failed>> + Send;
}

/// An opened store.
pub(crate) struct SqlStore<D: Dialect> {
    dialect: D,
    pool: Pool<D::DB>,
    timeout: Duration,
    tasks: Mutex<Tasks>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Set(&'a SetRequest),
    Delete(&'a DeleteRequest),
}

impl Step<'_> {
    fn key(&self) -> &str {
        match self {
            Step::Set(request) => &request.key,
            Step::Delete(request) => &request.key,
        }
    }
}

impl<D: Dialect> SqlStore<D> {
    /// A store; `cleanup`: how often expired rows are removed.
    pub(crate) fn new(dialect: D, pool: Pool<D::DB>, timeout: Duration, cleanup: Option<Duration>) -> Arc<Self> {
        let store = Arc::new(SqlStore {
            dialect,
            pool,
            timeout,
            tasks: Mutex::new(Tasks::new()),
        });
        if let Some(interval) = cleanup {
            store.clean_up_every(interval);
        }
        store
    }

    fn clean_up_every(self: &Arc<Self>, interval: Duration) {
        let store: Weak<Self> = Arc::downgrade(self);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn("state-sql-cleanup", async move {
            loop {
                tokio::time::sleep(interval).await;
                let Some(store) = store.upgrade() else { return };
                if let Err(error) = store.clean_up(interval).await {
                    tracing::warn!(%error, "expired state could not be removed from {}", D::SERVER);
                }
            }
        });
    }

    async fn clean_up(&self, interval: Duration) -> Result<(), StateError> {
        let mut lease = self.within(Lease::take(&self.pool)).await?;
        if self.within(self.dialect.is_due(&mut lease, interval)).await? {
            while self.within(self.dialect.sweep(&mut lease)).await? > 0 {}
        }
        lease.done();
        Ok(())
    }

    /// The outcome of something, in time and as callers are told.
    async fn within<T, E: Into<Failed>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, StateError> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(outcome) => outcome.map_err(|error| error.into().into_state(D::SERVER)),
            Err(_) => Err(StateError::Unavailable(format!(
                "{} did not answer within {:?}",
                D::SERVER,
                self.timeout
            ))),
        }
    }

    fn check(&self, key: &str) -> Result<(), StateError> {
        if key.is_empty() {
            return Err(StateError::Invalid("missing key".into()));
        }
        self.dialect.check_key(key)
    }

    async fn read(&self, keys: &[&str]) -> Result<HashMap<String, GetResponse>, StateError> {
        for key in keys {
            self.check(key)?;
        }
        let work = async {
            let mut lease = Lease::take(&self.pool).await?;
            let rows = self.dialect.read(&mut lease, keys).await;
            lease.done();
            rows
        };
        Ok(self.within(work).await?.into_iter().collect())
    }

    async fn one(&self, step: Step<'_>) -> Result<(), StateError> {
        self.all(&[step]).await
    }

    /// All steps or none.
    async fn all(&self, steps: &[Step<'_>]) -> Result<(), StateError> {
        for step in steps {
            self.check(step.key())?;
        }
        if steps.is_empty() {
            return Ok(());
        }
        self.within(self.tried(steps)).await
    }

    /// Tries again what the server undid because of somebody else.
    async fn tried(&self, steps: &[Step<'_>]) -> Result<(), Failed> {
        for attempt in 1..TRIES {
            match self.attempt(steps).await {
                Err(error) if error.is_conflict() => tokio::time::sleep(PAUSE * attempt).await,
                outcome => return outcome,
            }
        }
        self.attempt(steps).await
    }

    async fn attempt(&self, steps: &[Step<'_>]) -> Result<(), Failed> {
        let mut lease = Lease::take(&self.pool).await?;
        let outcome = match steps {
            [step] => self.step(&mut lease, *step).await,
            _ => self.in_transaction(&mut lease, steps).await,
        };
        lease.done();
        outcome
    }

    async fn in_transaction(
        &self,
        connection: &mut <D::DB as Database>::Connection,
        steps: &[Step<'_>],
    ) -> Result<(), Failed> {
        let mut transaction = connection.begin().await?;
        for step in steps {
            // Dropping the transaction undoes it.
            self.step(&mut transaction, *step).await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn step(&self, connection: &mut <D::DB as Database>::Connection, step: Step<'_>) -> Result<(), Failed> {
        match step {
            Step::Set(request) => self.dialect.write(connection, request).await,
            Step::Delete(request) => self.dialect.remove(connection, request).await,
        }
    }
}

impl<D: Dialect> StateStore for SqlStore<D> {
    fn features(&self) -> Features {
        match self.dialect.queries() {
            true => FEATURES.with(Feature::QueryApi),
            false => FEATURES,
        }
    }

    fn get<'a>(&'a self, request: &'a GetRequest) -> Reply<'a, GetResponse> {
        Reply::wait(async move {
            let mut found = self.read(&[&request.key]).await?;
            // By the exact key: a table made by others may take several for one.
            Ok(found.remove(&request.key).unwrap_or_default())
        })
    }

    fn set<'a>(&'a self, request: &'a SetRequest) -> Reply<'a, ()> {
        Reply::wait(self.one(Step::Set(request)))
    }

    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> Reply<'a, ()> {
        Reply::wait(self.one(Step::Delete(request)))
    }

    fn bulk_get<'a>(&'a self, requests: &'a [GetRequest], _: BulkOptions) -> Reply<'a, Vec<BulkGetItem>> {
        Reply::wait(async move {
            let keys: Vec<&str> = requests.iter().map(|request| request.key.as_str()).collect();
            let found = match keys.is_empty() {
                true => HashMap::new(),
                false => self.read(&keys).await?,
            };
            let item = |key: &str| bulk::item(key, Ok(found.get(key).cloned().unwrap_or_default()));
            Ok(keys.into_iter().map(item).collect())
        })
    }

    fn bulk_set<'a>(&'a self, requests: &'a [SetRequest], options: BulkOptions) -> Reply<'a, ()> {
        Reply::wait(async move {
            let calls = requests.iter().map(|request| {
                let call: bulk::Call<'_, ()> = (&request.key, Box::pin(self.one(Step::Set(request))));
                call
            });
            bulk::run(calls.collect(), options).await
        })
    }

    fn bulk_delete<'a>(&'a self, requests: &'a [DeleteRequest], options: BulkOptions) -> Reply<'a, ()> {
        Reply::wait(async move {
            let calls = requests.iter().map(|request| {
                let call: bulk::Call<'_, ()> = (&request.key, Box::pin(self.one(Step::Delete(request))));
                call
            });
            bulk::run(calls.collect(), options).await
        })
    }

    fn transact<'a>(&'a self, request: &'a TransactRequest) -> Reply<'a, ()> {
        Reply::wait(async move {
            let step = |operation: &'a Operation| match operation {
                Operation::Set(set) => Step::Set(set),
                Operation::Delete(delete) => Step::Delete(delete),
            };
            let steps: Vec<Step<'a>> = request.operations.iter().map(step).collect();
            self.all(&steps).await
        })
    }

    fn query<'a>(&'a self, request: &'a QueryRequest) -> Reply<'a, QueryResponse> {
        let work = async move {
            let mut lease = Lease::take(&self.pool).await?;
            let answer = self.dialect.query(&mut lease, request).await;
            // Of an answer that was not read to its end there is more to come on the connection.
            if !matches!(answer, Err(Failed::State(StateError::Other(_)))) {
                lease.done();
            }
            answer
        };
        Reply::wait(self.within(work))
    }

    fn keys_like<'a>(&'a self, pattern: &'a str, after: &'a str, limit: usize) -> Reply<'a, Vec<String>> {
        Reply::wait(async move {
            self.check(pattern)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let work = async {
                let mut lease = Lease::take(&self.pool).await?;
                let keys = self.dialect.keys_like(&mut lease, pattern, after, limit).await;
                lease.done();
                keys
            };
            self.within(work).await
        })
    }

    fn ping(&self) -> Reply<'_, ()> {
        Reply::wait(self.within(async {
            let mut lease = Lease::take(&self.pool).await?;
            let answer = lease.ping().await;
            lease.done();
            answer
        }))
    }

    fn close(&self) -> Reply<'_, ()> {
        *self.tasks.lock().unwrap_or_else(PoisonError::into_inner) = Tasks::new();
        Reply::wait(async move {
            // What still works on a connection is not waited for longer than any call.
            let _ = tokio::time::timeout(self.timeout, self.pool.close()).await;
            Ok(())
        })
    }
}
