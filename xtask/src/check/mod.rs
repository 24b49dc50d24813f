//! `cargo xtask check`: every rule of the checkout that a machine can decide, run one after the other.
//!
//! One idea: a step is a function from the checkout to findings, and a finding says where, which rule, and what to do.
//! A step must never change a file, and a later step runs even when an earlier one found something.

mod directions;
mod files;
mod lints;
mod lists;
mod packages;
mod source;
mod workspace;

use std::{fmt, path::Path, process::Command, time::Instant};

use anyhow::{Context as _, Result, bail};

use crate::generate;
use source::Source;
use workspace::Workspace;

/// One broken rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// File (with line where known), crate or folder.
    place: String,
    /// The rule, as a sentence.
    rule: String,
    /// What to do about it.
    remedy: String,
}

impl Finding {
    fn new(place: impl Into<String>, rule: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            rule: rule.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n    remedy: {}", self.place, self.rule, self.remedy)
    }
}

/// What the steps look at; read once.
struct Checkout<'a> {
    root: &'a Path,
    workspace: Workspace,
    sources: Vec<Source>,
}

/// Name and function of a step.
type Step = (&'static str, fn(&Checkout<'_>) -> Result<Vec<Finding>>);

/// Every step, the quick ones first.
const STEPS: &[Step] = &[
    ("directions", |c| Ok(directions::imports(&c.workspace))),
    ("libraries", |c| Ok(directions::libraries(&c.workspace))),
    ("calls", |c| Ok(directions::calls(&c.sources))),
    ("files", |c| Ok(files::check(&c.sources))),
    ("manifests", |c| packages::manifests(c.root, &c.workspace)),
    ("lints", |c| lints::check(c.root, &c.workspace, &c.sources)),
    ("licences", |c| Ok(packages::licences(&c.workspace))),
    ("unused", |c| packages::unused(c.root, &c.workspace, &c.sources)),
    ("lists", |c| lists::check(c.root)),
    ("generated", |c| passes("generated", generate::run(c.root, true))),
    ("format", |c| {
        cargo(
            c.root,
            &["fmt", "--all", "--", "--check", "--color", "never"],
            "cargo fmt --all",
        )
    }),
    ("clippy", |c| {
        cargo(
            c.root,
            &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--locked",
                "--",
                "-D",
                "warnings",
            ],
            "fix the warnings above",
        )
    }),
];

/// Runs the steps (only those named in `only`, when any are), prints findings and times, fails if anything was found.
pub fn run(root: &Path, only: &[String]) -> Result<()> {
    if let Some(unknown) = only.iter().find(|name| !STEPS.iter().any(|(step, _)| step == name)) {
        let names: Vec<_> = STEPS.iter().map(|(name, _)| *name).collect();
        bail!("no step {unknown}; steps: {}", names.join(", "));
    }
    let checkout = Checkout {
        root,
        workspace: Workspace::load(root)?,
        sources: source::load(root)?,
    };
    let mut broken = Vec::new();
    for (name, step) in STEPS
        .iter()
        .filter(|(name, _)| only.is_empty() || only.iter().any(|o| o == name))
    {
        let started = Instant::now();
        let findings = step(&checkout).with_context(|| format!("step {name}"))?;
        let verdict = if findings.is_empty() {
            "ok".to_owned()
        } else {
            format!("{} found", findings.len())
        };
        println!(
            "check {name:<11} {verdict:<10} {:.1} s",
            started.elapsed().as_secs_f64()
        );
        for finding in &findings {
            println!("  {finding}");
        }
        if !findings.is_empty() {
            broken.push(*name);
        }
    }
    if !broken.is_empty() {
        bail!("check failed: {}", broken.join(", "));
    }
    Ok(())
}

/// A step that is a cargo command: its output goes to the terminal, its failure is one finding.
fn cargo(root: &Path, args: &[&str], remedy: &str) -> Result<Vec<Finding>> {
    let status = Command::new(crate::cargo()).args(args).current_dir(root).status()?;
    let rule = format!("`cargo {}` passes", args.join(" "));
    Ok(if status.success() {
        Vec::new()
    } else {
        vec![Finding::new("workspace", rule, remedy)]
    })
}

/// A step that is a function of ours: its error is one finding.
fn passes(place: &str, result: Result<()>) -> Result<Vec<Finding>> {
    Ok(result
        .err()
        .map(|e| Finding::new(place, format!("{e:#}"), "see above"))
        .into_iter()
        .collect())
}
