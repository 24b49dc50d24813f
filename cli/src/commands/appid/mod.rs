//! `appid`: create, get, list, update, delete, token, example.
//!
//! One idea: what all nouns share is in [`Noun`]; here are only this one's verbs and columns. Must never make the token
//! a column: a table is pasted into tickets.

mod create;
mod flags;
mod token;
mod update;

use clap::{Args, Subcommand};

use crate::Error;
use crate::context::Context;
use crate::resource::{DeleteArgs, Noun, OutputArg, ProjectArg};

/// How an App ID is shown. The token is not among the columns: `get -o json` and `env` give it.
pub const NOUN: Noun = Noun {
    kind: &palladium_kinds::app_identity::KIND,
    columns: &[
        ("APP ID", "/metadata/name"),
        ("STATUS", "/status/status"),
        ("ENDPOINT", "/spec/appEndpoint/url"),
        ("PROTOCOL", "/spec/protocol"),
        ("SPIFFE ID", "/status/spiffeId"),
    ],
    loss: "with its tokens and its managed data",
};

#[derive(Debug, Subcommand)]
pub enum AppId {
    /// Create an App ID
    Create(create::Create),
    /// Show one App ID; `-o json` and `-o yaml` with its token, when your role may read it
    Get(Get),
    /// List App IDs
    List(List),
    /// Change an App ID
    Update(update::Update),
    /// Delete an App ID, its token and its managed keys
    Delete(Delete),
    /// Its API tokens
    #[command(subcommand)]
    Token(token::Token),
    /// Print an example file
    Example,
}

#[derive(Debug, Args)]
pub struct Get {
    /// The App ID
    name: String,
    #[command(flatten)]
    project: ProjectArg,
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
    /// The App ID
    name: String,
    #[command(flatten)]
    project: ProjectArg,
    #[command(flatten)]
    delete: DeleteArgs,
}

impl AppId {
    pub async fn run(self, context: &Context) -> Result<(), Error> {
        match self {
            Self::Create(create) => create.run(context).await,
            Self::Get(get) => {
                let project = context.project(get.project.project.as_deref())?;
                NOUN.get(context, Some(project), &get.name, get.output.output).await
            }
            Self::List(list) => {
                let project = context.project(list.project.project.as_deref())?;
                NOUN.list(context, Some(project), list.output.output, None).await
            }
            Self::Update(update) => update.run(context).await,
            Self::Delete(delete) => {
                let project = context.project(delete.project.project.as_deref())?;
                NOUN.delete(context, Some(project), &delete.name, &delete.delete).await
            }
            Self::Token(token) => token.run(context).await,
            Self::Example => NOUN.print_example(),
        }
    }
}
