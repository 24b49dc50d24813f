//! Generates `contracts/component/catalog.json`, the list of all component drivers with their metadata.
//! One idea: the drivers describe themselves; a program that links them prints the list, because this tool links no
//! driver. Must never write outside its output file.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::program;

/// Generates the catalog of the workspace at `root` into the same place below `made`.
pub fn run(root: &Path, made: &Path) -> Result<()> {
    let program = program::build(root, "bin", "component-catalog")?;
    let output = Command::new(&program)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| program.display().to_string())?;
    ensure!(output.status.success(), "component-catalog failed");
    let folder = made.join("contracts/component");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("catalog.json"), output.stdout).context("cannot write the catalog")
}
