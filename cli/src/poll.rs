//! `--wait`: reads an object again and again until it is what was asked for, is in error, waits for a person, or time is up.
//!
//! Must never hide why something is not ready: the platform's messages are in the error.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use crate::Error;
use crate::context::Context;

const INTERVAL: Duration = Duration::from_millis(100);
/// An error state can pass (a database that is still starting): it must persist this long before it is believed.
const ERROR_PERSISTS: Duration = Duration::from_secs(5);

/// Flags of every command that changes something.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Wait until the region has made it true
    #[arg(long)]
    pub wait: bool,
    /// Longest wait, in seconds
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    pub timeout: u64,
}

/// Secrets are left out of what is polled: each reading of one would be fetched from the region and stand in the audit log.
pub const WITHOUT_SECRETS: &str = "?showsensitive=false";

/// Waits for `status.status` = ready with an up-to-date generation. The answer holds no secrets.
pub async fn until_ready(context: &Context, path: &str, what: &str, wait: &WaitArgs) -> Result<Value, Error> {
    let started = Instant::now();
    let mut in_error_since = None;
    loop {
        let object = context.api.get(&format!("{path}{WITHOUT_SECRETS}")).await?;
        let status = object["status"]["status"].as_str().unwrap_or("unknown");
        match status {
            "ready" => return Ok(object),
            "error" => {
                let since = *in_error_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= ERROR_PERSISTS {
                    return Err(Error::InError {
                        what: what.to_owned(),
                        messages: joined(&object),
                    });
                }
            }
            _ if is_held(&object) => {
                return Err(Error::Held {
                    what: what.to_owned(),
                    messages: joined(&object),
                });
            }
            _ => in_error_since = None,
        }
        give_up(started, wait, what, status, joined(&object))?;
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Whether the region waits for a person: no time will help.
fn is_held(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions
        .filter(|condition| condition["observedGeneration"] == object["metadata"]["generation"])
        .any(|condition| condition["reason"] == "BeyondGuardRails")
}

/// Waits for a 404.
pub async fn until_gone(context: &Context, path: &str, what: &str, wait: &WaitArgs) -> Result<(), Error> {
    let started = Instant::now();
    loop {
        match context.api.get(&format!("{path}{WITHOUT_SECRETS}")).await {
            Err(Error::Refused { status: 404, .. }) => return Ok(()),
            Err(error) => return Err(error),
            Ok(object) => {
                let status = object["status"]["status"].as_str().unwrap_or("unknown");
                give_up(started, wait, what, status, joined(&object))?;
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Everything the platform says about an object, at all three levels.
pub fn messages(object: &Value) -> Vec<String> {
    let status = &object["status"];
    let mut found = Vec::new();
    collect(&status["messages"], "", &mut found);
    for instance in status["instances"].as_array().into_iter().flatten() {
        collect(&instance["messages"], "", &mut found);
    }
    for app in status["appIdStatus"].as_array().into_iter().flatten() {
        collect(&app["messages"], app["appId"].as_str().unwrap_or_default(), &mut found);
    }
    found
}

fn collect(messages: &Value, about: &str, found: &mut Vec<String>) {
    for message in messages.as_array().into_iter().flatten() {
        if let Some(text) = message["message"].as_str().filter(|text| !text.is_empty()) {
            let message = if about.is_empty() {
                text.to_owned()
            } else {
                format!("{about}: {text}")
            };
            // The outer levels often repeat what the inner ones say.
            if !found.iter().any(|known| known.contains(&message)) {
                found.push(message);
            }
        }
    }
}

fn joined(object: &Value) -> String {
    messages(object)
        .iter()
        .map(|message| format!("\n  {message}"))
        .collect()
}

fn give_up(started: Instant, wait: &WaitArgs, what: &str, status: &str, messages: String) -> Result<(), Error> {
    if started.elapsed() < Duration::from_secs(wait.timeout) {
        return Ok(());
    }
    Err(Error::Waited {
        what: what.to_owned(),
        status: status.to_owned(),
        seconds: wait.timeout,
        messages,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_of_all_three_levels_are_shown() {
        let object = json!({"status": {
            "messages": [{"message": "one"}],
            "instances": [{"messages": [{"message": "two"}]}],
            "appIdStatus": [{"appId": "orders", "messages": [{"message": "three"}]}],
        }});
        assert_eq!(messages(&object), ["one", "two", "orders: three"]);
    }
}
