//! Manifests, licences and unused dependencies.
//!
//! One idea: versions are written once, in the root manifest, and whatever is written there is used. It must never
//! judge a library's quality: that is for people.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result};

use super::{Finding, source::Source, workspace::Workspace};

/// Licences under which a library may be linked.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Every linked library has a licence on the list.
pub fn licences(workspace: &Workspace) -> Vec<Finding> {
    let refused = workspace
        .libraries
        .iter()
        .filter(|l| !l.license.as_deref().is_some_and(permits));
    let finding = |l: &super::workspace::Library| {
        let rule = format!(
            "licence {} is not on the list",
            l.license.as_deref().unwrap_or("missing")
        );
        Finding::new(
            format!("{} {}", l.name, l.version),
            rule,
            "replace the library, or argue for the licence in xtask/src/check/packages.rs",
        )
    };
    refused.map(finding).collect()
}

/// An SPDX expression holds if one side of an OR, or both of an AND, is allowed. `AND` binds tighter; `WITH x` adds rights only.
fn permits(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut tokens = spaced.split_whitespace().peekable();
    let holds = any(&mut tokens);
    holds && tokens.next().is_none()
}

type Tokens<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(tokens: &mut Tokens<'_>) -> bool {
    let mut holds = all(tokens);
    while tokens.next_if_eq(&"OR").is_some() {
        holds |= all(tokens);
    }
    holds
}

fn all(tokens: &mut Tokens<'_>) -> bool {
    let mut holds = single(tokens);
    while tokens.next_if_eq(&"AND").is_some() {
        holds &= single(tokens);
    }
    holds
}

fn single(tokens: &mut Tokens<'_>) -> bool {
    match tokens.next() {
        Some("(") => {
            let holds = any(tokens);
            holds && tokens.next() == Some(")")
        }
        Some(name) => {
            if tokens.next_if_eq(&"WITH").is_some() {
                tokens.next();
            }
            ALLOWED.contains(&name)
        }
        None => false,
    }
}

/// Members inherit what the root fixes.
pub fn manifests(root: &Path, workspace: &Workspace) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for member in workspace.members.values() {
        let path = format!("{}/Cargo.toml", member.folder);
        let text = fs::read_to_string(root.join(&path)).with_context(|| path.clone())?;
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            if !text.lines().any(|l| l.trim() == format!("{key}.workspace = true")) {
                let rule = format!("inherits `{key}`");
                findings.push(Finding::new(&path, rule, format!("write `{key}.workspace = true`")));
            }
        }
        if !text.lines().any(|l| l.starts_with("description = ")) {
            findings.push(Finding::new(
                &path,
                "has a description",
                "add `description = \"…\"`, one line",
            ));
        }
        for (at, line) in lines_of_dependencies(&text) {
            if !line.contains("workspace = true") && !line.contains("path = ") {
                let rule = "versions of libraries are written only in the root manifest";
                findings.push(Finding::new(
                    format!("{path}:{at}"),
                    rule,
                    "write `<name>.workspace = true`",
                ));
            }
        }
    }
    Ok(findings)
}

/// The entries of all dependency tables of a manifest with their line numbers.
fn lines_of_dependencies(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        if line.starts_with('[') {
            inside = line.trim_end_matches(']').ends_with("dependencies");
            return None;
        }
        (inside && line.contains('=') && line.starts_with(|c: char| c.is_ascii_alphabetic())).then_some((at + 1, line))
    })
}

/// Dependencies that no file of the crate names, and entries of the root manifest that no crate inherits.
pub fn unused(root: &Path, workspace: &Workspace, sources: &[Source]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for member in workspace.members.values() {
        let folder = format!("{}/", member.folder);
        let nested = |path: &str| {
            let deeper = |m: &super::workspace::Member| {
                m.folder.starts_with(&folder) && path.starts_with(&format!("{}/", m.folder))
            };
            workspace.members.values().any(deeper)
        };
        let own: Vec<_> = sources
            .iter()
            .filter(|s| s.path.starts_with(&folder) && !nested(&s.path))
            .collect();
        for dependency in &member.dependencies {
            let ignored = member.ignore_unused.contains(&dependency.package);
            if !ignored && !own.iter().any(|s| has_word(&s.text, &dependency.ident)) {
                let rule = format!("{} is never named", dependency.package);
                let remedy = "remove it, or list it in `[package.metadata.unused] ignore = […]` with the reason";
                findings.push(Finding::new(format!("{folder}Cargo.toml"), rule, remedy));
            }
        }
    }
    let text = fs::read_to_string(root.join("Cargo.toml"))?;
    let inherited: BTreeSet<_> = workspace
        .members
        .values()
        .map(|m| format!("{}/Cargo.toml", m.folder))
        .collect();
    let manifests: Vec<_> = inherited
        .iter()
        .filter_map(|path| fs::read_to_string(root.join(path)).ok())
        .collect();
    for (at, line) in lines_of_dependencies(&text).filter(|(_, line)| !line.contains("path = ")) {
        let name = line.split(['=', '.', ' ']).next().unwrap_or(line);
        let used = |m: &String| {
            lines_of_dependencies(m).any(|(_, l)| {
                l.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with([' ', '.', '=']))
            })
        };
        if !manifests.iter().any(used) {
            findings.push(Finding::new(
                format!("Cargo.toml:{at}"),
                format!("no crate uses {name}"),
                "remove the line",
            ));
        }
    }
    Ok(findings)
}

/// `word` occurs in `text` not as a part of a longer name.
fn has_word(text: &str, word: &str) -> bool {
    let name = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(name) && !text[at + word.len()..].starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions() {
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "MIT/Apache-2.0",
            "(MIT OR X) AND ISC",
            "Apache-2.0 WITH LLVM-exception",
            "Y OR MIT AND ISC",
        ] {
            assert!(permits(good), "{good}");
        }
        for bad in [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(MIT OR X) AND Y",
            "(MIT",
            "MIT MIT",
            "X OR MIT AND Y",
        ] {
            assert!(!permits(bad), "{bad}");
        }
    }

    #[test]
    fn words() {
        assert!(has_word("use serde::Deserialize;", "serde"));
        assert!(!has_word("use serde_json::Value;", "serde"));
        assert!(!has_word("use my_serde::Value;", "serde"));
        assert!(has_word("my_serde, serde", "serde"));
    }

    #[test]
    fn dependency_lines() {
        let text = "[package]\nname = \"x\"\n[dependencies]\n# note = 1\nserde.workspace = true\nx = \"1\"\n[dev-dependencies]\ny = \"2\"\n[features]\nz = []\n";
        let lines: Vec<_> = lines_of_dependencies(text).collect();
        assert_eq!(
            lines,
            [(5, "serde.workspace = true"), (6, "x = \"1\""), (8, "y = \"2\"")]
        );
    }
}
