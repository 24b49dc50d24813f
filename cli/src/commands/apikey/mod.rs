//! `apikey`: create, list, delete.
//!
//! One idea: what a key may do is the control plane's decision; this spells the request and shows the answer. Must
//! never save a key: it is shown once.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::Error;
use crate::context::Context;
use crate::output::{self, Column};
use crate::resource::{self, OutputArg};

const PATH: &str = "/apis/cra.diagrid.io/v1beta1/apikeys";

const COLUMNS: &[Column] = &[
    ("ID", "/id"),
    ("NAME", "/name"),
    ("ROLE", "/role"),
    ("SCOPE", "/scope"),
    ("CREATED", "/createdAt"),
    ("EXPIRES", "/expiresAt"),
];

#[derive(Debug, Subcommand)]
pub enum ApiKey {
    /// Create an API key; it is shown this once, as JSON
    Create(Create),
    /// List API keys
    List(OutputArg),
    /// Revoke an API key at once
    Delete {
        /// Id or name of the key
        key: String,
    },
}

#[derive(Debug, Args)]
pub struct Create {
    /// Name, for people
    #[arg(short, long)]
    name: String,
    /// viewer, apiConsumer, apiOperator or admin; in full: cra.diagrid:viewer
    #[arg(short, long)]
    role: String,
    /// Seconds until it expires [default: never]
    #[arg(short, long, value_name = "SECONDS")]
    duration: Option<u64>,
    /// project:NAME restricts it to one project
    #[arg(short, long)]
    scope: Option<String>,
}

impl ApiKey {
    pub async fn run(self, context: &Context) -> Result<(), Error> {
        match self {
            Self::Create(create) => create.run(context).await,
            Self::List(output) => {
                output.output.list(&context.api.get(PATH).await?, COLUMNS, None);
                Ok(())
            }
            Self::Delete { key } => {
                context
                    .api
                    .delete(&format!("{PATH}/{}", resource::segment(&key)))
                    .await?;
                output::note(&format!("API key {key} is revoked"));
                Ok(())
            }
        }
    }
}

impl Create {
    async fn run(self, context: &Context) -> Result<(), Error> {
        let mut body = json!({"name": self.name, "role": self.role});
        if let Some(seconds) = self.duration {
            body["durationSeconds"] = seconds.into();
        }
        if let Some(scope) = &self.scope {
            body["scope"] = scope.as_str().into();
        }
        let created = match (context.api.post(PATH, &body).await, self.scope) {
            (
                Err(Error::Refused {
                    status: 404,
                    title,
                    detail,
                }),
                Some(scope),
            ) => Err(Error::Refused {
                status: 404,
                title,
                detail: format!("{detail}: --scope {scope}"),
            }),
            (answer, _) => answer,
        }?;
        output::Output::Json.object(&created, COLUMNS);
        Ok(())
    }
}
