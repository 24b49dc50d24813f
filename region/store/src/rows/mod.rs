//! The rows of one project: its file, its key, its one writer and its readers.
//!
//! The one idea: **one writer task owns the writing connection.** Whoever writes sends it a job and waits; it takes what
//! has piled up meanwhile, runs all of it in one transaction, and answers only after the commit is on disk. Reads go
//! beside it on connections of their own and see every acknowledged write. Values are encrypted before they reach the
//! writer and after they leave the reader; SQLite never sees one in clear.

mod bus;
mod job;
mod schema;
mod value_key;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use palladium_sealing::Kek;
use palladium_tasks::Tasks;
use sqlx::{AssertSqlSafe, Row as _, SqlitePool};
use tokio::sync::{Mutex, mpsc, oneshot};

pub use bus::BusLimits;
pub(crate) use bus::{BusWork, Entry, Joined, Sealed, Token, new_id, part, write::LONGEST_NAME};
pub(crate) use job::{Condition, Job, Outcome, Step, StorageError, Work};
pub(crate) use value_key::ValueKey;
pub(crate) use writer::now_ms;

/// Jobs that may wait for the writer; whoever comes next waits for a place.
const QUEUE: usize = 1024;
const READERS: u32 = 4;
/// Keys in one statement of a bulk read.
const KEYS_PER_STATEMENT: usize = 500;
/// How long a read waits for a free connection.
const PATIENCE: Duration = Duration::from_secs(20);
const DATABASE: &str = "state.db";
/// A project's data key, wrapped. Without it the file cannot be read.
pub(crate) const KEY: &str = "data.key";

/// One stored value, decrypted.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) value: Vec<u8>,
    pub(crate) etag: String,
    pub(crate) expires_ms: Option<i64>,
}

/// An opened project.
pub(crate) struct Project {
    id: String,
    key: ValueKey,
    readers: SqlitePool,
    jobs: mpsc::Sender<Job>,
    tasks: Mutex<Tasks>,
}

impl Project {
    /// Opens a project's file and key, making both at first use.
    pub(crate) async fn open(folder: &Path, id: &str, kek: Arc<Kek>) -> Result<Self, StorageError> {
        let (path, project) = (folder.to_path_buf(), id.to_string());
        let prepared = tokio::task::spawn_blocking(move || prepare(&path, &project, &kek)).await;
        let key = prepared.map_err(|error| StorageError::Other(error.to_string()))??;
        let file = folder.join(DATABASE);
        let writer = schema::writer(&file).await?;
        let readers = schema::readers(&file, READERS, PATIENCE).await?;
        // SQLite flushes its own files; that their folder is there after a power failure is up to us.
        let (own, parent) = (folder.to_path_buf(), folder.parent().map(Path::to_path_buf));
        let flushed = tokio::task::spawn_blocking(move || {
            sync_folder(&own)?;
            parent.map_or(Ok(()), |parent| sync_folder(&parent))
        });
        let flushed = flushed.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        flushed.map_err(|error| StorageError::Other(error.to_string()))?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let mut tasks = Tasks::new();
        tasks.spawn("store-writer", writer::run(writer, file, queue));
        Ok(Project {
            id: id.into(),
            key,
            readers,
            jobs,
            tasks: Mutex::new(tasks),
        })
    }

    /// Encrypts a value for its place.
    pub(crate) fn seal(&self, component: &str, key: &str, value: &[u8]) -> Result<Vec<u8>, StorageError> {
        self.key.seal(&self.id, component, key, value)
    }

    /// Runs work on the writer and waits until it is on disk.
    pub(crate) async fn submit(&self, work: Work) -> Result<Outcome, StorageError> {
        let (reply, answer) = oneshot::channel();
        self.jobs
            .send(Job { work, reply })
            .await
            .map_err(|_| StorageError::Closed)?;
        answer.await.unwrap_or(Err(StorageError::Closed))
    }

    /// Reads keys of one component; absent and expired ones are not in the answer. `room` is asked before each value is
    /// taken in, with its length.
    pub(crate) async fn read(
        &self,
        component: &str,
        keys: &[&str],
        now_ms: i64,
        room: &(dyn Fn(usize) -> bool + Sync),
    ) -> Result<Vec<(String, Found)>, StorageError> {
        let mut found = Vec::with_capacity(keys.len());
        for some in keys.chunks(KEYS_PER_STATEMENT) {
            let query = sqlx::query(AssertSqlSafe(schema::select(some.len())))
                .bind(component)
                .bind(now_ms);
            let query = some.iter().fold(query, |query, key| query.bind(*key));
            let mut rows = query.fetch(&self.readers);
            while let Some(row) = rows.try_next().await? {
                let key: String = row.try_get(0)?;
                if !room(row.try_get::<&[u8], _>(1)?.len()) {
                    return Err(StorageError::TooMuch);
                }
                let value = self.key.open(&self.id, component, &key, row.try_get(1)?)?;
                found.push((
                    key,
                    Found {
                        value,
                        etag: row.try_get(2)?,
                        expires_ms: row.try_get(3)?,
                    },
                ));
            }
        }
        Ok(found)
    }

    /// Whether the project has no row and no topic left.
    pub(crate) async fn is_empty(&self) -> Result<bool, StorageError> {
        let rows: i64 = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM rows)")
            .fetch_one(&self.readers)
            .await?;
        let topics: i64 = sqlx::query_scalar(bus::schema::ANY).fetch_one(&self.readers).await?;
        Ok(rows == 0 && topics == 0)
    }

    /// Lets the writer finish what it has and closes the file.
    pub(crate) async fn close(&self) {
        // The writer takes this as its last job: whatever was sent before it is still carried out.
        if self.submit(Work::Close).await.is_ok() {
            let tasks = std::mem::take(&mut *self.tasks.lock().await);
            if let Err(overdue) = tasks.drain(Duration::from_secs(5)).await {
                tracing::warn!(%overdue, project = %self.id, "a project's writer was cut off");
            }
        }
        self.readers.close().await;
    }
}

/// Flushes the entries of a folder. Blocks on local disk.
pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// Makes folder and data key, or reads the key. A file without its key is never given a new one.
fn prepare(folder: &Path, project: &str, kek: &Kek) -> Result<ValueKey, StorageError> {
    palladium_os::files::private_folder(folder).map_err(|error| StorageError::Other(error.to_string()))?;
    let purpose = format!("store/{project}/{KEY}");
    let path = folder.join(KEY);
    let stored = kek.read_wrapped(&path, &purpose)?;
    if stored.is_none() && folder.join(DATABASE).exists() {
        return Err(StorageError::Other(format!(
            "{} is missing: restore it from a backup",
            path.display()
        )));
    }
    let bytes = kek.stored_key(&purpose, &path)?;
    Ok(ValueKey::new(&bytes))
}

#[cfg(test)]
mod tests;
