//! Dapr's sentry, drop-in form, as a program of its own.

fn main() -> std::process::ExitCode {
    palladium_sentry::main_drop_in(std::env::args_os())
}
