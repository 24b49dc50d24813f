//! Builds a program of the workspace that a generator then asks.
//!
//! One idea: it is built with the features of the whole workspace, as `./dev test` builds it, so that no library is compiled a second
//! time for a generator's sake. Must never run what it built.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Builds `--bin NAME` or `--example NAME` of the workspace at `root` and says where it is.
pub(super) fn build(root: &Path, flag: &str, name: &str) -> Result<PathBuf> {
    let output = Command::new(crate::cargo())
        .args(["build", "--quiet", "--locked", "--workspace", flag, name])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "{name} does not build");
    let messages = String::from_utf8(output.stdout)?;
    let executable = messages.lines().rev().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        message.get("executable")?.as_str().map(PathBuf::from)
    });
    executable.with_context(|| format!("cargo named no executable for {name}"))
}
