//! A folder that no name leads out of.
//!
//! One idea: every file is opened by the kernel below the folder (`openat2` with `RESOLVE_BENEATH`), so neither `..` nor a
//! link, nor a link that somebody puts there meanwhile, leads out; what is no plain file is neither read nor written. Must
//! never open by a joined path.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use palladium_component::CallError;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Deepest folder and most files that are listed.
const DEEPEST: usize = 64;
const MOST_FILES: usize = 100_000;

#[derive(Clone)]
pub(super) struct Folder(Arc<Path>);

type Outcome<T> = Result<T, CallError>;

/// A path below the folder, without anything that leads upwards.
fn below(name: &str) -> Outcome<PathBuf> {
    let mut path = PathBuf::new();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(CallError::Invalid(
                    "the file's name must not lead upwards ('..')".to_owned(),
                ));
            }
        }
    }
    Ok(path)
}

impl Folder {
    pub(super) fn new(root: PathBuf) -> Self {
        Self(root.into())
    }

    /// An error of the kernel's, with the path as the caller gave it.
    fn failed(&self, path: &Path, error: Errno) -> CallError {
        let whole = self.0.join(path);
        let whole = whole.display();
        match error {
            Errno::NOENT => CallError::Invalid(format!("file not found: {whole}")),
            Errno::XDEV | Errno::LOOP => CallError::Invalid(format!("{whole} leads out of the folder")),
            Errno::NOTDIR => CallError::Invalid(format!("{whole} is not a directory")),
            Errno::ISDIR | Errno::NXIO => CallError::Invalid(format!("{whole} is no file")),
            error => CallError::Other(format!("error with {whole}: {error}")),
        }
    }

    fn root(&self) -> Outcome<OwnedFd> {
        let opened = rustix::fs::openat(
            CWD,
            &*self.0,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        opened.map_err(|error| self.failed(Path::new(""), error))
    }

    fn open(&self, root: &OwnedFd, path: &Path, flags: OFlags, mode: Mode) -> Outcome<OwnedFd> {
        let path_or_self = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let flags = flags | OFlags::CLOEXEC;
        let rules = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let opened = rustix::fs::openat2(root, path_or_self, flags, mode, rules);
        opened.map_err(|error| self.failed(path, error))
    }

    /// A plain file. What would make the caller wait, such as a pipe, is none.
    fn file(&self, root: &OwnedFd, path: &Path, flags: OFlags, mode: Mode) -> Outcome<File> {
        let opened = self.open(root, path, flags | OFlags::NONBLOCK | OFlags::NOCTTY, mode)?;
        let about = rustix::fs::fstat(&opened).map_err(|error| self.failed(path, error))?;
        if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile {
            return Err(self.failed(path, Errno::ISDIR));
        }
        Ok(File::from(opened))
    }

    /// Writes a file with the folders above it; its name below the folder.
    pub(super) fn write(&self, name: &str, data: &[u8]) -> Outcome<String> {
        let path = below(name)?;
        std::fs::create_dir_all(&*self.0).map_err(|error| CallError::Other(error.to_string()))?;
        let root = self.root()?;
        let folders: Vec<&Path> = path
            .ancestors()
            .skip(1)
            .filter(|above| !above.as_os_str().is_empty())
            .collect();
        for above in folders.into_iter().rev() {
            let parent = above.parent().unwrap_or(Path::new(""));
            let parent = self.open(&root, parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
            let last = above.file_name().unwrap_or_default();
            match rustix::fs::mkdirat(&parent, last, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(self.failed(above, error)),
            }
        }
        // Emptied only when it is known to be a file.
        let mut file = self.file(
            &root,
            &path,
            OFlags::WRONLY | OFlags::CREATE,
            Mode::from_raw_mode(0o666),
        )?;
        let written = file.set_len(0).and_then(|()| file.write_all(data));
        written
            .map_err(|error| CallError::Other(format!("error writing to {}: {error}", self.0.join(&path).display())))?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// Reads a file whose size is allowed; what allows it is held meanwhile.
    pub(super) fn read<H>(&self, name: &str, allow: impl FnOnce(u64) -> Outcome<H>) -> Outcome<Vec<u8>> {
        let path = below(name)?;
        let file = self.file(&self.root()?, &path, OFlags::RDONLY, Mode::empty())?;
        let failed = |error: std::io::Error| {
            CallError::Other(format!("error reading file {}: {error}", self.0.join(&path).display()))
        };
        let size = file.metadata().map_err(failed)?.len();
        let _held = allow(size)?;
        let mut data = Vec::new();
        // One that grows meanwhile is read as far as it was.
        file.take(size).read_to_end(&mut data).map_err(failed)?;
        Ok(data)
    }

    /// Removes a file or an empty folder; of a link the link.
    pub(super) fn delete(&self, name: &str) -> Outcome<()> {
        let path = below(name)?;
        let Some(last) = path.file_name() else {
            return Err(CallError::Invalid(
                "the folder itself is not removed: give a fileName".to_owned(),
            ));
        };
        let parent = path.parent().unwrap_or(Path::new(""));
        let parent = self.open(&self.root()?, parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        let removed = match rustix::fs::unlinkat(&parent, last, AtFlags::empty()) {
            Err(Errno::ISDIR) => rustix::fs::unlinkat(&parent, last, AtFlags::REMOVEDIR),
            other => other,
        };
        removed.map_err(|error| self.failed(&path, error))
    }

    /// The paths of all files in a folder and those below it, in order; links are not followed.
    pub(super) fn list(&self, name: &str) -> Outcome<Vec<String>> {
        let mut files = Vec::new();
        self.walk(&self.root()?, &below(name)?, 0, &mut files)?;
        Ok(files)
    }

    fn walk(&self, root: &OwnedFd, path: &Path, depth: usize, files: &mut Vec<String>) -> Outcome<()> {
        if depth > DEEPEST {
            return Err(CallError::Invalid(format!(
                "there are folders more than {DEEPEST} deep"
            )));
        }
        let opened = self.open(root, path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        let failed = |error| self.failed(path, error);
        let mut names = Vec::new();
        for entry in Dir::read_from(&opened).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == "." || name == ".." {
                continue;
            }
            if names.len() + files.len() >= MOST_FILES {
                return Err(CallError::Invalid(format!("there are more than {MOST_FILES} files")));
            }
            names.push((name, entry.file_type()));
        }
        names.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        for (name, kind) in names {
            let below = path.join(&name);
            // Some file systems do not say what an entry is.
            let kind = match kind {
                FileType::Unknown => {
                    let about =
                        rustix::fs::statat(&opened, name.as_str(), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
                    FileType::from_raw_mode(about.st_mode)
                }
                kind => kind,
            };
            if kind == FileType::Directory {
                self.walk(root, &below, depth + 1, files)?;
            } else {
                files.push(self.0.join(&below).to_string_lossy().into_owned());
            }
        }
        Ok(())
    }
}
