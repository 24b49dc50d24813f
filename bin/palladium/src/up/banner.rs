//! What `palladium up` says: where everything is, and three lines to copy.
//!
//! Must never print a key or token, only where they lie.

use std::fmt::Display;
use std::io::Write;
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
        false => format!(" --data-dir {data}"),
    };
    let (ca, key) = (ca_file.display(), admin_key_file.display());
    say(&format!(
        "
Palladium is {state}.

  control plane   {api_url}
  gateway         {gateway_url}   (HTTP and gRPC)
  CA file         {ca}
  admin API key   {key}   (only you can read it)
  data and logs   {data}

Try it:
  palladium{flag} project create first --deploy-managed-kv --wait && palladium{flag} appid create hello --project first --wait
  curl --cacert {ca} -H \"x-diagrid-api-key: $(cat {key})\" {api_url}/apis/cra.diagrid.io/v1beta1/projects
  eval \"$(palladium{flag} env hello --project first)\" && python3 your_app.py

Ctrl-C stops everything in order."
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

fn say(text: &str) {
    // A closed terminal is no reason to stop.
    let _ = writeln!(std::io::stdout(), "{text}");
}
