//! The OpenAPI document and the role matrix, made by the control plane itself.
//!
//! One idea: the server is run as an example program, not linked, so that xtask stays quick to build. Must never import
//! a crate of the control plane.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};

/// Writes both below `out`; each generator takes the one that it owns.
pub(super) fn run(root: &Path, out: &Path) -> Result<()> {
    let status = Command::new("cargo")
        .args([
            "run",
            "--quiet",
            "--locked",
            "-p",
            "palladium-control-server",
            "--example",
            "generated",
            "--",
        ])
        .arg(out)
        .current_dir(root)
        .status()
        .context("cargo run of the control plane's generator")?;
    ensure!(status.success(), "the control plane's generator failed: {status}");
    Ok(())
}
