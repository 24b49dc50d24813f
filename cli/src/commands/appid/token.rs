//! `appid token list|rotate|revoke`: the tokens of an App ID, never their secret part.
//!
//! Must never print a token: `env` does.

use clap::{Args, Subcommand};
use serde_json::json;

use super::NOUN;
use crate::Error;
use crate::context::Context;
use crate::output::{self, Column};
use crate::poll::WaitArgs;
use crate::resource::{self, OutputArg, ProjectArg};

const COLUMNS: &[Column] = &[
    ("TOKEN ID", "/id"),
    ("REVISION", "/revision"),
    ("CREATED", "/createdAt"),
    ("VALID UNTIL", "/notAfter"),
    ("LAST USED", "/lastUsedAt"),
];

#[derive(Debug, Subcommand)]
pub enum Token {
    /// List the tokens that are valid now
    List(Named),
    /// Mint a new token; the old one is valid for one more hour
    Rotate(Acting),
    /// Refuse all present tokens at once and mint a new one
    Revoke(Acting),
}

#[derive(Debug, Args)]
pub struct Named {
    /// The App ID
    name: String,
    #[command(flatten)]
    project: ProjectArg,
    #[command(flatten)]
    output: OutputArg,
}

#[derive(Debug, Args)]
pub struct Acting {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    wait: WaitArgs,
}

impl Token {
    pub async fn run(self, context: &Context) -> Result<(), Error> {
        match self {
            Self::List(named) => {
                let project = context.project(named.project.project.as_deref())?;
                let path = resource::object(NOUN.kind, Some(project), &named.name);
                let tokens = context.api.get(&format!("{path}/tokens")).await?;
                named.output.output.list(&tokens, COLUMNS, None);
                Ok(())
            }
            Self::Rotate(acting) => acting.run(context, "rotate").await,
            Self::Revoke(acting) => acting.run(context, "revoke").await,
        }
    }
}

impl Acting {
    async fn run(self, context: &Context, action: &str) -> Result<(), Error> {
        let project = context.project(self.named.project.project.as_deref())?;
        let path = resource::object(NOUN.kind, Some(project), &self.named.name);
        let answer = context.api.post(&format!("{path}/tokens:{action}"), &json!({})).await?;
        NOUN.written(context, &path, answer, &self.wait, self.named.output.output)
            .await?;
        let name = &self.named.name;
        let done = if self.wait.wait { "is there" } else { "is being made" };
        output::note(&format!(
            "a new token of {name} {done}; {}",
            self.old(context, &path, action).await?
        ));
        output::note(&format!("the new one: `palladium env {name} -p {project}`"));
        Ok(())
    }

    /// What became of the token before.
    async fn old(&self, context: &Context, path: &str, action: &str) -> Result<String, Error> {
        if action == "revoke" {
            return Ok("the ones before are refused from now on".to_owned());
        }
        let tokens = if self.wait.wait {
            context.api.get(&format!("{path}/tokens")).await?
        } else {
            json!({})
        };
        let ends = tokens["items"].as_array().into_iter().flatten();
        Ok(match ends.filter_map(|token| token["notAfter"].as_str()).max() {
            Some(end) => format!("the one before is valid until {end}"),
            None => "the one before is valid for one more hour".to_owned(),
        })
    }
}
