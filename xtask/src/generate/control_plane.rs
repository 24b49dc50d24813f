//! The OpenAPI document and the role matrix, made by the control plane itself.
//!
//! One idea: the server is run as an example program, not linked, so that xtask stays quick to build. Must never import
//! a crate of the control plane.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::program;

/// Writes both below `out`; each generator takes the one that it owns.
pub(super) fn run(root: &Path, out: &Path) -> Result<()> {
    let program = program::build(root, "example", "generated")?;
    let status = Command::new(&program)
        .arg(out)
        .current_dir(root)
        .status()
        .with_context(|| program.display().to_string())?;
    ensure!(status.success(), "the control plane's generator failed: {status}");
    Ok(())
}
