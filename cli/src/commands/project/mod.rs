//! `project`: create, get, list, use, update, delete, example.
//!
//! One idea: what all nouns share is in [`Noun`]; here are this one's verbs, columns and the chosen project. Must never
//! choose a project that the control plane has not confirmed.

mod create;
mod update;

use clap::{Args, Subcommand};

use crate::Error;
use crate::context::Context;
use crate::output;
use crate::resource::{DeleteArgs, Noun, OutputArg};

/// How a project is shown.
pub const NOUN: Noun = Noun {
    kind: &palladium_kinds::project::KIND,
    columns: &[
        ("NAME", "/metadata/name"),
        ("ID", "/metadata/projectId"),
        ("STATUS", "/status/status"),
        ("REGION", "/spec/region"),
        ("HTTP ENDPOINT", "/status/endpoints/http/url"),
    ],
    loss: "with everything in it",
};

#[derive(Debug, Subcommand)]
pub enum Project {
    /// Create a project
    Create(create::Create),
    /// Show one project
    Get(Get),
    /// List projects; * marks the chosen one
    List(OutputArg),
    /// Choose the project that later commands mean
    Use {
        /// Name or id
        name: String,
    },
    /// Change a project
    Update(update::Update),
    /// Delete a project and everything in it
    Delete(Delete),
    /// Print an example file
    Example,
}

#[derive(Debug, Args)]
pub struct Get {
    /// Name or id [default: the chosen one]
    name: Option<String>,
    #[command(flatten)]
    output: OutputArg,
}

#[derive(Debug, Args)]
pub struct Delete {
    /// Name or id
    name: String,
    #[command(flatten)]
    delete: DeleteArgs,
}

impl Project {
    pub async fn run(self, context: &mut Context) -> Result<(), Error> {
        match self {
            Self::Create(create) => create.run(context).await,
            Self::Get(get) => {
                let name = context.project(get.name.as_deref())?;
                NOUN.get(context, None, name, get.output.output).await
            }
            Self::List(output) => {
                NOUN.list(context, None, output.output, context.saved.current_project.as_deref())
                    .await
            }
            Self::Use { name } => choose(context, &name).await,
            Self::Update(update) => update.run(context).await,
            Self::Delete(delete) => NOUN.delete(context, None, &delete.name, &delete.delete).await,
            Self::Example => NOUN.print_example(),
        }
    }
}

/// Remembers `name` once the control plane has confirmed that it exists.
async fn choose(context: &mut Context, name: &str) -> Result<(), Error> {
    let project = context.api.get(&crate::resource::object(NOUN.kind, None, name)).await?;
    let name = project["metadata"]["name"].as_str().unwrap_or(name).to_owned();
    output::note(&format!("project {name} is used from now on"));
    context.saved.current_project = Some(name);
    context.home.save_config(&context.saved)
}
