//! Small files of JSON in which the agent keeps what it must not forget.
//!
//! One idea: whole in, whole out, by one way for all of them, so that each survives a crash and a full disk alike. Blocks
//! on local disk. Must never take a damaged file for an empty one: what it forbids would be allowed again.

use std::path::Path;

use palladium_os::files::write_private;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::error::at;

/// What the file holds; `None` when there is none.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(damaged(path)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

/// Replaces the file; when this returns, it is durable.
pub(crate) fn write(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(value).map_err(damaged(path))?;
    Ok(write_private(path, &text)?)
}

fn damaged(path: &Path) -> impl FnOnce(serde_json::Error) -> Error {
    let path = path.to_owned();
    move |error| Error::Damaged {
        path,
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_damaged_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.json");
        assert_eq!(read::<Vec<u8>>(&path).unwrap(), None);
        write(&path, &[1, 2]).unwrap();
        assert_eq!(read(&path).unwrap(), Some(vec![1, 2]));
        std::fs::write(&path, "[1,").unwrap();
        assert!(matches!(read::<Vec<u8>>(&path), Err(Error::Damaged { .. })));
    }
}
