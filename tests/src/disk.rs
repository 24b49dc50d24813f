//! A small disk in memory that a scenario can fill and empty.
//!
//! One idea: a full disk is made by one file, so removing it gives back exactly what it took. Needs root; must never
//! outlive the scenario.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// A mounted file system.
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts a new one, which only its owner may enter, at `folder`.
    pub fn mount(folder: PathBuf, megabytes: u32) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        let options = format!("size={megabytes}m,mode=0700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(&folder)
            .status()?;
        ensure!(
            mounted.success(),
            "cannot mount a tmpfs at {}: this needs root",
            folder.display()
        );
        Ok(Self { folder })
    }

    /// Leaves no byte free.
    pub fn fill(&self) -> Result<()> {
        let mut file = File::create(self.filler())?;
        for size in [1 << 16, 1 << 12, 1] {
            let block = vec![0x55; size];
            while file.write_all(&block).is_ok() {}
        }
        Ok(())
    }

    /// Gives back what [`Self::fill`] took.
    pub fn empty(&self) -> Result<()> {
        fs::remove_file(self.filler()).context("it is not full")
    }

    /// Nothing can be written, or it can again.
    pub fn read_only(&self, yes: bool) -> Result<()> {
        let options = if yes { "remount,ro" } else { "remount,rw" };
        let done = Command::new("mount").args(["-o", options]).arg(&self.folder).status()?;
        ensure!(done.success(), "cannot {options} {}", self.folder.display());
        Ok(())
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    /// Where it is mounted.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that has not quite ended must not keep it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}
