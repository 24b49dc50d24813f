//! The writer of one project: batches of jobs, one transaction each.
//!
//! The one idea: group commit. While one batch is being flushed the next piles up; a flush costs the same for one write
//! and for hundreds. If the file fails in the middle of a batch, all of it is rolled back and each job is tried alone,
//! so that one impossible job does not take its neighbours along. Nobody is answered before the commit. Must never skip
//! `permitted` right before the steps it stands for, nor answer a job whose transaction is still open.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Executor as _};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::bus::{self, BusWork};
use super::job::{Condition, Job, Outcome, Step, StorageError, Work};
use super::schema;

/// Jobs in one transaction.
const BATCH: usize = 256;
/// Bytes of values in one transaction, about.
const BATCH_BYTES: usize = 16 << 20;
/// How often expired rows are removed, and how many at once.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
const SWEEP_ROWS: u64 = 1000;
/// The pause when there are more than that.
const SWEEP_AGAIN: Duration = Duration::from_millis(100);

/// Runs until told to close or until nobody can send any more.
pub(super) async fn run(connection: SqliteConnection, file: PathBuf, mut queue: mpsc::Receiver<Job>) {
    let mut writer = Writer { connection, file };
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let first = tokio::select! {
            job = queue.recv() => job,
            _ = sweep.tick() => {
                if writer.remove_expired().await {
                    // There is more: calls between, but not half a minute.
                    sweep.reset_after(SWEEP_AGAIN);
                }
                continue;
            }
        };
        let Some(first) = first else { break };
        let mut batch = vec![first];
        let mut bytes = batch[0].work.bytes();
        while batch.len() < BATCH
            && bytes < BATCH_BYTES
            && !matches!(batch.last().map(|job| &job.work), Some(Work::Close))
        {
            let Ok(job) = queue.try_recv() else { break };
            bytes += job.work.bytes();
            batch.push(job);
        }
        let close = matches!(batch.last().map(|job| &job.work), Some(Work::Close));
        writer.commit(batch).await;
        if close {
            break;
        }
    }
    if let Err(error) = writer.connection.close().await {
        tracing::warn!(%error, "a project's file was not closed in order");
    }
}

/// The writing connection. Transactions are plain statements here: when the disk is full SQLite ends a transaction by
/// itself, which a counted one would not notice.
struct Writer {
    connection: SqliteConnection,
    file: PathBuf,
}

impl Writer {
    /// Runs a batch and answers every job.
    async fn commit(&mut self, batch: Vec<Job>) {
        let outcomes = self.together(&batch).await;
        if outcomes.is_ok() && batch.iter().any(|job| job.work.destroys()) {
            self.empty_log().await;
        }
        match outcomes {
            Ok(outcomes) => answer(batch, outcomes.into_iter().map(Ok)),
            Err(error) if batch.len() == 1 => answer(batch, [Err(error)]),
            Err(error) => {
                tracing::warn!(%error, jobs = batch.len(), "a batch failed; each of its jobs is tried alone");
                for job in batch {
                    let outcome = self.together(std::slice::from_ref(&job)).await;
                    let outcome = outcome.map(|mut outcomes| outcomes.pop().unwrap_or(Outcome::Done));
                    answer(vec![job], [outcome]);
                }
            }
        }
    }

    /// One transaction: all of it is on disk, or none.
    async fn together(&mut self, batch: &[Job]) -> Result<Vec<Outcome>, StorageError> {
        self.begin().await?;
        let done = self.work_and_commit(batch).await;
        if done.is_err() {
            // It fails when SQLite has already rolled back, and that is what is wanted.
            let _ = self.connection.execute("ROLLBACK").await;
        }
        done
    }

    async fn work_and_commit(&mut self, batch: &[Job]) -> Result<Vec<Outcome>, StorageError> {
        let now = now_ms();
        let mut outcomes = Vec::with_capacity(batch.len());
        for job in batch {
            outcomes.push(work(&mut self.connection, &job.work, now).await?);
        }
        self.connection.execute("COMMIT").await?;
        Ok(outcomes)
    }

    /// Begins; a connection that cannot is replaced once.
    async fn begin(&mut self) -> Result<(), StorageError> {
        if let Err(error) = self.connection.execute("BEGIN IMMEDIATE").await {
            tracing::warn!(%error, "a project's file is opened anew");
            self.connection = schema::writer(&self.file).await?;
            self.connection.execute("BEGIN IMMEDIATE").await?;
        }
        Ok(())
    }

