//! Committed files that a program writes: `cargo xtask generate [--check]`.
//!
//! One idea: a generator fills an empty folder; writing and checking freshness are the same run, copied or compared.
//! A generator must never read what it owns.

mod catalog;
mod cli;
mod control_plane;
mod program;
mod proto;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// A generator.
struct Generator {
    /// The file or folder below the root that holds what it makes, and nothing else.
    owns: &'static str,
    /// From the root of the checkout, into a folder laid out like the root.
    make: fn(&Path, &Path) -> Result<()>,
}

/// Every generator, one line each; the first one before the programs that are compiled with what it makes.
const GENERATORS: &[Generator] = &[
    Generator {
        owns: "contracts/proto/src/gen",
        make: proto::run,
    },
    Generator {
        owns: "contracts/component/catalog.json",
        make: catalog::run,
    },
    Generator {
        owns: "control-plane/server/openapi.json",
        make: control_plane::run,
    },
    Generator {
        owns: "docs/generated/cli.md",
        make: cli::run,
    },
    Generator {
        owns: "docs/generated/role-matrix.md",
        make: control_plane::run,
    },
];

/// Writes every generated file, or with `check` fails naming those that are not what their generator makes.
pub fn run(root: &Path, check: bool) -> Result<()> {
    let mut stale = Vec::new();
    for generator in GENERATORS {
        let made = tempfile::tempdir()?;
        (generator.make)(root, made.path()).with_context(|| format!("generator of {}", generator.owns))?;
        let (new, old) = (files(made.path(), generator.owns)?, files(root, generator.owns)?);
        for path in new.keys().chain(old.keys().filter(|path| !new.contains_key(*path))) {
            if new.get(path) == old.get(path) {
                continue;
            }
            stale.push(path.display().to_string());
            let target = root.join(path);
            match new.get(path) {
                _ if check => {}
                Some(text) => {
                    fs::create_dir_all(target.parent().unwrap_or(root))?;
                    fs::write(&target, text).with_context(|| target.display().to_string())?;
                }
                None => fs::remove_file(&target)?,
            }
        }
    }
    match stale.is_empty() {
        true => Ok(()),
        false if check => bail!("not fresh: {}\n    remedy: cargo xtask generate", stale.join(", ")),
        false => {
            println!("wrote {}", stale.join(", "));
            Ok(())
        }
    }
}

/// Every file at or below `root/owned` with its content, by its path below `root`.
fn files(root: &Path, owned: &str) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![PathBuf::from(owned)];
    while let Some(path) = todo.pop() {
        let full = root.join(&path);
        if full.is_dir() {
            for entry in fs::read_dir(full)? {
                todo.push(path.join(entry?.file_name()));
            }
        } else if full.exists() {
            let text = fs::read(full)?;
            found.insert(path, text);
        }
    }
    Ok(found)
}
