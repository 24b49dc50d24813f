//! `region`: list, get, regen-join-token.
//!
//! Must never save a join token or print it twice: it goes to standard output only.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::Error;
use crate::context::Context;
use crate::output::Output;
use crate::resource::{self, Noun, OutputArg};

/// How a region is shown.
const NOUN: Noun = Noun {
    kind: &palladium_kinds::region::KIND,
    columns: &[
        ("NAME", "/metadata/name"),
        ("ID", "/status/id"),
        ("CONNECTED", "/status/connected"),
        ("GATEWAY", "/status/gatewayUrl"),
        ("TRUST DOMAIN", "/status/trustDomain"),
    ],
    loss: "",
};

#[derive(Debug, Subcommand)]
pub enum Region {
    /// List regions
    List(OutputArg),
    /// Show one region
    Get(Get),
    /// Make a new join token, as long as the region has not joined
    RegenJoinToken {
        /// Name of the region
        name: String,
    },
}

#[derive(Debug, Args)]
pub struct Get {
    /// Name of the region
    name: String,
    #[command(flatten)]
    output: OutputArg,
}

impl Region {
    pub async fn run(self, context: &Context) -> Result<(), Error> {
        match self {
            Self::List(output) => NOUN.list(context, None, output.output, None).await,
            Self::Get(get) => NOUN.get(context, None, &get.name, get.output.output).await,
            Self::RegenJoinToken { name } => {
                let path = format!("{}/jointoken", resource::object(NOUN.kind, None, &name));
                let answer = context.api.post(&path, &json!({})).await?;
                Output::Json.object(&answer, &[]);
                Ok(())
            }
        }
    }
}
