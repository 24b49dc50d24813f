//! Keeps a tenant's database inside the App ID's own folder.
//!
//! The one idea: the way to the file is built here, part by part, from plain names only, and no part that is already
//! there may be a link. The kernel's confinement of the whole process stands behind this; this one says what is wrong.
//! Must never follow a link, or make a folder above the App ID's own.

use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use palladium_component::{MetadataError, OpenError};

/// What SQLite puts beside a database.
const COMPANIONS: [&str; 3] = ["-journal", "-wal", "-shm"];

/// The file below the App ID's folder that a relative path means.
pub(super) fn inside(folder: &Path, path: &Path) -> Result<PathBuf, OpenError> {
    let mut inside = folder.to_path_buf();
    let mut names = 0;
    for part in path.components() {
        match part {
            Component::Normal(name) => {
                inside.push(name);
                names += 1;
            }
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                let message =
                    "connectionString must be a relative path without '..': files live in the App ID's own folder";
                return Err(OpenError::NotAllowed(message.into()));
            }
        }
    }
    if names == 0 {
        return Err(MetadataError::new(
            "connectionString",
            "it names no file",
            "give a relative path, or ':memory:'",
        )
        .into());
    }
    Ok(inside)
}

/// Makes the folders between the App ID's own and the file, and refuses links. Blocks on local disk.
pub(super) fn make_room(folder: &Path, file: &Path) -> Result<(), OpenError> {
    std::fs::create_dir_all(folder).map_err(no_folder)?;
    let below = file.strip_prefix(folder).unwrap_or(file);
    let mut path = folder.to_path_buf();
    for part in below.components() {
        path.push(part);
        refuse_link(&path)?;
        if path != file {
            match std::fs::create_dir(&path) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(no_folder(error)),
                _ => {}
            }
        }
    }
    for companion in COMPANIONS {
        let mut name = file.as_os_str().to_owned();
        name.push(companion);
        refuse_link(Path::new(&name))?;
    }
    Ok(())
}

fn refuse_link(path: &Path) -> Result<(), OpenError> {
    if path.is_symlink() {
        let message = "connectionString leads over a symbolic link: files live in the App ID's own folder";
        return Err(OpenError::NotAllowed(message.into()));
    }
    Ok(())
}

fn no_folder(error: std::io::Error) -> OpenError {
    OpenError::Unavailable(format!("cannot make the folder of the SQLite database: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_lead_inside() {
        let folder = Path::new("/apps/one");
        assert_eq!(
            inside(folder, Path::new("sub/./data.db")).unwrap(),
            Path::new("/apps/one/sub/data.db")
        );
        for path in ["", ".", "./", "..", "/", "/etc/passwd", "sub/../../two/data.db"] {
            assert!(inside(folder, Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn no_link_leads_out() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(outside.path().join("other.db"), b"another's").unwrap();
        let link = |name: &str, to: &Path| std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
        link("sub", outside.path());
        link("file.db", &outside.path().join("other.db"));
        link("dangling.db", &outside.path().join("not-there.db"));
        link("side.db-wal", &outside.path().join("side.db-wal"));
        for name in ["sub/data.db", "sub/deep/data.db", "file.db", "dangling.db", "side.db"] {
            let refused = make_room(folder.path(), &folder.path().join(name));
            assert!(matches!(refused, Err(OpenError::NotAllowed(_))), "{name}: {refused:?}");
        }
        assert_eq!(
            std::fs::read_dir(outside.path()).unwrap().count(),
            1,
            "nothing was made outside"
        );
        make_room(folder.path(), &folder.path().join("a/b/data.db")).unwrap();
        assert!(folder.path().join("a/b").is_dir());
        make_room(folder.path(), &folder.path().join("a/b/data.db")).expect("a second time");
    }
}
