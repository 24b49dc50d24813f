//! The opened store: statements and their outcomes.
//!
//! One idea: all writes take the one writing connection, and a bulk write is one transaction in which a failed
//! condition costs only its own step. Must never build SQL from a request (texts come from `schema`, keys and values
//! are bound), nor use a connection again whose transaction on disk failed otherwise than by a condition.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use palladium_component::state::{
    BulkGetItem, BulkOptions, Concurrency, DeleteRequest, Feature, Features, GetRequest, GetResponse, Operation,
    SetRequest, StateStore, TransactRequest, ValueForm,
};
use palladium_component::{BulkFailure, Reply, StateError};
use palladium_tasks::Tasks;
use sqlx::sqlite::{SqliteConnection, SqliteQueryResult, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqlitePool};
use uuid::Uuid;

use super::schema::Statements;
use crate::like::Pattern;
use crate::{bulk, ttl};

const FEATURES: Features = Features::NONE
    .with(Feature::Etag)
    .with(Feature::Transactional)
    .with(Feature::Ttl)
    .with(Feature::KeysLike);
/// Keys in one statement of a bulk read; SQLite takes 32,766 parameters.
const KEYS_PER_STATEMENT: usize = 1000;

pub(super) struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
    statements: Statements,
    timeout: Duration,
    on_disk: bool,
    tasks: Mutex<Tasks>,
}

impl SqliteStore {
    pub(super) fn new(
        writer: SqlitePool,
        readers: SqlitePool,
        statements: Statements,
        timeout: Duration,
        on_disk: bool,
    ) -> Self {
        SqliteStore {
            writer,
            readers,
            statements,
            timeout,
            on_disk,
            tasks: Mutex::new(Tasks::new()),
        }
    }

    /// Removes expired rows now and then, for as long as the store lives.
    pub(super) fn clean_up_every(self: &Arc<Self>, interval: Duration) {
        let store: Weak<Self> = Arc::downgrade(self);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn("state-sqlite-cleanup", async move {
            loop {
                tokio::time::sleep(interval).await;
                let Some(store) = store.upgrade() else { return };
                if let Err(error) = store.clean_up(interval).await {
                    tracing::warn!(%error, "state.sqlite could not remove expired rows");
                }
            }
        });
    }

    /// Removes expired rows unless another process did so within the interval.
    async fn clean_up(&self, interval: Duration) -> Result<(), StateError> {
        let span = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
        let noted = sqlx::query(AssertSqlSafe(self.statements.note_cleanup.clone()))
            .bind(span)
            .execute(&self.writer);
        if noted.await.map_err(failed)?.rows_affected() == 0 {
            return Ok(());
        }
        loop {
            let deleted = sqlx::query(AssertSqlSafe(self.statements.delete_expired.clone())).execute(&self.writer);
            if deleted.await.map_err(failed)?.rows_affected() == 0 {
                return Ok(());
            }
        }
    }

    async fn within<T>(&self, work: impl Future<Output = Result<T, StateError>>) -> Result<T, StateError> {
        let late = || StateError::Unavailable(format!("SQLite did not answer within {:?}", self.timeout));
        tokio::time::timeout(self.timeout, work)
            .await
            .unwrap_or_else(|_| Err(late()))
    }

    async fn read(&self, key: &str) -> Result<GetResponse, StateError> {
        require(key)?;
        let row = sqlx::query(AssertSqlSafe(self.statements.get.clone()))
            .bind(key)
            .fetch_optional(&self.readers);
        row.await
            .map_err(failed)?
            .map_or_else(|| Ok(GetResponse::default()), |row| Ok(read_row(&row)?.1))
    }

    async fn read_many(&self, requests: &[GetRequest]) -> Result<Vec<BulkGetItem>, StateError> {
        let mut found: HashMap<String, GetResponse> = HashMap::with_capacity(requests.len());
        for some in requests.chunks(KEYS_PER_STATEMENT) {
            let statement = self.statements.get_many(some.len());
            let query = some
                .iter()
                .fold(sqlx::query(AssertSqlSafe(statement)), |query, request| {
                    query.bind(&request.key)
                });
            for row in query.fetch_all(&self.readers).await.map_err(failed)? {
                let (key, response) = read_row(&row)?;
                found.insert(key, response);
            }
        }
        let item =
            |request: &GetRequest| bulk::item(&request.key, Ok(found.get(&request.key).cloned().unwrap_or_default()));
        Ok(requests.iter().map(item).collect())
    }

