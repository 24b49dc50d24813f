//! Which lints hold for a crate, and where unsafe code may be.
//!
//! One idea: every member inherits the workspace's lints, which forbid unsafe code. One crate cannot inherit that, so it
//! repeats them all, and its unsafe code is one place that is named here. Must never let a second place in unseen.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result};

use super::{Finding, source::Source, workspace::Workspace};

/// The one crate that may hold unsafe code, and the one file of it.
const UNSAFE_CRATE: &str = "foundation/os";
const UNSAFE_FILE: &str = "foundation/os/src/memory.rs";
/// How that place begins: a reason follows.
const UNSAFE_PLACE: &str = "#[expect(unsafe_code,reason=\"";

/// Runs the check.
pub fn check(root: &Path, workspace: &Workspace, sources: &[Source]) -> Result<Vec<Finding>> {
    let manifest = |folder: &str| {
        let path = Path::new(folder).join("Cargo.toml");
        fs::read_to_string(root.join(&path)).with_context(|| path.display().to_string())
    };
    let wanted = lints(&manifest("")?, "workspace.lints.");
    let mut findings = unsafe_places(sources);
    for member in workspace.members.values() {
        let (path, text) = (format!("{}/Cargo.toml", member.folder), manifest(&member.folder)?);
        if member.folder == UNSAFE_CRATE {
            findings.extend(repeats(&path, &text, &wanted));
        } else if !text.contains("[lints]\nworkspace = true") {
            findings.push(Finding::new(
                &path,
                "inherits the workspace's lints",
                "add `[lints]` with `workspace = true`",
            ));
        }
    }
    Ok(findings)
}

/// The lints of a manifest in the tables that begin so, each after the rest of its table's name.
fn lints(manifest: &str, tables: &str) -> BTreeSet<String> {
    let mut table = None;
    let mut lints = BTreeSet::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_end_matches(']').strip_prefix(tables);
        } else if let Some(table) = table.filter(|_| !line.is_empty() && !line.starts_with('#')) {
            lints.insert(format!("{table}: {line}"));
        }
    }
    lints
}

/// Where its own lints are others than the workspace's, but for unsafe code, which may be expected.
fn repeats(path: &str, manifest: &str, wanted: &BTreeSet<String>) -> Vec<Finding> {
    let wanted = wanted.iter().map(|lint| match lint.as_str() {
        "rust: unsafe_code = \"forbid\"" => "rust: unsafe_code = \"deny\"".to_owned(),
        other => other.to_owned(),
    });
    let (wanted, own) = (wanted.collect::<BTreeSet<_>>(), lints(manifest, "lints."));
    let rule = "repeats the workspace's lints, with `deny` for unsafe code";
    let missing = wanted.difference(&own).map(|lint| format!("add `{lint}`"));
    let surplus = own.difference(&wanted).map(|lint| format!("remove `{lint}`"));
    missing
        .chain(surplus)
        .map(|remedy| Finding::new(path, rule, remedy))
        .collect()
}

/// Words about unsafe code in its crate: without them it does not compile there, and nowhere else with them.
fn unsafe_places(sources: &[Source]) -> Vec<Finding> {
    let folder = format!("{UNSAFE_CRATE}/");
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.path.starts_with(&folder)) {
        let code = source.text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code: String = code.flat_map(str::split_whitespace).collect();
        let words = code.matches("unsafe_code").count();
        let allowed = source.path == UNSAFE_FILE && words == 1 && code.contains(UNSAFE_PLACE);
        if words > 0 && !allowed {
            findings.push(Finding::new(
                &source.path,
                format!("unsafe code is one place in `{UNSAFE_FILE}`, expected and with its reason"),
                "do without; the kernel's other calls have safe wrappers",
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "[workspace.lints.rust]\n# why\nunsafe_code = \"forbid\"\n\n[other]\nx = 1\n\
                        [workspace.lints.clippy]\ntodo = \"warn\"\n# next\n[workspace.dependencies]\ny = \"1\"\n";

    #[test]
    fn lints_are_repeated_all_and_no_others() {
        let wanted = lints(ROOT, "workspace.lints.");
        assert_eq!(
            wanted.iter().collect::<Vec<_>>(),
            ["clippy: todo = \"warn\"", "rust: unsafe_code = \"forbid\""]
        );
        let remedies = |own: &str| {
            let found = repeats("Cargo.toml", own, &wanted);
            found.into_iter().map(|finding| finding.remedy).collect::<Vec<_>>()
        };
        let good = "[lints.clippy]\ntodo = \"warn\"\n[lints.rust]\n# why\nunsafe_code = \"deny\"\n[features]\na = []\n";
        assert!(remedies(good).is_empty());
        assert_eq!(
            remedies(&good.replace("deny", "allow")),
            [
                "add `rust: unsafe_code = \"deny\"`",
                "remove `rust: unsafe_code = \"allow\"`"
            ]
        );
        // In another table it is another one.
        assert_eq!(remedies(&good.replace("[lints.rust]", "[rust]")).len(), 1);
    }

    #[test]
    fn unsafe_code_has_one_place() {
        let found = |path: &str, text: &str| {
            let (path, text) = (path.to_owned(), text.to_owned());
            unsafe_places(&[Source { path, text }]).len()
        };
        let place = "#[expect(\n    unsafe_code,\n    reason = \"why\"\n)]\nlet _ = x();\n";
        assert_eq!(found(UNSAFE_FILE, &format!("// unsafe_code\n{place}")), 0);
        assert_eq!(found(UNSAFE_FILE, &place.repeat(2)), 1);
        assert_eq!(found(UNSAFE_FILE, "#[allow(unsafe_code)]"), 1);
        assert_eq!(found("foundation/os/src/files.rs", place), 1);
    }
}
