//! The Rust files of the checkout, as git sees them: committed or new, never ignored ones.
//!
//! One idea: a file knows which of its lines are product code, so that a rule need not care about tests. It must never
//! parse Rust: lines and words are enough for the rules here.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, bail};

/// One Rust file.
#[derive(Debug)]
pub struct Source {
    /// Relative to the root, with `/`.
    pub path: String,
    /// The whole text.
    pub text: String,
}

/// Marks the beginning of a file's own tests.
const TESTS: &str = "#[cfg(test)]\nmod ";

impl Source {
    /// Written by a generator: exempt from size and style.
    pub fn generated(&self) -> bool {
        self.path.contains("/src/gen/") || self.text.lines().take(5).any(|l| l.contains("@generated"))
    }

    /// A file that only tests use.
    pub fn is_test(&self) -> bool {
        let file = self.path.rsplit('/').next().unwrap_or(&self.path);
        self.path.starts_with("tests/")
            || ["/tests/", "/benches/", "/examples/"]
                .iter()
                .any(|folder| self.path.contains(folder))
            || file == "tests.rs"
            || file.ends_with("_tests.rs")
    }

    /// Lines (numbered from 1) that are compiled into a product, without comments.
    pub fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = if self.is_test() {
            0
        } else {
            self.text.find(TESTS).unwrap_or(self.text.len())
        };
        let lines = self.text[..end].lines().enumerate();
        lines
            .map(|(i, line)| (i + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// How many lines the tests at the end of the file have.
    pub fn inline_test_lines(&self) -> usize {
        match self.text.find(TESTS) {
            Some(at) if self.text[at..].lines().nth(1).is_some_and(|l| l.ends_with('{')) => {
                self.text[at..].lines().count()
            }
            _ => 0,
        }
    }

    /// The module's documentation at the top of the file.
    pub fn module_doc(&self) -> String {
        let doc = self
            .text
            .lines()
            .skip_while(|l| l.starts_with("#!"))
            .take_while(|l| l.starts_with("//!"));
        doc.map(|l| l.trim_start_matches("//!")).collect::<Vec<_>>().join("\n")
    }
}

/// Every Rust file that git tracks or would offer to add.
pub fn load(root: &Path) -> Result<Vec<Source>> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "--deduplicate",
            "*.rs",
        ])
        .current_dir(root)
        .output()?;
    if !output.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut sources = Vec::new();
    for path in String::from_utf8(output.stdout)?.lines() {
        // A tracked file may be gone from the work tree.
        if let Ok(text) = fs::read_to_string(root.join(path)) {
            sources.push(Source {
                path: path.to_owned(),
                text,
            });
        }
    }
    Ok(sources)
}
