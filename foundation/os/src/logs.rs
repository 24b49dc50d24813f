//! Log files of child processes: appended to by the child itself, bounded by whoever started it.
//!
//! One idea: the child holds the file, not a pipe to its parent, so a killed parent loses no line and stops no child.
//! The file is cut by copy and truncate, which appending writers survive; lines written in between may be lost. Must
//! never rename or replace the file itself: the child would go on writing into the old one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::files::open_private;

/// Opens a log file for appending, mode 0600.
///
/// # Errors
/// [`Error::File`].
pub fn open(path: &Path) -> Result<File, Error> {
    open_private(OpenOptions::new().append(true).create(true), path).map_err(|source| Error::File {
        action: "open log file",
        path: path.to_owned(),
        source,
    })
}

/// Keeps `path` below `max_bytes`: a larger file becomes `<path>.1`, of which there is one.
///
/// # Errors
/// [`Error::File`]. A missing file is no error.
pub fn cut(path: &Path, max_bytes: u64) -> Result<(), Error> {
    let cut = || -> io::Result<()> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.len() > max_bytes => {}
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        let mut older = path.as_os_str().to_owned();
        older.push(".1");
        let copied = fs::copy(path, PathBuf::from(older));
        // A full disk must not stop the cut: losing old lines is what a bound is for.
        OpenOptions::new().write(true).open(path)?.set_len(0)?;
        copied.map(|_| ())
    };
    cut().map_err(|source| Error::File {
        action: "cut log file",
        path: path.to_owned(),
        source,
    })
}

/// The last `lines` lines, at most 16 KiB of them; empty when there is no such file.
pub fn tail(path: &Path, lines: usize) -> Vec<String> {
    const WINDOW: u64 = 16 * 1024;
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(WINDOW)))?;
        let mut bytes = Vec::new();
        file.take(WINDOW).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..]
        .iter()
        .map(|line| (*line).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn an_appending_writer_survives_the_cut_and_nothing_older_than_one_file_is_kept() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("role.log");
        let mut writer = open(&path).expect("opened");
        for line in 0..100 {
            writeln!(writer, "line {line}").expect("written");
        }
        cut(&path, 10_000).expect("small enough");
        assert_eq!(tail(&path, 2), ["line 98", "line 99"]);
        cut(&path, 100).expect("cut");
        writeln!(writer, "after").expect("written");
        assert_eq!(fs::read_to_string(&path).expect("readable"), "after\n");
        assert!(
            fs::read_to_string(folder.path().join("role.log.1"))
                .expect("kept")
                .ends_with("line 99\n")
        );
        cut(&folder.path().join("none"), 1).expect("missing is fine");
        assert!(tail(&folder.path().join("none"), 5).is_empty());
    }
}
