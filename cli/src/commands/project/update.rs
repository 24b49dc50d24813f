//! `project update NAME`
//!
//! One idea: a merge patch of what was given. Must never send a field that was not.

use clap::Args;
use serde_json::json;

use super::NOUN;
use crate::Error;
use crate::context::Context;
use crate::poll::WaitArgs;
use crate::resource::{self, OutputArg};

#[derive(Debug, Args)]
pub struct Update {
    /// Name or id
    name: String,
    /// Name for people
    #[arg(long)]
    display_name: Option<String>,
    /// Largest request body, such as 4Mi
    #[arg(long)]
    max_body_size: Option<String>,
    /// What components without scopes mean: allow or deny
    #[arg(long)]
    component_scopes_default: Option<String>,
    /// Have the managed key-value store, or not
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    deploy_managed_kv: Option<bool>,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    output: OutputArg,
}

impl Update {
    pub async fn run(self, context: &Context) -> Result<(), Error> {
        let mut spec = json!({});
        for (field, value) in [
            ("displayName", self.display_name.map(Into::into)),
            ("maxBodySize", self.max_body_size.map(Into::into)),
            ("componentScopesDefault", self.component_scopes_default.map(Into::into)),
            ("managedKvEnabled", self.deploy_managed_kv.map(Into::into)),
        ] {
            if let Some(value) = value {
                spec[field] = value;
            }
        }
        if spec == json!({}) {
            return Err(Error::NothingToChange);
        }
        let path = resource::object(NOUN.kind, None, &self.name);
        let answer = context.api.patch(&path, &json!({ "spec": spec })).await?;
        NOUN.written(context, &path, answer, &self.wait, self.output.output)
            .await
    }
}