    /// Empties the write-ahead log, which still holds what was just destroyed. With a reader in the way it is emptied by
    /// a later checkpoint instead.
    async fn empty_log(&mut self) {
        if let Err(error) = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").await {
            tracing::warn!(%error, "the log of a project's file was not emptied");
        }
    }

    /// Removes some; answers whether there may be more.
    async fn remove_expired(&mut self) -> bool {
        let expired = sqlx::query(schema::DELETE_EXPIRED)
            .bind(now_ms())
            .bind(SWEEP_ROWS as i64);
        let rows = match expired.execute(&mut self.connection).await {
            Ok(removed) => removed.rows_affected() >= SWEEP_ROWS,
            Err(error) => {
                tracing::warn!(%error, "expired rows were not removed");
                false
            }
        };
        let messages = bus::write::sweep(&mut self.connection, now_ms(), SWEEP_ROWS);
        let messages = messages.await.unwrap_or_else(|error| {
            tracing::warn!(%error, "expired messages were not removed");
            false
        });
        rows || messages
    }
}

fn answer(batch: Vec<Job>, outcomes: impl IntoIterator<Item = Result<Outcome, StorageError>>) {
    for (job, outcome) in batch.into_iter().zip(outcomes) {
        // Whoever asked may have gone; the work is done all the same.
        let _ = job.reply.send(outcome);
    }
}

async fn work(connection: &mut SqliteConnection, work: &Work, now: i64) -> Result<Outcome, StorageError> {
    match work {
        Work::Steps { permitted, .. } if !permitted() => Ok(Outcome::NotPermitted),
        Work::Steps {
            component,
            steps,
            atomic,
            ..
        } => run_steps(connection, component, steps, *atomic, now).await,
        Work::Bus(work) => bus::write::work(connection, work, now).await,
        Work::DeleteComponent(component) => {
            sqlx::query(schema::DELETE_COMPONENT)
                .bind(component)
                .execute(&mut *connection)
                .await?;
            bus::write::delete_component(connection, component).await?;
            Ok(Outcome::Done)
        }
        Work::DeleteRanges(ranges) => {
            for (from, to) in ranges {
                sqlx::query(schema::DELETE_RANGE)
                    .bind(from)
                    .bind(to)
                    .execute(&mut *connection)
                    .await?;
            }
            Ok(Outcome::Done)
        }
        Work::Close => Ok(Outcome::Done),
    }
}

async fn run_steps(
    connection: &mut SqliteConnection,
    component: &str,
    steps: &[Step],
    atomic: bool,
    now: i64,
) -> Result<Outcome, StorageError> {
    let undoable = atomic && steps.len() > 1;
    if undoable {
        connection.execute("SAVEPOINT steps").await?;
    }
    let mut mismatches = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        if !run_step(connection, component, step, now).await? {
            mismatches.push(number);
            if atomic {
                break;
            }
        }
    }
    if undoable {
        if !mismatches.is_empty() {
            connection.execute("ROLLBACK TO steps").await?;
        }
        connection.execute("RELEASE steps").await?;
    }
    Ok(if mismatches.is_empty() {
        Outcome::Done
    } else {
        Outcome::Mismatch(mismatches)
    })
}

/// Whether the step's condition held.
async fn run_step(
    connection: &mut SqliteConnection,
    component: &str,
    step: &Step,
    now: i64,
) -> Result<bool, StorageError> {
    let done = match step {
        Step::Set {
            key,
            value,
            etag,
            expires_ms,
            condition,
        } => {
            let statement = match condition {
                Condition::Always => schema::UPSERT,
                Condition::Absent => schema::INSERT_ABSENT,
                Condition::Etag(_) => schema::UPDATE_MATCHING,
            };
            let query = sqlx::query(statement)
                .bind(component)
                .bind(key)
                .bind(value)
                .bind(etag)
                .bind(*expires_ms);
            match condition {
                Condition::Always => query.execute(connection).await?,
                Condition::Absent => query.bind(now).execute(connection).await?,
                Condition::Etag(expected) => query.bind(now).bind(expected).execute(connection).await?,
            }
        }
        Step::Delete {
            key,
            condition: Condition::Etag(expected),
        } => {
            let query = sqlx::query(schema::DELETE_MATCHING)
                .bind(component)
                .bind(key)
                .bind(now)
                .bind(expected);
            query.execute(connection).await?
        }
        Step::Delete { key, .. } => {
            sqlx::query(schema::DELETE)
                .bind(component)
                .bind(key)
                .execute(connection)
                .await?;
            return Ok(true);
        }
    };
    Ok(done.rows_affected() > 0)
}

impl Work {
    /// Whether nothing of what it deletes may remain.
    fn destroys(&self) -> bool {
        matches!(
            self,
            Work::DeleteComponent(_) | Work::DeleteRanges(_) | Work::Bus(BusWork::Leave { .. })
        )
    }

    fn bytes(&self) -> usize {
        let size = |step: &Step| match step {
            Step::Set { key, value, .. } => key.len() + value.len(),
            Step::Delete { key, .. } => key.len(),
        };
        match self {
            Work::Steps { steps, .. } => steps.iter().map(size).sum(),
            Work::Bus(work) => work.bytes(),
            _ => 0,
        }
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
