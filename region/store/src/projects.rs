//! The opened projects of a store.
//!
//! The one idea: a project is opened at its first use and then shared; its folder is named by its immutable id, which is
//! checked before it becomes part of a path.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use palladium_sealing::Kek;
use tokio::sync::OnceCell;

use crate::rows::{self, Project, StorageError};

const FOLDER: &str = "projects";

type Slot = Arc<OnceCell<Arc<Project>>>;

pub(crate) struct Projects {
    folder: PathBuf,
    kek: Arc<Kek>,
    open: Mutex<HashMap<String, Slot>>,
}

impl Projects {
    pub(crate) fn new(data_folder: &std::path::Path, kek: Arc<Kek>) -> Self {
        Projects {
            folder: data_folder.join(FOLDER),
            kek,
            open: Mutex::default(),
        }
    }

    /// The project, opened. Fails when the id is not one, or its file or key cannot be used.
    pub(crate) async fn get(&self, id: &str) -> Result<Arc<Project>, StorageError> {
        let folder = self.folder_of(id)?;
        let slot = self.slots().entry(id.to_string()).or_default().clone();
        let open = || async { Project::open(&folder, id, self.kek.clone()).await.map(Arc::new) };
        slot.get_or_try_init(open).await.cloned()
    }

    /// The project, if it has anything on disk.
    pub(crate) async fn existing(&self, id: &str) -> Result<Option<Arc<Project>>, StorageError> {
        let folder = self.folder_of(id)?;
        let exists = tokio::fs::try_exists(folder)
            .await
            .map_err(|error| StorageError::Other(error.to_string()))?;
        if exists { self.get(id).await.map(Some) } else { Ok(None) }
    }

    /// Destroys key and file of a project.
    pub(crate) async fn destroy(&self, id: &str) -> Result<(), StorageError> {
        let folder = self.folder_of(id)?;
        let slot = self.slots().remove(id);
        let done = match slot.as_ref().and_then(|slot| slot.get()) {
            Some(project) => project.destroy().await,
            None => tokio::task::spawn_blocking(move || rows::destroy(&folder))
                .await
                .map_err(std::io::Error::other)
                .flatten(),
        };
        done.map_err(|error| StorageError::Other(format!("project {id} was not destroyed: {error}")))
    }

    /// Finishes what is being written and closes every file.
    pub(crate) async fn close(&self) {
        let open: Vec<Slot> = self.slots().drain().map(|(_, slot)| slot).collect();
        for project in open.iter().filter_map(|slot| slot.get()) {
            project.close().await;
        }
    }

    fn folder_of(&self, id: &str) -> Result<PathBuf, StorageError> {
        let plain = |text: &str| {
            !text.is_empty() && text.len() <= 60 && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        match id.strip_prefix("prj-") {
            Some(rest) if plain(rest) => Ok(self.folder.join(id)),
            _ => Err(StorageError::Other("not a project id".into())),
        }
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, HashMap<String, Slot>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
