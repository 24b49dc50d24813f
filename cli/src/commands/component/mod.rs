//! `component`: create, get, list, update, delete, example.
//!
//! One idea: what all nouns share is in [`Noun`]; here are only this one's verbs, columns and exceptions. Must never
//! print a secret unless `--show-sensitive-values` asked for it.

mod create;
mod update;

use clap::{Args, Subcommand};

use crate::Error;
use crate::context::Context;
use crate::output::{self, Output};
use crate::poll;
use crate::resource::{self, DeleteArgs, Noun, OutputArg, ProjectArg};

pub use create::settings;

/// How a component is shown.
pub const NOUN: Noun = Noun {
    kind: &palladium_kinds::component::KIND,
    columns: &[
        ("NAME", "/metadata/name"),
        ("TYPE", "/spec/type"),
        ("VERSION", "/spec/version"),
        ("SCOPES", "/scopes"),
        ("STATUS", "/status/status"),
        ("MESSAGE", output::MESSAGE),
    ],
    loss: "with its managed data",
};

#[derive(Debug, Subcommand)]
pub enum Component {
    /// Create a component
    Create(create::Create),
    /// Show one component
    Get(Get),
    /// List components
    List(List),
    /// Change settings and scopes of a component
    Update(update::Update),
    /// Delete a component
    Delete(Delete),
    /// Print an example file
    Example,
}

#[derive(Debug, Args)]
pub struct Get {
    /// Name of the component
    name: String,
    #[command(flatten)]
    project: ProjectArg,
    /// Show secrets in clear: needs a role that may, and is audited
    #[arg(long)]
    show_sensitive_values: bool,
    #[command(flatten)]
    output: OutputArg,
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    project: ProjectArg,
    #[command(flatten)]
    output: OutputArg,
}

#[derive(Debug, Args)]
pub struct Delete {
    /// Name of the component
    name: String,
    #[command(flatten)]
    project: ProjectArg,
    #[command(flatten)]
    delete: DeleteArgs,
}

impl Component {
    pub async fn run(self, context: &Context) -> Result<(), Error> {
        match self {
            Self::Create(create) => create.run(context).await,
            Self::Get(get) => get.run(context).await,
            Self::List(list) => {
                let project = context.project(list.project.project.as_deref())?;
                NOUN.list(context, Some(project), list.output.output, None).await
            }
            Self::Update(update) => update.run(context).await,
            Self::Delete(delete) => {
                let project = context.project(delete.project.project.as_deref())?;
                NOUN.delete(context, Some(project), &delete.name, &delete.delete).await
            }
            Self::Example => NOUN.print_example(),
        }
    }
}

impl Get {
    async fn run(self, context: &Context) -> Result<(), Error> {
        let project = context.project(self.project.project.as_deref())?;
        if !self.show_sensitive_values {
            return NOUN.get(context, Some(project), &self.name, self.output.output).await;
        }
        let path = resource::object(NOUN.kind, Some(project), &self.name);
        let found = context.api.get(&format!("{path}?showsensitive=true")).await?;
        self.output.output.object(&found, NOUN.columns);
        if self.output.output == Output::Table {
            for item in found["spec"]["metadata"].as_array().into_iter().flatten() {
                let name = item["name"].as_str().unwrap_or_default();
                let value = item["value"].as_str().unwrap_or("(not shown)");
                output::line(&format!("{name}={value}"));
            }
            for message in poll::messages(&found) {
                output::note(&message);
            }
        }
        Ok(())
    }
}
