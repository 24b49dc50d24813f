//! Builds the program of `tests/fuzz` with coverage instrumentation, by the pinned toolchain.
//!
//! One idea: libFuzzer only needs what LLVM's pass for coverage puts in, which stable compilers have; a sanitizer would need
//! a nightly one, and finds little where unsafe code is forbidden. It names its target although that is this machine: so
//! build scripts and macros, which run in the compiler, stay without instrumentation. Must never share a folder with
//! ordinary builds: each would make the other compile everything anew.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, bail};

const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";
const PROFILE: &str = "fuzz";
const NAME: &str = "palladium-fuzz";

/// Where everything lies that `./dev` makes.
pub fn cache() -> Result<PathBuf> {
    let of = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = of("XDG_CACHE_HOME").or_else(|| Some(of("HOME")?.join(".cache")));
    Ok(cache
        .context("neither XDG_CACHE_HOME nor HOME is set")?
        .join("palladium"))
}

/// The program.
pub fn build(root: &Path) -> Result<PathBuf> {
    let started = Instant::now();
    let ordinary = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let folder = ordinary
        .map_or_else(|| cache().map(|cache| cache.join("target")), Ok)?
        .join("fuzz");
    let host = host()?;
    let status = Command::new(crate::cargo())
        .args([
            "build",
            "--locked",
            "--quiet",
            "--package",
            NAME,
            "--features",
            "libfuzzer",
            "--bin",
            NAME,
        ])
        .args(["--profile", PROFILE, "--target", &host])
        .env("CARGO_TARGET_DIR", &folder)
        .env("RUSTFLAGS", FLAGS)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .current_dir(root)
        .status()
        .context("cargo build")?;
    if !status.success() {
        bail!("{NAME} does not build with instrumentation");
    }
    println!("built {NAME} in {} s", started.elapsed().as_secs());
    Ok(folder.join(host).join(PROFILE).join(NAME))
}

/// What the compiler calls this machine.
fn host() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().context("rustc -vV")?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .context("rustc does not say for which machine it is")
}