    async fn keys(&self, pattern: &str, after: &str, limit: usize) -> Result<Vec<String>, StateError> {
        require(pattern)?;
        let keys = sqlx::query_scalar(AssertSqlSafe(self.statements.keys_like.clone()))
            .bind(Pattern::new(pattern).sqlite_glob())
            .bind(after)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.readers);
        keys.await.map_err(failed)
    }

    /// Runs each step in one transaction; a step that fails leaves the others alone.
    async fn each(&self, steps: Vec<Step<'_>>) -> Result<(), StateError> {
        bulk::into_result(self.transaction(steps, false).await?)
    }

    /// One transaction. With `atomic` the first step that fails undoes all; without, it is in the answer.
    async fn transaction(&self, steps: Vec<Step<'_>>, atomic: bool) -> Result<Vec<BulkFailure>, StateError> {
        let mut connection = self.writer.acquire().await.map_err(failed)?;
        let done = in_transaction(&self.statements, &mut connection, steps, atomic).await;
        // When the disk is full SQLite ends a transaction by itself, and the connection's count of them is wrong for
        // ever: it is not used again. A database in memory has but this one connection, and no disk.
        if self.on_disk && matches!(done, Err(StateError::Other(_) | StateError::Unavailable(_))) {
            let _ = connection.close().await;
        }
        done
    }

    async fn one(&self, step: Step<'_>) -> Result<(), StateError> {
        let mut connection = self.writer.acquire().await.map_err(failed)?;
        step.run(&self.statements, &mut connection).await
    }

    async fn run(&self, request: &TransactRequest) -> Result<(), StateError> {
        let steps = request.operations.iter().map(|operation| match operation {
            Operation::Set(set) => Step::Set(set),
            Operation::Delete(delete) => Step::Delete(delete),
        });
        self.transaction(steps.collect(), true).await.map(|_| ())
    }
}

async fn in_transaction(
    statements: &Statements,
    connection: &mut SqliteConnection,
    steps: Vec<Step<'_>>,
    atomic: bool,
) -> Result<Vec<BulkFailure>, StateError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let mut failures = Vec::new();
    for step in steps {
        match step.run(statements, &mut transaction).await {
            Ok(()) => {}
            Err(error @ (StateError::EtagMismatch(_) | StateError::EtagInvalid(_) | StateError::Invalid(_)))
                if !atomic =>
            {
                failures.push(BulkFailure {
                    key: step.key().to_string(),
                    error,
                });
            }
            // Dropping the transaction undoes it.
            Err(error) => return Err(error),
        }
    }
    transaction.commit().await.map_err(failed)?;
    Ok(failures)
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Set(&'a SetRequest),
    Delete(&'a DeleteRequest),
}

impl<'a> Step<'a> {
    fn key(self) -> &'a str {
        match self {
            Step::Set(request) => &request.key,
            Step::Delete(request) => &request.key,
        }
    }

    async fn run(self, statements: &Statements, connection: &mut SqliteConnection) -> Result<(), StateError> {
        match self {
            Step::Set(request) => write(statements, connection, request).await,
            Step::Delete(request) => remove(statements, connection, request).await,
        }
    }
}

async fn write(
    statements: &Statements,
    connection: &mut SqliteConnection,
    request: &SetRequest,
) -> Result<(), StateError> {
    require(&request.key)?;
    let life = ttl::parse(&request.metadata)?
        .filter(|seconds| *seconds > 0)
        .map(|seconds| format!("+{seconds} seconds"));
    let etag = request.etag.as_deref().filter(|etag| !etag.is_empty());
    let statement = match (etag, request.concurrency) {
        (Some(_), _) => &statements.update_matching,
        (None, Concurrency::FirstWrite) => &statements.insert_new,
        (None, _) => &statements.upsert,
    };
    let text = match request.form {
        ValueForm::Json => std::str::from_utf8(&request.value).ok(),
        ValueForm::Binary => None,
    };
    let stored = text.map_or_else(|| STANDARD.encode(&request.value), str::to_string);
    let query = sqlx::query(AssertSqlSafe(statement.clone()))
        .bind(&request.key)
        .bind(stored)
        .bind(text.is_none());
    let query = query.bind(Uuid::new_v4().to_string()).bind(life);
    let query = if let Some(etag) = etag { query.bind(etag) } else { query };
    let written: SqliteQueryResult = query.execute(connection).await.map_err(failed)?;
    if written.rows_affected() == 0 {
        Err(StateError::EtagMismatch(None))
    } else {
        Ok(())
    }
}

