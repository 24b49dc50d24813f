//! Fuzzing with libFuzzer: `cargo xtask fuzz [TARGET…] [--seconds N] [--two]`.
//!
//! One idea: what the fuzzer makes up lies in the cache, what is committed in `tests/fuzz/corpus`; whatever breaks a promise
//! becomes a file of the second kind, so that an ordinary test finds it from then on. Must never write into the checkout
//! unless it was asked to.

mod outcome;
mod program;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use outcome::Outcome;

/// Corpora that are committed; the name of a folder is that of a target.
const CORPUS: &str = "tests/fuzz/corpus";
/// Words that mutations are made of, where a target has such a file.
const DICTIONARIES: &str = "tests/fuzz/dictionaries";
/// Of a thread of the product, so that what nests too deep for one is found.
const STACK: u64 = 2 << 20;

/// Command line.
#[derive(Args)]
pub struct Options {
    /// Which targets (folders in tests/fuzz/corpus); all when none is named
    targets: Vec<String>,
    /// For each target
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// Two targets, chosen by the commit
    #[arg(long, conflicts_with = "targets")]
    two: bool,
    /// Only try this input
    #[arg(long, conflicts_with_all = ["two", "merge"])]
    input: Option<PathBuf>,
    /// Only add to the committed corpora what was made up so far and covers more
    #[arg(long)]
    merge: bool,
}

/// Builds the program and lets it look for inputs that break a promise; fails when there is one.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    let all = known(root)?;
    let targets = if options.two {
        two(&all, &commit(root)?)
    } else if options.targets.is_empty() {
        all.clone()
    } else {
        options.targets.clone()
    };
    if let Some(unknown) = targets.iter().find(|target| !all.contains(target)) {
        bail!("no target {unknown}: use one of {}", all.join(", "));
    }
    let program = program::build(root)?;
    let limit = getrlimit(Resource::Stack);
    setrlimit(
        Resource::Stack,
        Rlimit {
            current: Some(STACK),
            ..limit
        },
    )
    .context("the limit of the stack")?;

    let mut failed = 0;
    for target in &targets {
        let place = Place::of(root, target)?;
        let (status, log) = if let Some(input) = &options.input {
            let input = input.canonicalize().with_context(|| input.display().to_string())?;
            place.start(&program, &[input.display().to_string()])?
        } else if options.merge {
            let folders = [&place.committed, &place.made_up].map(|folder| folder.display().to_string());
            place.start(
                &program,
                &["-merge=1".to_owned(), folders[0].clone(), folders[1].clone()],
            )?
        } else {
            place.start(&program, &place.arguments(options.seconds))?
        };
        let outcome = Outcome::read(&log);
        if status.success() {
            println!("{target}: {outcome}");
        } else {
            failed += 1;
            println!("{target}: {outcome}\n{}", outcome.finding(target, &place.log));
        }
    }
    println!("{} passed, {failed} failed", targets.len() - failed);
    if failed > 0 {
        bail!("{failed} of {} targets broke a promise", targets.len());
    }
    Ok(())
}

/// Where a target's files are.
struct Place {
    target: String,
    committed: PathBuf,
    dictionary: PathBuf,
    made_up: PathBuf,
    found: PathBuf,
    log: PathBuf,
}

impl Place {
    fn of(root: &Path, target: &str) -> Result<Self> {
        let own = program::cache()?.join("fuzz").join(target);
        let place = Self {
            target: target.to_owned(),
            committed: root.join(CORPUS).join(target),
            dictionary: root.join(DICTIONARIES).join(format!("{target}.dict")),
            made_up: own.join("corpus"),
            found: own.join("found"),
            log: own.join("log"),
        };
        for folder in [&place.made_up, &place.found] {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        Ok(place)
    }

    /// New inputs go into the first folder; the second one is only read.
    fn arguments(&self, seconds: u32) -> Vec<String> {
        let mut arguments = vec![
            format!("-max_total_time={seconds}"),
            "-max_len=4096".to_owned(),
            "-print_final_stats=1".to_owned(),
        ];
        if self.dictionary.is_file() {
            arguments.push(format!("-dict={}", self.dictionary.display()));
        }
        arguments.extend([&self.made_up, &self.committed].map(|folder| folder.display().to_string()));
        arguments
    }

    fn start(&self, program: &Path, arguments: &[String]) -> Result<(ExitStatus, String)> {
        let log = File::create(&self.log).with_context(|| self.log.display().to_string())?;
        let status = Command::new(program)
            .env("PALLADIUM_FUZZ_TARGET", &self.target)
            .arg("-timeout=5")
            .arg("-rss_limit_mb=2048")
            .arg(format!("-artifact_prefix={}/", self.found.display()))
            .args(arguments)
            .stdout(log.try_clone()?)
            .stderr(log)
            .status()
            .with_context(|| program.display().to_string())?;
        let log = fs::read(&self.log)?;
        Ok((status, String::from_utf8_lossy(&log).into_owned()))
    }
}

fn known(root: &Path) -> Result<Vec<String>> {
    let folder = root.join(CORPUS);
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().display().to_string());
    }
    names.sort();
    Ok(names)
}

fn commit(root: &Path) -> Result<String> {
    let output = Command::new("git")
        .args(["rev-parse", "HEAD"])
        .current_dir(root)
        .output()?;
    if !output.status.success() {
        bail!("git rev-parse: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Two neighbours on the list: over many commits each is as likely as any other.
fn two(all: &[String], commit: &str) -> Vec<String> {
    let number = commit.get(..8).and_then(|start| usize::from_str_radix(start, 16).ok());
    let first = number.unwrap_or_default();
    let mut chosen: Vec<String> = all
        .iter()
        .cycle()
        .skip(first % all.len().max(1))
        .take(2)
        .cloned()
        .collect();
    chosen.dedup();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_chooses_two_and_all_are_chosen_by_some() {
        let all: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
        assert_eq!(two(&all, "00000001ffff"), ["b", "c"]);
        assert_eq!(two(&all, "00000002ffff"), ["c", "a"]);
        assert_eq!(two(&all[..1], "00000002ffff"), ["a"]);
    }
}
