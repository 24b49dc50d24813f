//! `component create NAME --type T --metadata k=v`
//!
//! One idea: settings are sent as typed; types, defaults and secrets are the control plane's knowledge. Must never show
//! a setting's value.

use clap::Args;
use serde_json::{Value, json};

use super::NOUN;
use crate::Error;
use crate::context::Context;
use crate::input::{self, Pair};
use crate::poll::WaitArgs;
use crate::resource::{OutputArg, ProjectArg};

#[derive(Debug, Args)]
pub struct Create {
    /// Name of the component
    name: String,
    #[command(flatten)]
    project: ProjectArg,
    /// Type, such as state.redis
    #[arg(long = "type", value_name = "TYPE")]
    kind: String,
    /// Version of the type
    #[arg(long, default_value = "v1")]
    version: String,
    /// Setting (repeatable); the value - reads standard input, or asks
    #[arg(long = "metadata", value_name = "K=V")]
    metadata: Vec<Pair>,
    /// App IDs that may use it [default: what the project says, normally all]
    #[arg(long, value_delimiter = ',')]
    scopes: Vec<String>,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    output: OutputArg,
}

impl Create {
    pub async fn run(self, context: &Context) -> Result<(), Error> {
        let project = context.project(self.project.project.as_deref())?;
        let kind = NOUN.kind;
        let body = json!({
            "apiVersion": kind.api_versions[0],
            "kind": kind.kind,
            "metadata": {"name": self.name},
            "spec": {"type": self.kind, "version": self.version, "metadata": settings("--metadata", &self.metadata)?},
            "scopes": self.scopes,
        });
        NOUN.create(context, project, &self.name, &body, &self.wait, self.output.output)
            .await
    }
}

/// Named values of `flag`, in the order given.
pub fn settings(flag: &'static str, pairs: &[Pair]) -> Result<Vec<Value>, Error> {
    pairs
        .iter()
        .map(|pair| {
            let value = input::value_or_stdin(flag, &pair.key, &pair.value)?;
            Ok(json!({ "name": pair.key, "value": value }))
        })
        .collect()
}