async fn remove(
    statements: &Statements,
    connection: &mut SqliteConnection,
    request: &DeleteRequest,
) -> Result<(), StateError> {
    require(&request.key)?;
    let Some(etag) = request.etag.as_deref().filter(|etag| !etag.is_empty()) else {
        let deleted = sqlx::query(AssertSqlSafe(statements.delete.clone()))
            .bind(&request.key)
            .execute(connection);
        return deleted.await.map(|_| ()).map_err(failed);
    };
    let deleted = sqlx::query(AssertSqlSafe(statements.delete_matching.clone()))
        .bind(&request.key)
        .bind(etag)
        .execute(connection);
    if deleted.await.map_err(failed)?.rows_affected() == 0 {
        Err(StateError::EtagMismatch(None))
    } else {
        Ok(())
    }
}

fn read_row(row: &SqliteRow) -> Result<(String, GetResponse), StateError> {
    let key: String = row.try_get(0).map_err(failed)?;
    let stored: Vec<u8> = row.try_get(1).map_err(failed)?;
    let value = if row.try_get::<bool, _>(2).map_err(failed)? {
        let decoded = STANDARD
            .decode(&stored)
            .map_err(|_| StateError::Other("failed to decode binary data".into()))?;
        Bytes::from(decoded)
    } else {
        Bytes::from(stored)
    };
    let etag = row.try_get(3).map_err(failed)?;
    let metadata = row
        .try_get::<Option<i64>, _>(4)
        .map_err(failed)?
        .map(ttl::response_metadata)
        .unwrap_or_default();
    Ok((
        key,
        GetResponse {
            value: Some(value),
            etag: Some(etag),
            metadata,
        },
    ))
}

fn require(key: &str) -> Result<(), StateError> {
    if key.is_empty() {
        Err(StateError::Invalid("missing key".into()))
    } else {
        Ok(())
    }
}

fn failed(error: sqlx::Error) -> StateError {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            StateError::Unavailable(format!("SQLite is not available: {error}"))
        }
        error => StateError::Other(format!("SQLite: {error}")),
    }
}

impl StateStore for SqliteStore {
    fn features(&self) -> Features {
        FEATURES
    }

    fn get<'a>(&'a self, request: &'a GetRequest) -> Reply<'a, GetResponse> {
        Reply::wait(self.within(self.read(&request.key)))
    }

    fn set<'a>(&'a self, request: &'a SetRequest) -> Reply<'a, ()> {
        Reply::wait(self.within(self.one(Step::Set(request))))
    }

    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> Reply<'a, ()> {
        Reply::wait(self.within(self.one(Step::Delete(request))))
    }

    fn bulk_get<'a>(&'a self, requests: &'a [GetRequest], _: BulkOptions) -> Reply<'a, Vec<BulkGetItem>> {
        Reply::wait(self.within(self.read_many(requests)))
    }

    fn bulk_set<'a>(&'a self, requests: &'a [SetRequest], _: BulkOptions) -> Reply<'a, ()> {
        Reply::wait(self.within(self.each(requests.iter().map(Step::Set).collect())))
    }

    fn bulk_delete<'a>(&'a self, requests: &'a [DeleteRequest], _: BulkOptions) -> Reply<'a, ()> {
        Reply::wait(self.within(self.each(requests.iter().map(Step::Delete).collect())))
    }

    fn transact<'a>(&'a self, request: &'a TransactRequest) -> Reply<'a, ()> {
        Reply::wait(self.within(self.run(request)))
    }

    fn keys_like<'a>(&'a self, pattern: &'a str, after: &'a str, limit: usize) -> Reply<'a, Vec<String>> {
        Reply::wait(self.within(self.keys(pattern, after, limit)))
    }

    fn ping(&self) -> Reply<'_, ()> {
        Reply::wait(self.within(async move {
            let mut connection = self.readers.acquire().await.map_err(failed)?;
            connection.ping().await.map_err(failed)
        }))
    }

    fn close(&self) -> Reply<'_, ()> {
        *self.tasks.lock().unwrap_or_else(PoisonError::into_inner) = Tasks::new();
        Reply::wait(async move {
            self.readers.close().await;
            self.writer.close().await;
            Ok(())
        })
    }
}
