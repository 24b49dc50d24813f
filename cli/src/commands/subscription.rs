//! `subscription`: create by flags; the other verbs as all kinds that people write as files.
//!
//! One idea: the flags say what nearly every subscription is, one topic and one path; rules come in files. Must never
//! send a route that nobody gave.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::declared::{Delete, FromFile, Get, List};
use crate::Error;
use crate::context::Context;
use crate::output;
use crate::poll::WaitArgs;
use crate::resource::{Noun, OutputArg, ProjectArg};

/// How a subscription is shown.
pub const NOUN: Noun = Noun {
    kind: &palladium_kinds::subscription::KIND,
    columns: &[
        ("NAME", "/metadata/name"),
        ("COMPONENT", "/spec/pubsubname"),
        ("TOPIC", "/spec/topic"),
        ("ROUTE", "/spec/routes/default"),
        ("SCOPES", "/scopes"),
        ("STATUS", "/status/status"),
        ("MESSAGE", output::MESSAGE),
    ],
    loss: "",
};

#[derive(Debug, Subcommand)]
pub enum Subscription {
    /// Create a subscription to one topic
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
    /// Name of the subscription
    name: String,
    #[command(flatten)]
    project: ProjectArg,
    /// Name of the pub/sub component
    #[arg(long, alias = "connection")]
    component: String,
    /// Topic
    #[arg(long)]
    topic: String,
    /// Path of the application that events are delivered to
    #[arg(long)]
    route: String,
    /// App IDs that it is for [default: all of the project]
    #[arg(long, value_delimiter = ',')]
    scopes: Vec<String>,
    /// Topic for events that could not be delivered
    #[arg(long, value_name = "TOPIC")]
    dead_letter_topic: Option<String>,
    /// Deliver several events at once
    #[arg(long)]
    bulk_subscribe: bool,
    /// At most so many of them
    #[arg(long, requires = "bulk_subscribe", value_name = "N")]
    bulk_max_messages: Option<u32>,
    /// Wait at most so long for them
    #[arg(long, requires = "bulk_subscribe", value_name = "MILLISECONDS")]
    bulk_max_await: Option<u32>,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    output: OutputArg,
}

impl Subscription {
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
        let (body, output) = (self.body(), self.output.output);
        NOUN.create(context, project, &self.name, &body, &self.wait, output)
            .await
    }

    fn body(&self) -> Value {
        let mut spec = json!({
            "pubsubname": self.component,
            "topic": self.topic,
            "routes": { "default": self.route },
        });
        if let Some(topic) = &self.dead_letter_topic {
            spec["deadLetterTopic"] = topic.clone().into();
        }
        if self.bulk_subscribe {
            spec["bulkSubscribe"] = json!({
                "enabled": true,
                "maxMessagesCount": self.bulk_max_messages.unwrap_or_default(),
                "maxAwaitDurationMs": self.bulk_max_await.unwrap_or_default(),
            });
        }
        json!({
            "apiVersion": NOUN.kind.api_versions[0],
            "kind": NOUN.kind.kind,
            "metadata": { "name": self.name },
            "spec": spec,
            "scopes": self.scopes,
        })
    }
}
