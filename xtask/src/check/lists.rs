//! The committed lists of upstream cases: those that our programs pass, and those that hold for the originals, may only
//! grow; what is in the latter and not in the former is left out with a reason.
//!
//! One idea: git remembers every line that a list ever had; each of them is still there, or a comment in the list names
//! it and says why it left. It must never judge whether a case passes: the runner does.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Result, bail};

use super::Finding;
use crate::upstream::LISTS;

/// Cases that hold for the originals, among the lists.
const HOLDS: &str = "holds.txt";
/// Those of them that do not hold for ours, each with its reason.
const LEFT_OUT: &str = "tests/upstream/left-out.txt";

/// Everything about them.
pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut findings = only_grow(root)?;
    findings.extend(accounted(root)?);
    Ok(findings)
}

/// Compares each list with its history.
fn only_grow(root: &Path) -> Result<Vec<Finding>> {
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

/// Compares what holds for the originals with what holds for ours and what is left out.
fn accounted(root: &Path) -> Result<Vec<Finding>> {
    let (mut holds, mut passing) = (String::new(), String::new());
    for list in fs::read_dir(root.join(LISTS))?.flatten() {
        let text = fs::read_to_string(list.path())?;
        let all = if list.file_name() == HOLDS {
            &mut holds
        } else {
            &mut passing
        };
        all.push_str(&text);
    }
    let left_out = fs::read_to_string(root.join(LEFT_OUT))?;
    let wrong = unaccounted(&holds, &passing, &left_out);
    let finding = |(what, remedy): (String, &str)| Finding::new(LEFT_OUT, what, remedy);
    Ok(wrong.into_iter().map(finding).collect())
}

/// What does not fit, and what to do about it.
fn unaccounted(holds: &str, passing: &str, left_out: &str) -> Vec<(String, &'static str)> {
    let mut wrong = Vec::new();
    let passing: BTreeSet<&str> = cases(passing).collect();
    let mut reasons = Vec::new();
    for line in cases(left_out) {
        match line.split_once('\t') {
            Some((case, reason)) if !reason.trim().is_empty() => reasons.push(case),
            _ => wrong.push((format!("{line} has no reason"), "write it behind a tab")),
        }
    }
    let mut used = BTreeSet::new();
    for case in cases(holds) {
        let covers = |known: &&&str| **known == case || known.ends_with('/') && case.starts_with(**known);
        match (passing.contains(case), reasons.iter().find(covers)) {
            (false, None) => {
                let what = format!("{case} holds for the originals and is in no list");
                wrong.push((what, "make it pass, or leave it out with a reason"));
            }
            (true, Some(known)) if !known.ends_with('/') => {
                wrong.push((format!("{case} passes and is left out"), "remove it here"));
            }
            (_, Some(known)) => {
                used.insert(*known);
            }
            (true, None) => {}
        }
    }
    let unused = reasons.iter().filter(|known| !used.contains(*known));
    wrong.extend(unused.map(|known| (format!("{known} leaves nothing out"), "remove it")));
    wrong
}

fn cases(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
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

    #[test]
    fn what_holds_for_the_originals_passes_or_is_left_out_with_a_reason() {
        let told = |holds: &str, passing: &str, left_out: &str| {
            let wrong = unaccounted(holds, passing, left_out);
            wrong.into_iter().map(|(what, _)| what).collect::<Vec<_>>()
        };
        let (holds, left_out) = ("a/b\na/c\nx/y\n", "# why\na/c\tnot built\nx/\tnot built\n");
        assert!(told(holds, "a/b\n", left_out).is_empty());
        assert_eq!(
            told(holds, "", left_out),
            ["a/b holds for the originals and is in no list"]
        );
        assert_eq!(
            told("a/c\n", "a/c\n", "a/c\tnot built"),
            ["a/c passes and is left out", "a/c leaves nothing out"]
        );
        assert_eq!(told("", "", "a/b"), ["a/b has no reason"]);
    }
}
