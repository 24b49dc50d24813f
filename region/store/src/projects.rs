//! The opened projects of a store.
//!
//! The one idea: a project is opened at its first use and then shared; its folder is named by its immutable id, which
//! is checked before it becomes part of a path. Opening and destroying one project exclude each other, so that nobody
//! ever holds an open project whose files are gone. Must never make a path of an id that `folder_of` has not checked,
//! nor remove a destroyed project's file before its key.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use palladium_sealing::Kek;
use tokio::sync::RwLock;

use crate::rows::{KEY, Project, StorageError, sync_folder};

const FOLDER: &str = "projects";
/// What a project's folder is called from the moment of its destruction. A project id cannot begin like this.
const GONE: &str = "gone-";

/// One project: opened, or not (yet, or any more).
type Slot = Arc<RwLock<Option<Arc<Project>>>>;

pub(crate) struct Projects {
    folder: PathBuf,
    kek: Arc<Kek>,
    open: Mutex<HashMap<String, Slot>>,
}

impl Projects {
    /// Finishes destructions that a crash interrupted. Blocks on local disk.
    pub(crate) fn new(data_folder: &Path, kek: Arc<Kek>) -> io::Result<Self> {
        let folder = data_folder.join(FOLDER);
        remove_gone(&folder)?;
        Ok(Projects {
            folder,
            kek,
            open: Mutex::default(),
        })
    }

    /// The project, opened. Fails when the id is not one, or its file or key cannot be used.
    pub(crate) async fn get(&self, id: &str) -> Result<Arc<Project>, StorageError> {
        let folder = self.folder_of(id)?;
        let slot = self.slot(id);
        if let Some(project) = &*slot.read().await {
            return Ok(project.clone());
        }
        let mut slot = slot.write().await;
        if let Some(project) = &*slot {
            return Ok(project.clone());
        }
        let project = Arc::new(Project::open(&folder, id, self.kek.clone()).await?);
        *slot = Some(project.clone());
        Ok(project)
    }

    /// The project, if it has anything on disk.
    pub(crate) async fn existing(&self, id: &str) -> Result<Option<Arc<Project>>, StorageError> {
        let folder = self.folder_of(id)?;
        let exists = tokio::fs::try_exists(folder)
            .await
            .map_err(|error| StorageError::Other(error.to_string()))?;
        if exists { self.get(id).await.map(Some) } else { Ok(None) }
    }

    /// Destroys key and file of a project. It is gone with one renaming, so that a crash never leaves half a project.
    pub(crate) async fn destroy(&self, id: &str) -> Result<(), StorageError> {
        let path = self.folder_of(id)?;
        let slot = self.slot(id);
        let mut slot = slot.write().await;
        if let Some(project) = slot.take() {
            project.close().await;
        }
        let (folder, gone) = (self.folder.clone(), self.folder.join(format!("{GONE}{id}")));
        let done = tokio::task::spawn_blocking(move || {
            remove_gone(&folder)?;
            missing_is_fine(std::fs::rename(path, gone))?;
            remove_gone(&folder)
        });
        let done = done.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        done.map_err(|error| StorageError::Other(format!("project {id} was not destroyed: {error}")))
    }

    /// Finishes what is being written and closes every file.
    pub(crate) async fn close(&self) {
        let open: Vec<Slot> = self.slots().drain().map(|(_, slot)| slot).collect();
        for slot in open {
            if let Some(project) = slot.write().await.take() {
                project.close().await;
            }
        }
    }

    fn slot(&self, id: &str) -> Slot {
        let mut slots = self.slots();
        match slots.get(id) {
            Some(slot) => slot.clone(),
            None => slots.entry(id.to_string()).or_default().clone(),
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

/// Removes what is left of destroyed projects: the key first, so that whatever remains of the file cannot be read.
fn remove_gone(folder: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(GONE) {
            missing_is_fine(std::fs::remove_file(entry.path().join(KEY)))?;
            sync_folder(&entry.path())?;
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    sync_folder(folder)
}

fn missing_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use palladium_sealing::KekConfig;

    use super::*;

    #[tokio::test]
    async fn a_destroyed_project_leaves_nothing_and_is_never_half_gone() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("kek");
        let kek = Arc::new(Kek::open(&KekConfig::KeyFile { path }).unwrap());
        let projects = Projects::new(data.path(), kek.clone()).unwrap();
        let (one, other) = (data.path().join("projects/prj-a"), data.path().join("projects/prj-b"));
        let held = projects.get("prj-a").await.unwrap();
        projects.get("prj-b").await.unwrap();
        projects.destroy("prj-a").await.unwrap();
        assert!(!one.exists() && other.exists());
        assert!(
            held.is_empty().await.is_err(),
            "who still holds it can do nothing with it"
        );
        projects.destroy("prj-a").await.expect("twice is fine");
        assert!(projects.existing("prj-a").await.unwrap().is_none());
        // The id stands for an empty project from here on, with another key.
        assert!(projects.get("prj-a").await.unwrap().is_empty().await.unwrap());

        // A crash right after the renaming, and one in the middle of removing.
        projects.close().await;
        std::fs::rename(&one, data.path().join("projects/gone-prj-a")).unwrap();
        std::fs::remove_file(data.path().join("projects/gone-prj-a/data.key")).unwrap();
        let projects = Projects::new(data.path(), kek).unwrap();
        assert!(!data.path().join("projects/gone-prj-a").exists());
        assert!(projects.existing("prj-b").await.unwrap().is_some());
    }

    #[tokio::test]
    async fn only_a_project_id_becomes_a_path() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("kek");
        let projects = Projects::new(data.path(), Arc::new(Kek::open(&KekConfig::KeyFile { path }).unwrap())).unwrap();
        for id in [
            "",
            "prj-",
            "prj-..",
            "prj-a/b",
            "../prj-a",
            "prj-A",
            "gone-prj-a",
            "prj-a\0",
        ] {
            assert!(projects.get(id).await.is_err(), "{id:?}");
            assert!(projects.destroy(id).await.is_err(), "{id:?}");
        }
        assert!(!data.path().join("projects").exists());
    }
}
