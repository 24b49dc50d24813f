//! Builds a program of the workspace that a generator then asks.
//!
//! One idea: it is built with the same features as tests are, so that no library is compiled a second time for a
//! generator's sake: cargo unites the features that everything in one call asks for, those of dev-dependencies among them,
//! but these only where a target is named that may use them, an example or a test. So an example goes along with a program,
//! and the features are those of `cargo build --workspace --all-targets`, of which this is a part and which has mostly been
//! made. (All of it is not built here: a generator must run while tests that want what it makes do not compile.) What a
//! program prints must not depend on features that only tests ask for. Must never run what it built.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// The example that goes along: the one that `control_plane` asks for anyway.
const ALONG: &str = "generated";

/// Builds the `bin` or `example` of this name of the workspace at `root` and says where it is.
pub(super) fn build(root: &Path, kind: &str, name: &str) -> Result<PathBuf> {
    let output = Command::new(crate::cargo())
        .args(["build", "--quiet", "--locked", "--workspace", "--example", ALONG])
        .arg(format!("--{kind}"))
        .arg(name)
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "{name} does not build");
    let messages = String::from_utf8(output.stdout)?;
    let executable = messages.lines().find_map(|line| executable(line, kind, name));
    executable.with_context(|| format!("cargo named no executable for {name}"))
}

/// Where the target of this kind and name is, if cargo's message is about it.
fn executable(message: &str, kind: &str, name: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let target = &message["target"];
    let is_it = target["name"] == name && target["kind"][0] == kind;
    let place = message["executable"].as_str()?;
    is_it.then(|| place.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_executable_is_known_by_its_kind_and_name() {
        let message = |kind: &str, place: Value| {
            let target = json!({ "kind": [kind], "name": "made" });
            json!({ "reason": "compiler-artifact", "target": target, "executable": place }).to_string()
        };
        let found = |message: &str| executable(message, "bin", "made");
        assert_eq!(found(&message("bin", "/made".into())), Some(PathBuf::from("/made")));
        assert_eq!(found(&message("example", "/made".into())), None);
        assert_eq!(found(&message("bin", Value::Null)), None);
        assert_eq!(executable(&message("bin", "/made".into()), "bin", "other"), None);
        assert_eq!(found(r#"{"reason":"build-finished","success":true}"#), None);
    }
}
