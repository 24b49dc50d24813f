//! The program that libFuzzer drives: one for all targets, `PALLADIUM_FUZZ_TARGET` says which.
//!
//! One idea: libFuzzer's own hook would end the process at every panic, also at those that the product catches on purpose
//! (the expression library's); here a panic is a finding when it leaves the target. The exported symbols that libFuzzer
//! wants come from its macro, so that no unsafe code is ours. Must never be built without `cargo xtask fuzz`: it says nothing
//! without the instrumentation.
#![no_main]
#![allow(missing_docs, clippy::print_stderr)] // the macro's functions; a finding is told on the terminal

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use palladium_fuzz::{TARGETS, Target, panics};

static CHOSEN: OnceLock<&'static Target> = OnceLock::new();

fn begin() {
    let wanted = std::env::var("PALLADIUM_FUZZ_TARGET").unwrap_or_default();
    let Some(target) = TARGETS.iter().find(|target| target.name == wanted) else {
        eprintln!("PALLADIUM_FUZZ_TARGET={wanted} is no target: use `cargo xtask fuzz`");
        std::process::exit(2);
    };
    let _ = CHOSEN.set(target);
    panics::watch_silently();
}

fuzz_target!(init: begin(), |input: &[u8]| {
    let target = CHOSEN.get().expect("begin() chose one");
    if std::panic::catch_unwind(|| (target.run)(input)).is_err() {
        eprintln!("{}", panics::last());
        std::process::abort();
    }
});
