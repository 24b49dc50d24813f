//! `project create NAME`
//!
//! One idea: only what was given is sent; defaults are the control plane's. Must never choose a project for later
//! commands before it is known to exist.

use clap::Args;
use serde_json::json;

use super::{NOUN, choose};
use crate::Error;
use crate::context::Context;
use crate::output;
use crate::poll::WaitArgs;
use crate::resource::{self, OutputArg};

#[derive(Debug, Args)]
pub struct Create {
    /// Name: lower-case letters, digits and dashes
    name: String,
    /// Region that runs it [default: the organization's]
    #[arg(long)]
    region: Option<String>,
    /// Name for people
    #[arg(long)]
    display_name: Option<String>,
    /// Give it a managed key-value store, component `kvstore`
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    deploy_managed_kv: Option<bool>,
    /// Choose it for later commands
    #[arg(long = "use")]
    choose: bool,
    /// Succeed when it is already there
    #[arg(long)]
    ignore_if_exists: bool,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    output: OutputArg,
}

impl Create {
    pub async fn run(self, context: &mut Context) -> Result<(), Error> {
        let mut spec = json!({});
        if let Some(region) = self.region {
            spec["region"] = region.into();
        }
        if let Some(name) = self.display_name {
            spec["displayName"] = name.into();
        }
        if let Some(wanted) = self.deploy_managed_kv {
            spec["managedKvEnabled"] = wanted.into();
        }
        let kind = NOUN.kind;
        let body = json!({
            "apiVersion": kind.api_versions[0], "kind": kind.kind, "metadata": {"name": self.name}, "spec": spec,
        });
        let path = resource::object(kind, None, &self.name);
        match context.api.post(&resource::collection(kind, None), &body).await {
            Ok(answer) => {
                NOUN.written(context, &path, answer, &self.wait, self.output.output)
                    .await?
            }
            Err(Error::Refused { status: 409, .. }) if self.ignore_if_exists => {
                output::note(&format!("project {} is already there", self.name));
            }
            Err(error) => return Err(error),
        }
        if self.choose {
            choose(context, &self.name).await
        } else {
            Ok(())
        }
    }
}
