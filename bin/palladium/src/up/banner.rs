//! What `palladium up` says: where everything is, and three lines to copy, which work as they are in any POSIX shell.
//!
//! Must never print a key or token, only where they lie; nor a command that puts one on a command line.

use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::layout::{Installation, Layout};

/// Everything serves.
pub fn ready(layout: &Layout, installation: &Installation, took: Option<Duration>) {
    let Installation {
        api_url,
        gateway_url,
        ca_file,
        admin_key_file,
        ..
    } = installation;
    let state = took.map_or("already running; watching it".to_owned(), |took| {
        format!("ready after {took:.1?}")
    });
    let data = layout.folder().display();
    let flag = match std::env::home_dir().is_some_and(|home| home.join(".palladium") == layout.folder()) {
        true => String::new(),
        false => format!(" --data-dir {}", quoted(layout.folder())),
    };
    let palladium = format!("{}{flag}", program());
    let (ca, key) = (ca_file.display(), admin_key_file.display());
    let quoted_ca = quoted(ca_file);
    say(&format!(
        "
Palladium is {state}.

  control plane   {api_url}
  gateway         {gateway_url}   (HTTP and gRPC)
  CA file         {ca}
  admin API key   {key}   (only you can read it)
  data and logs   {data}

Try it:
  {palladium} project create first --deploy-managed-kv --wait && {palladium} appid create hello --project first --wait
  eval \"$({palladium} env hello --project first)\" && printf 'dapr-api-token: %s' \"$DAPR_API_TOKEN\" | curl --cacert {quoted_ca} -H @- \"$DAPR_HTTP_ENDPOINT/v1.0/metadata\"
  eval \"$({palladium} env hello --project first)\" && python3 -c 'from dapr.clients import DaprClient; c = DaprClient(); c.save_state(\"kvstore\", \"k\", \"it works\"); print(c.get_state(\"kvstore\", \"k\").data)'    # pip install dapr

Ctrl-C stops everything in order. When this terminal closes, all goes on; `palladium up` finds it again."
    ));
}

/// One line about what goes on.
pub fn note(text: &str) {
    say(&format!("palladium: {text}"));
}

/// What went wrong.
pub fn complain(error: &dyn Display) {
    // If even standard error is closed, nobody can be told.
    let _ = writeln!(std::io::stderr(), "palladium: {error}");
}

/// How this program is called: by its name where the shell finds it, else by its path.
fn program() -> String {
    let Ok(own) = std::env::current_exe() else {
        return "palladium".to_owned();
    };
    let search = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&search).find_map(|folder| folder.join("palladium").canonicalize().ok());
    match found == own.canonicalize().ok() {
        true => "palladium".to_owned(),
        false => quoted(&own),
    }
}

/// A path as one word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    match text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

fn say(text: &str) {
    // A closed terminal is no reason to stop.
    let _ = writeln!(std::io::stdout(), "{text}");
}
