//! Opening the database, the two pools, transactions, the organization.
//!
//! The one idea: one connection writes (`BEGIN IMMEDIATE`, so a writer never fails half-way for want of the lock), several read.
//! A change is durable (`synchronous=FULL`) before anyone is told of it.
//!
//! Must never let two write at a time, or make a file that others can read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use palladium_kinds::{OrganizationId, Timestamp};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, Row as _, SqlStr, Sqlite, Transaction};
use tokio::sync::watch;

use crate::Error;

/// Longest wait for a connection or a lock.
const WAIT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub(crate) writer: SqlitePool,
    pub(crate) readers: SqlitePool,
    pub(crate) changed: watch::Sender<u64>,
    path: PathBuf,
}

/// The tenant of this installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    /// Never reused.
    pub id: OrganizationId,
    /// For people.
    pub name: String,
}

impl Store {
    /// Opens or creates `<folder>/control-plane.db` and brings its schema up to date. The folder becomes private (0700).
    ///
    /// # Errors
    /// [`Error::Storage`] when the folder cannot be used.
    pub async fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("control-plane.db");
        let unusable = |reason: String| Error::Storage {
            path: path.clone(),
            reason,
        };
        let (private, file) = (folder.to_owned(), path.clone());
        let prepare = move || {
            palladium_os::files::private_folder(&private).map_err(|error| error.to_string())?;
            private_files(&file).map_err(|error| error.to_string())
        };
        tokio::task::spawn_blocking(prepare)
            .await
            .map_err(|error| unusable(error.to_string()))?
            .map_err(unusable)?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(WAIT)
            .foreign_keys(true)
            // Overwrites what is deleted: sealed values must not linger in free pages.
            .pragma("secure_delete", "ON");
        let sort = |error| Error::from_sqlx(error, &path);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(WAIT)
            // On a full disk SQLite ends the transaction by itself, and the driver does not notice: such a connection would refuse
            // every further one. It is replaced.
            .before_acquire(|connection, _| {
                let usable = !connection.is_in_transaction();
                Box::pin(async move { Ok(usable) })
            })
            .connect_with(options.clone())
            .await
            .map_err(sort)?;
        migrations().run(&writer).await.map_err(|error| match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => sort(error),
            error => Error::Migrate(error),
        })?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(WAIT)
            .connect_with(options.read_only(true))
            .await
            .map_err(sort)?;
        let row = sqlx::query("SELECT resource_version FROM counter")
            .fetch_one(&readers)
            .await
            .map_err(sort)?;
        let changed = watch::Sender::new(unsigned(row.get(0)));
        Ok(Self {
            writer,
            readers,
            changed,
            path: path.clone(),
        })
    }

    /// Ends all connections; the write-ahead log is merged into the database.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// The organization; `None` before the first start has made it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn organization(&self) -> Result<Option<Organization>, Error> {
        let row = sqlx::query("SELECT id, name FROM organizations LIMIT 1")
            .fetch_optional(&self.readers)
            .await
            .map_err(|error| self.sort(error))?;
        row.map(|row| {
            let id = row.get::<String, _>(0).parse().map_err(|_| Error::Corrupt {
                what: "organization id",
            })?;
            Ok(Organization { id, name: row.get(1) })
        })
        .transpose()
    }

    /// Makes the organization if there is none; `id` may be given beforehand, because certificates carry it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn organization_ensure(&self, id: &OrganizationId, name: &str) -> Result<Organization, Error> {
        let mut tx = self.begin().await?;
        sqlx::query("INSERT INTO organizations (id, name, created_at) SELECT ?1, ?2, ?3 WHERE NOT EXISTS (SELECT 1 FROM organizations)")
            .bind(id.as_str())
            .bind(name)
            .bind(Timestamp::now().unix_millis())
            .execute(&mut *tx)
            .await
            .map_err(|error| self.sort(error))?;
        tx.commit().await.map_err(|error| self.sort(error))?;
        self.organization().await?.ok_or(Error::NotFound)
    }

    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, Error> {
        self.writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(|error| self.sort(error))
    }

    pub(crate) fn sort(&self, error: sqlx::Error) -> Error {
        Error::from_sqlx(error, &self.path)
    }

    /// Takes the next resource version inside of `tx`.
    pub(crate) async fn next_version(&self, tx: &mut Transaction<'static, Sqlite>) -> Result<u64, Error> {
        let row = sqlx::query("UPDATE counter SET resource_version = resource_version + 1 RETURNING resource_version")
            .fetch_one(&mut **tx)
            .await
            .map_err(|error| self.sort(error))?;
        Ok(unsigned(row.get(0)))
    }

    /// Commits and wakes those who follow the feed.
    pub(crate) async fn finish(&self, tx: Transaction<'static, Sqlite>, version: u64) -> Result<(), Error> {
        tx.commit().await.map_err(|error| self.sort(error))?;
        self.changed.send_if_modified(|seen| {
            let newer = version > *seen;
            if newer {
                *seen = version;
            }
            newer
        });
        Ok(())
    }
}

/// Makes the database file if it is missing, and it and its companions readable by their owner only; SQLite gives companions that
/// it makes later the mode of the database.
fn private_files(database: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let narrow = |path: &Path| match std::fs::metadata(path) {
        Ok(found) if found.permissions().mode() & 0o777 != 0o600 => {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        }
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    if !database.exists() {
        let mut options = std::fs::OpenOptions::new();
        options
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(database)?;
    }
    narrow(database)?;
    for companion in ["-wal", "-shm", "-journal"] {
        let mut name = database.as_os_str().to_owned();
        name.push(companion);
        narrow(Path::new(&name))?;
    }
    Ok(())
}

/// Every step of the schema, embedded; a step that was released is never edited (its checksum is kept in the database).
fn migrations() -> Migrator {
    let steps = [
        (1, "initial", include_str!("../migrations/sqlite/0001_initial.sql")),
        (
            2,
            "api key names",
            include_str!("../migrations/sqlite/0002_api_key_names.sql"),
        ),
    ];
    let step = |(number, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(
            number,
            name.into(),
            MigrationType::Simple,
            SqlStr::from_static(sql),
            false,
        )
    };
    Migrator::with_migrations(steps.into_iter().map(step).collect())
}

/// Numbers are never negative here; SQLite has no unsigned type.
pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

/// The other direction; nothing here comes near the limit.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
