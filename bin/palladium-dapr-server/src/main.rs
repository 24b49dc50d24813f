//! `palladium-dapr-server`: the process nearest to applications. It links the Dapr Server and its drivers, nothing else.
//!
//! Called as `daprd` it takes daprd's command line; otherwise `run --config <file>` is platform mode. Must never start a
//! thread before the role does: confinement binds threads.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "\
palladium-dapr-server run --config FILE   one App ID of a region; started by the region's agent
palladium-dapr-server daprd FLAGS         as Dapr's own daprd; the same when this file is called daprd
palladium-dapr-server --version
";

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    if Path::new(&name).file_stem().is_some_and(|stem| stem == "daprd") {
        return drop_in(args);
    }
    // A word that is no text is none of these; a path may be anything.
    let args: Vec<OsString> = args.collect();
    match args.iter().map(|word| word.to_str()).collect::<Vec<_>>().as_slice() {
        [Some("run"), Some("--config"), _] => palladium_dapr_server_role::main_platform(Path::new(&args[2])),
        [Some("daprd"), ..] => drop_in(args.into_iter().skip(1)),
        [Some("--version" | "version")] => say(&format!("{}\n", env!("CARGO_PKG_VERSION"))),
        [Some("--help" | "help")] => say(USAGE),
        _ => misused(USAGE),
    }
}

fn drop_in(args: impl Iterator<Item = OsString>) -> ExitCode {
    match args.map(OsString::into_string).collect::<Result<Vec<_>, _>>() {
        Ok(args) => palladium_dapr_server_role::main_drop_in(args.into_iter()),
        Err(word) => misused(&format!("daprd: the argument {} is not UTF-8\n", word.display())),
    }
}

fn misused(text: &str) -> ExitCode {
    // If even standard error is closed, nobody can be told.
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(64)
}

fn say(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
