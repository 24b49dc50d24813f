//! What the command line remembers between calls: `config.json` (where, which project), `creds` (the API key) and `ca-bundle.pem`
//! (roots for applications), mode 0600, in `PALLADIUM_HOME` or `~/.palladium/cli`. Also reads what a local `palladium up` left for it in its data folder.
//!
//! Must never write the key anywhere but into `creds`.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::Error;

/// `config.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    /// The control plane of the last `login`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_url: Option<String>,
    /// Its CA file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The project of the last `project use`.
    #[serde(rename = "currentProjectID", skip_serializing_if = "Option::is_none")]
    pub current_project: Option<String>,
}

/// What `palladium up` says about itself in `<data folder>/up.json`. Fields it has beyond these are none of our business.
#[derive(Clone, Debug, Deserialize)]
pub struct LocalInstallation {
    /// REST API.
    pub api_url: String,
    /// PEM file with the roots of both public listeners.
    pub ca_file: PathBuf,
    /// Holds the first API key.
    pub admin_key_file: PathBuf,
}

/// The folder of both files.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

impl Home {
    /// `folder`, or the default below the user's home.
    pub fn new(folder: Option<PathBuf>, data_folder: &Path) -> Self {
        Self(folder.unwrap_or_else(|| data_folder.join("cli")))
    }

    /// The saved configuration; the default when nothing was saved.
    pub fn config(&self) -> Result<Config, Error> {
        let path = self.0.join("config.json");
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| Error::File {
                path,
                reason: error.to_string(),
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Config::default()),
            Err(error) => Err(Error::File {
                path,
                reason: error.to_string(),
            }),
        }
    }

    /// Replaces the saved configuration.
    pub fn save_config(&self, config: &Config) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(config).expect("a plain struct is always JSON");
        self.write("config.json", &text)
    }

    /// The saved API key.
    pub fn api_key(&self) -> Result<Option<SecretString>, Error> {
        read_key(&self.0.join("creds"))
    }

    /// Saves the API key.
    pub fn save_api_key(&self, key: &SecretString) -> Result<(), Error> {
        self.write("creds", key.expose_secret().as_bytes())
    }

    /// Saves the roots that applications are told to trust; answers where.
    pub fn save_bundle(&self, pem: &[u8]) -> Result<PathBuf, Error> {
        self.write("ca-bundle.pem", pem)?;
        let path = self.0.join("ca-bundle.pem");
        std::path::absolute(&path).map_err(|error| Error::File {
            path,
            reason: error.to_string(),
        })
    }

    /// Written beside and renamed, so that a full disk leaves the old file whole.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.0.join(name);
        let fail = |error: std::io::Error| Error::File {
            path: path.clone(),
            reason: error.to_string(),
        };
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(fail)?;
        let beside = self.0.join(format!("{name}.new"));
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)
            .map_err(fail)?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(fail)?;
        std::fs::rename(&beside, &path).map_err(fail)
    }
}

/// The installation that `palladium up` made in `data_folder`, if there is one.
pub fn local_installation(data_folder: &Path) -> Result<Option<LocalInstallation>, Error> {
    let path = data_folder.join("up.json");
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| Error::File {
            path,
            reason: error.to_string(),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::File {
            path,
            reason: error.to_string(),
        }),
    }
}

/// The key in `path`; `None` when there is no such file.
pub fn read_key(path: &Path) -> Result<Option<SecretString>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned().into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::File {
            path: path.to_owned(),
            reason: error.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_saved_is_read_back_and_the_key_is_for_its_owner_only() {
        let folder = tempfile::tempdir().expect("temp folder");
        let home = Home::new(Some(folder.path().join("home")), folder.path());
        assert_eq!(home.config().expect("nothing yet"), Config::default());
        let config = Config {
            api_url: Some("https://localhost:7443".into()),
            ..Config::default()
        };
        home.save_config(&config).expect("writable");
        home.save_api_key(&"k".to_owned().into()).expect("writable");
        assert_eq!(home.config().expect("saved"), config);
        assert_eq!(home.api_key().expect("saved").expect("there").expose_secret(), "k");
        let mode = std::fs::metadata(folder.path().join("home/creds"))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
