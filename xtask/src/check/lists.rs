//! The committed lists of upstream cases that our programs pass may only grow.
//!
//! One idea: git remembers every line that a list ever had; each of them is still there, or a comment in the list names
//! it and says why it left. It must never judge whether a case passes: the runner does.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Result, bail};

use super::Finding;
use crate::upstream::LISTS;

/// Compares each list with its history.
pub fn only_grow(root: &Path) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for list in fs::read_dir(root.join(LISTS))?
        .flatten()
        .map(|entry| format!("{LISTS}/{}", entry.file_name().display()))
    {
        let output = Command::new("git")
            .args(["log", "--format=", "-p", "--unified=0", "--", &list])
            .current_dir(root)
            .output()?;
        if !output.status.success() {
            bail!("git log {list}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let now = fs::read_to_string(root.join(&list))?;
        for case in lost(&String::from_utf8_lossy(&output.stdout), &now) {
            let remedy = "make it pass again, or keep its name in a comment with the reason";
            findings.push(Finding::new(&list, format!("{case} was on the list"), remedy));
        }
    }
    Ok(findings)
}

/// Cases that a patch ever added and that `now` does not name any more.
fn lost<'a>(patches: &'a str, now: &str) -> BTreeSet<&'a str> {
    let added = patches
        .lines()
        .filter(|l| !l.starts_with("+++"))
        .filter_map(|l| l.strip_prefix('+'));
    let named: BTreeSet<_> = now.split_whitespace().collect();
    added
        .map(str::trim)
        .filter(|c| !c.is_empty() && !c.starts_with('#') && !named.contains(c))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_leaves_only_with_a_reason() {
        let patches = "diff\n+++ b/list\n@@ -0,0 +1 @@\n+# head\n+a/b\n+a/c\n+a/d\n-a/b\n";
        assert_eq!(
            lost(patches, "a/b\n# a/d left: upstream removed it\n"),
            BTreeSet::from(["a/c"])
        );
    }
}
