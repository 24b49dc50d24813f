//! `appid create NAME`
//!
//! One idea: only what was given is sent; defaults are the control plane's. Must never change an App ID that is already
//! there.

use clap::Args;
use serde_json::json;

use super::NOUN;
use super::flags::SpecFlags;
use crate::Error;
use crate::context::Context;
use crate::output;
use crate::poll::WaitArgs;
use crate::resource::{self, OutputArg, ProjectArg};

#[derive(Debug, Args)]
pub struct Create {
    /// The App ID; written in lower case
    name: String,
    #[command(flatten)]
    project: ProjectArg,
    #[command(flatten)]
    flags: SpecFlags,
    /// Succeed when it is already there
    #[arg(long)]
    ignore_if_exists: bool,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    output: OutputArg,
}

impl Create {
    pub async fn run(self, context: &Context) -> Result<(), Error> {
        let project = context.project(self.project.project.as_deref())?;
        let name = self.name.to_lowercase();
        let kind = NOUN.kind;
        let mut metadata = self.flags.metadata();
        metadata["name"] = name.as_str().into();
        let body = json!({
            "apiVersion": kind.api_versions[0], "kind": kind.kind, "metadata": metadata, "spec": self.flags.spec()?,
        });
        let path = resource::object(kind, Some(project), &name);
        match context
            .api
            .post(&resource::collection(kind, Some(project)), &body)
            .await
        {
            Ok(answer) => {
                NOUN.written(context, &path, answer, &self.wait, self.output.output)
                    .await
            }
            Err(Error::Refused { status: 409, .. }) if self.ignore_if_exists => {
                output::note(&format!("App ID {name} is already there"));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
