//! `httpendpoint`: create by flags; the other verbs as all kinds that people write as files.
//!
//! One idea: an address and its headers fit into flags, certificates come in files. Must never show a header's value.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::component::settings;
use super::declared::{Delete, FromFile, Get, List};
use crate::Error;
use crate::context::Context;
use crate::input::Pair;
use crate::output;
use crate::poll::WaitArgs;
use crate::resource::{Noun, OutputArg, ProjectArg};

/// How an HTTP endpoint is shown.
pub const NOUN: Noun = Noun {
    kind: &palladium_kinds::http_endpoint::KIND,
    columns: &[
        ("NAME", "/metadata/name"),
        ("URL", "/spec/baseUrl"),
        ("SCOPES", "/scopes"),
        ("STATUS", "/status/status"),
        ("MESSAGE", output::MESSAGE),
    ],
    loss: "with its headers and certificates",
};

#[derive(Debug, Subcommand)]
pub enum HttpEndpoint {
    /// Create an HTTP endpoint
    Create(Create),
    /// Show one
    Get(Get),
    /// List all of a project
    List(List),
    /// Replace one by what is in a file
    Update(FromFile),
    /// Delete one
    Delete(Delete),
    /// Print an example file
    Example,
}

#[derive(Debug, Args)]
pub struct Create {
    /// Name of the HTTP endpoint
    name: String,
    #[command(flatten)]
    project: ProjectArg,
    /// Its address, such as https://api.example.com
    #[arg(long, visible_alias = "base-url")]
    url: String,
    /// Header that is sent with every call (repeatable); the value - reads standard input, or asks
    #[arg(long = "header", value_name = "K=V")]
    headers: Vec<Pair>,
    /// App IDs that may invoke it [default: what the project says, normally all]
    #[arg(long, value_delimiter = ',')]
    scopes: Vec<String>,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    output: OutputArg,
}

impl HttpEndpoint {
    pub async fn run(self, context: &Context) -> Result<(), Error> {
        match self {
            Self::Create(create) => create.run(context).await,
            Self::Get(get) => get.run(&NOUN, context).await,
            Self::List(list) => list.run(&NOUN, context).await,
            Self::Update(update) => update.replace(&NOUN, context).await,
            Self::Delete(delete) => delete.run(&NOUN, context).await,
            Self::Example => NOUN.print_example(),
        }
    }
}

impl Create {
    async fn run(self, context: &Context) -> Result<(), Error> {
        let project = context.project(self.project.project.as_deref())?;
        let (body, output) = (self.body()?, self.output.output);
        NOUN.create(context, project, &self.name, &body, &self.wait, output)
            .await
    }

    fn body(&self) -> Result<Value, Error> {
        Ok(json!({
            "apiVersion": NOUN.kind.api_versions[0],
            "kind": NOUN.kind.kind,
            "metadata": { "name": self.name },
            "spec": { "baseUrl": self.url, "headers": settings("--header", &self.headers)? },
            "scopes": self.scopes,
        }))
    }
}
