//! `login`: checks an API key against a control plane and saves both.
//!
//! Must never save a key that the control plane does not accept.

use clap::Args;

use crate::Error;
use crate::context::{ConnectionArgs, Context};
use crate::output;
use crate::saved::Config;

/// Uses the global flags `--api`, `--api-key` and `--ca-file`; without any of them, the local installation.
#[derive(Debug, Args)]
pub struct Login {}

impl Login {
    pub async fn run(self, connection: &ConnectionArgs) -> Result<(), Error> {
        let context = Context::resolve(connection)?;
        let who = context.api.get(super::whoami::PATH).await?;
        let ca_file = match &context.ca_file {
            Some(path) => Some(std::path::absolute(path).map_err(|error| Error::File {
                path: path.clone(),
                reason: error.to_string(),
            })?),
            None => None,
        };
        let same = context.saved.api_url.as_deref() == Some(context.api.url().as_str());
        let current_project = if same {
            context.saved.current_project.clone()
        } else {
            None
        };
        context.home.save_api_key(context.api.key())?;
        context.home.save_config(&Config {
            api_url: Some(context.api.url().to_string()),
            ca_file,
            current_project,
        })?;
        output::note(&format!(
            "logged in to {} as {}",
            context.api.url(),
            who["name"].as_str().unwrap_or("unknown")
        ));
        Ok(())
    }
}
