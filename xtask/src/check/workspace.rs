//! The packages of the workspace and everything they pull in, from `cargo metadata`.
//!
//! One idea: rules look at this small model, so that their tests can build one by hand. It must never resolve or guess
//! anything that cargo itself knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// A crate of this workspace.
#[derive(Debug, Default, Clone)]
pub struct Member {
    /// Package name.
    pub name: String,
    /// Folder relative to the root, with `/`.
    pub folder: String,
    /// What it depends on, as declared.
    pub dependencies: Vec<Dependency>,
    /// Dependencies that the scan for unused ones leaves alone (`package.metadata.unused.ignore`).
    pub ignore_unused: Vec<String>,
}

/// One declared dependency.
#[derive(Debug, Clone)]
pub struct Dependency {
    /// Package name.
    pub package: String,
    /// The name used in source, with underscores.
    pub ident: String,
    /// Only for tests, examples and benches.
    pub dev: bool,
}

/// A package from a registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Library {
    /// Name and version.
    pub name: String,
    /// Version.
    pub version: String,
    /// SPDX expression, if it has one.
    pub license: Option<String>,
}

/// The model.
#[derive(Debug, Default)]
pub struct Workspace {
    /// Crates of ours, by package name.
    pub members: BTreeMap<String, Member>,
    /// Everything from outside that is linked somewhere.
    pub libraries: Vec<Library>,
}

impl Workspace {
    /// Asks cargo. Fails when `Cargo.lock` does not fit the manifests.
    pub fn load(root: &Path) -> Result<Self> {
        let output = Command::new(crate::cargo())
            .args(["metadata", "--format-version", "1", "--locked"])
            .current_dir(root)
            .output()
            .context("cargo metadata")?;
        if !output.status.success() {
            bail!("cargo metadata --locked: {}", String::from_utf8_lossy(&output.stderr));
        }
        let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
        let ours: BTreeSet<_> = metadata.workspace_members.iter().collect();
        let mut workspace = Self::default();
        for package in &metadata.packages {
            if ours.contains(&package.id) {
                let member = package.member(root)?;
                workspace.members.insert(member.name.clone(), member);
            }
        }
        workspace.libraries = linked_libraries(root)?;
        Ok(workspace)
    }

    /// Crates of ours that `name` links directly, dev-dependencies only when `dev`.
    pub fn ours<'a>(&'a self, member: &'a Member, dev: bool) -> impl Iterator<Item = &'a Member> {
        member
            .dependencies
            .iter()
            .filter(move |d| dev || !d.dev)
            .filter_map(|d| self.members.get(&d.package))
    }

    /// Every crate of ours that ends up in a program built from `name`, itself included.
    pub fn linked<'a>(&'a self, member: &'a Member) -> BTreeMap<&'a str, &'a Member> {
        let mut found = BTreeMap::from([(member.name.as_str(), member)]);
        let mut todo = vec![member];
        while let Some(next) = todo.pop() {
            for dependency in self.ours(next, false) {
                if found.insert(&dependency.name, dependency).is_none() {
                    todo.push(dependency);
                }
            }
        }
        found
    }
}

/// What really gets linked, for any platform: `cargo metadata` also names optional packages that nobody switched on.
fn linked_libraries(root: &Path) -> Result<Vec<Library>> {
    let args = [
        "tree",
        "--workspace",
        "--locked",
        "--target",
        "all",
        "--prefix",
        "none",
        "--format",
        "{p}\t{l}\t",
    ];
    let output = Command::new(crate::cargo())
        .args(args)
        .current_dir(root)
        .output()
        .context("cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    let library = |line: &str| {
        let (package, rest) = line.split_once('\t')?;
        let (name, version) = package.split_once(" v")?;
        let license = rest.split('\t').next().filter(|l| !l.is_empty()).map(str::to_owned);
        // A crate of ours has its path behind the version.
        (!version.contains('/')).then(|| Library {
            name: name.into(),
            version: version.into(),
            license,
        })
    };
    Ok(text
        .lines()
        .filter_map(library)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect())
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: String,
    dependencies: Vec<Declared>,
    metadata: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Declared {
    name: String,
    rename: Option<String>,
    kind: Option<String>,
}

impl Package {
    fn member(&self, root: &Path) -> Result<Member> {
        let manifest = Path::new(&self.manifest_path);
        let folder = manifest.parent().unwrap_or(root).strip_prefix(root.canonicalize()?)?;
        let ignore = self
            .metadata
            .as_ref()
            .and_then(|m| m.pointer("/unused/ignore")?.as_array().cloned());
        Ok(Member {
            name: self.name.clone(),
            folder: folder.to_string_lossy().replace('\\', "/"),
            dependencies: self.dependencies.iter().map(Declared::dependency).collect(),
            ignore_unused: ignore
                .iter()
                .flatten()
                .filter_map(|v| v.as_str().map(str::to_owned))
                .collect(),
        })
    }
}

impl Declared {
    fn dependency(&self) -> Dependency {
        Dependency {
            package: self.name.clone(),
            ident: self.rename.as_ref().unwrap_or(&self.name).replace('-', "_"),
            dev: self.kind.as_deref() == Some("dev"),
        }
    }
}
