//! Cases with more than one daprd, of which some are ours and some the original's.
//!
//! One idea: the suite starts one program under the name daprd; here that is a script that becomes the one or the other in
//! turns, so that in one run of a case ours comes first and in another the original does. Must never run two cases under one
//! script: whose turn it is belongs to a case.

use std::{
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Who is started first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// Ours.
    Ours,
    /// Dapr's own.
    Original,
}

impl First {
    /// Both directions.
    pub const BOTH: [Self; 2] = [Self::Ours, Self::Original];

    /// As it is printed.
    pub fn text(self) -> &'static str {
        match self {
            Self::Ours => "ours first",
            Self::Original => "the original first",
        }
    }
}

/// Writes the script into a folder of one case's and returns its path. Each start takes the next free number as a folder,
/// which only one of two can make.
pub fn script(folder: &Path, first: First, ours: &Path, original: &Path) -> Result<PathBuf> {
    let programs = match first {
        First::Ours => [ours, original],
        First::Original => [original, ours],
    };
    for (turn, program) in programs.into_iter().enumerate() {
        let turn = folder.join(turn.to_string());
        fs::create_dir(&turn)?;
        // The name by which it is called decides which program's flags ours takes.
        symlink(program, turn.join("daprd"))?;
    }
    let starts = folder.join("starts");
    fs::create_dir(&starts)?;
    let quoted = |path: &Path| {
        let text = std::str::from_utf8(path.as_os_str().as_bytes()).context("a folder whose name is no text")?;
        anyhow::Ok(format!("'{}'", text.replace('\'', r"'\''")))
    };
    let text = format!(
        "#!/bin/sh\nturn=0\nuntil mkdir {starts}/$turn 2>/dev/null; do turn=$((turn + 1)); done\n\
         exec {folder}/$((turn % 2))/daprd \"$@\"\n",
        starts = quoted(&starts)?,
        folder = quoted(folder)?,
    );
    let script = folder.join("daprd");
    fs::write(&script, text)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

/// How many daprds were started by a script in this folder.
pub fn starts(folder: &Path) -> Result<usize> {
    Ok(fs::read_dir(folder.join("starts"))?.count())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_turn_changes_with_each_start() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().join("it's");
        fs::create_dir(&here).unwrap();
        let script = script(&here, First::Ours, Path::new("/bin/echo"), Path::new("/bin/false")).unwrap();
        let run = || Command::new(&script).arg("x y").output().unwrap();
        let (one, two, three) = (run(), run(), run());
        assert_eq!(one.stdout, b"x y\n");
        assert!(!two.status.success());
        assert_eq!(three.stdout, b"x y\n");
        assert_eq!(starts(&here).unwrap(), 3);
    }
}
