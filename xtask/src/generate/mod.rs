//! Committed files that a program writes: `cargo run -p xtask -- generate [--check]`.
//!
//! One idea: a generator is a function from the checkout to the full list of files it owns, so that writing and
//! checking freshness are the same code. It must never edit a file in place or depend on what is already there.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

/// One generated file: its path below the root of the checkout, and its whole text.
pub struct Output {
    /// Relative to the root, with `/`.
    pub path: String,
    /// The whole content.
    pub text: String,
}

/// Name and function of a generator; the function gets the root of the checkout.
type Generator = (&'static str, fn(&Path) -> Result<Vec<Output>>);

/// Every generator, one line each.
const GENERATORS: &[Generator] = &[];

/// Writes every generated file, or with `check` fails naming those that are not what their generator makes.
pub fn run(root: &Path, check: bool) -> Result<()> {
    let mut stale = Vec::new();
    for (name, generator) in GENERATORS {
        for output in generator(root).with_context(|| format!("generator {name}"))? {
            let path = root.join(&output.path);
            if fs::read_to_string(&path).is_ok_and(|old| old == output.text) {
                continue;
            }
            if check {
                stale.push(format!("{} (generator {name})", output.path));
                continue;
            }
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(&path, &output.text).with_context(|| output.path.clone())?;
            println!("wrote {}", output.path);
        }
    }
    if !stale.is_empty() {
        bail!("not fresh: {}\n  remedy: cargo run -p xtask -- generate", stale.join(", "));
    }
    Ok(())
}
