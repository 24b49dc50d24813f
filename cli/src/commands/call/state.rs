//! `call state get|set|delete|transaction`
//!
//! One idea: a call is made as an App ID with its token, through the gateway, as an SDK would make it. Must never put
//! anything but the value on standard output, nor go around the gateway.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::Error;
use crate::context::Context;
use crate::data_plane::{Access, Reply};
use crate::input;
use crate::output;
use crate::resource::{self, ProjectArg};

#[derive(Debug, Subcommand)]
pub enum State {
    /// Print the value of a key
    Get {
        /// Key
        key: String,
        /// Show its ETag too, on standard error
        #[arg(long)]
        show_etag: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Save a value
    Set {
        /// Key
        key: String,
        /// JSON, or text; - reads standard input
        #[arg(long, short)]
        value: String,
        /// Only if the stored ETag is this one (see `get --show-etag`)
        #[arg(long)]
        etag: Option<String>,
        /// Seconds until it disappears
        #[arg(long)]
        ttl: Option<i64>,
        #[command(flatten)]
        target: Target,
    },
    /// Delete a key
    Delete {
        /// Key
        key: String,
        /// Only if the stored ETag is this one (see `get --show-etag`)
        #[arg(long)]
        etag: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Several changes, all or none
    Transaction {
        /// Dapr's JSON: {"operations":[{"operation":"upsert","request":{"key":…,"value":…}}]}; - reads standard input
        #[arg(long, short)]
        data: String,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Args)]
pub struct Target {
    /// The App ID that calls
    #[arg(long, short = 'a')]
    id: String,
    /// The state store component
    #[arg(long, short, visible_alias = "store", default_value = "kvstore")]
    component: String,
    #[command(flatten)]
    project: ProjectArg,
}

impl Target {
    async fn call(
        &self,
        context: &Context,
        method: Method,
        rest: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Reply, Error> {
        let project = context.project(self.project.project.as_deref())?;
        let access = Access::of(context, project, &self.id).await?;
        let path = format!("/v1.0/state/{}{rest}", resource::segment(&self.component));
        access.call(context, method, &path, headers, body).await
    }
}

impl State {
    pub async fn run(self, context: &Context) -> Result<(), Error> {
        match self {
            Self::Get { key, show_etag, target } => {
                let rest = format!("/{}", resource::segment(&key));
                let found = target.call(context, Method::GET, &rest, &[], None).await?;
                if found.body.is_empty() {
                    output::note(&format!("key {key} has no value"));
                    return Ok(());
                }
                output::raw(&found.body);
                output::raw(b"\n");
                if let Some(etag) = found.etag.filter(|_| show_etag) {
                    output::note(&format!("etag: {etag}"));
                }
                Ok(())
            }
            Self::Set {
                key,
                value,
                etag,
                ttl,
                target,
            } => {
                let value = input::json_or_text(&input::value_or_stdin("--value", "value", &value)?);
                let mut item = json!({"key": key, "value": value});
                if let Some(etag) = etag {
                    item["etag"] = etag.into();
                    item["options"] = json!({"concurrency": "first-write"});
                }
                if let Some(ttl) = ttl {
                    item["metadata"] = json!({"ttlInSeconds": ttl.to_string()});
                }
                target
                    .call(context, Method::POST, "", &[], Some(&json!([item])))
                    .await
                    .map(drop)
            }
            Self::Delete { key, etag, target } => {
                let rest = format!("/{}", resource::segment(&key));
                let headers: Vec<_> = etag.as_deref().map(|etag| ("If-Match", etag)).into_iter().collect();
                target
                    .call(context, Method::DELETE, &rest, &headers, None)
                    .await
                    .map(drop)
            }
            Self::Transaction { data, target } => {
                let data = input::value_or_stdin("--data", "data", &data)?;
                let body: Value = serde_json::from_str(&data).map_err(|error| Error::Argument {
                    argument: "--data",
                    reason: format!("not JSON: {error}"),
                })?;
                target
                    .call(context, Method::POST, "/transaction", &[], Some(&body))
                    .await
                    .map(drop)
            }
        }
    }
}
