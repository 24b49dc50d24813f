//! `appid update NAME`: only what is given changes.
//!
//! One idea: a merge patch of what was given. Must never send a request when nothing was given: it would look like
//! success.

use clap::Args;
use serde_json::json;

use super::NOUN;
use super::flags::SpecFlags;
use crate::Error;
use crate::context::Context;
use crate::poll::WaitArgs;
use crate::resource::{self, OutputArg, ProjectArg};

#[derive(Debug, Args)]
pub struct Update {
    /// The App ID
    name: String,
    #[command(flatten)]
    project: ProjectArg,
    #[command(flatten)]
    flags: SpecFlags,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    output: OutputArg,
}

impl Update {
    pub async fn run(self, context: &Context) -> Result<(), Error> {
        let project = context.project(self.project.project.as_deref())?;
        let path = resource::object(NOUN.kind, Some(project), &self.name);
        let (metadata, spec) = (self.flags.metadata(), self.flags.spec()?);
        if metadata == json!({}) && spec == json!({}) {
            return Err(Error::NothingToChange);
        }
        let change = json!({ "metadata": metadata, "spec": spec });
        let answer = context.api.patch(&path, &change).await?;
        NOUN.written(context, &path, answer, &self.wait, self.output.output)
            .await
    }
}
