//! Reads a role's configuration file: strict JSON, every problem named with its path, before anything is bound.
//!
//! One idea: a typo is an error, never a silent default; so configuration types use `deny_unknown_fields`.
//! Must never read the environment.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Configuration files are small; a larger one is a mistake.
const MAX_BYTES: u64 = 1024 * 1024;

/// Why a configuration file cannot be used. Exit code 64.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read configuration file {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// It is larger than a configuration can be.
    #[error("configuration file {} has {bytes} bytes; at most {MAX_BYTES} are accepted", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// A key is unknown, missing or of the wrong form.
    #[error("configuration file {}, at {field}: {reason}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Path of the key, such as `identity.trust_domain`.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Reads and checks a JSON configuration file.
///
/// # Errors
/// See [`Error`]; each names the file, and the key where one is to blame.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let read = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::metadata(path).map_err(read)?.len();
    if bytes > MAX_BYTES {
        return Err(Error::TooLarge {
            path: path.to_owned(),
            bytes,
        });
    }
    let text = std::fs::read(path).map_err(read)?;
    let deserializer = &mut serde_json::Deserializer::from_slice(&text);
    serde_path_to_error::deserialize(deserializer).map_err(|error| Error::Invalid {
        path: path.to_owned(),
        field: error.path().to_string(),
        reason: error.inner().to_string(),
    })
}

/// What `--print-config` shows. Secrets cannot appear: secret types do not implement `Serialize`.
///
/// # Errors
/// When the value cannot be expressed as JSON.
pub fn print<T: Serialize>(config: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[expect(dead_code, reason = "only parsing matters here")]
        inner: Inner,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only parsing matters here")]
        port: u16,
    }

    fn parse(text: &str) -> Result<Outer, Error> {
        let folder = tempfile::tempdir().expect("temp folder");
        let file = folder.path().join("role.json");
        std::fs::write(&file, text).expect("writable");
        load(&file)
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_path() {
        let error = parse(r#"{"inner":{"port":1,"prot":2}}"#).expect_err("typo");
        let message = error.to_string();
        assert!(
            message.contains("inner.prot") && message.contains("unknown field"),
            "{message}"
        );
    }

    #[test]
    fn a_wrong_type_is_an_error_with_its_path() {
        let message = parse(r#"{"inner":{"port":"x"}}"#).expect_err("type").to_string();
        assert!(message.contains("inner.port"), "{message}");
    }

    #[test]
    fn a_missing_file_names_itself() {
        let message = load::<Outer>(Path::new("/does/not/exist.json"))
            .expect_err("missing")
            .to_string();
        assert!(message.contains("/does/not/exist.json"), "{message}");
    }
}
