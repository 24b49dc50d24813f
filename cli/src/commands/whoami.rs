//! `whoami`: the caller as the control plane sees it.
//!
//! Must never work out a role by itself: it shows what the control plane says.

use clap::Args;
use serde_json::Value;

use crate::Error;
use crate::context::Context;
use crate::output::Column;
use crate::resource::OutputArg;

/// Where the API says it.
pub const PATH: &str = "/apis/cra.diagrid.io/v1beta1/whoami";

const COLUMNS: &[Column] = &[
    ("NAME", "/name"),
    ("ROLE", "/roles/0/role"),
    ("SCOPE", "/roles/0/scope"),
    ("ORGANIZATION", "/organization/name"),
    ("API", "/api"),
];

#[derive(Debug, Args)]
pub struct Whoami {
    #[command(flatten)]
    output: OutputArg,
}

impl Whoami {
    pub async fn run(self, context: &Context) -> Result<(), Error> {
        let mut who = context.api.get(PATH).await?;
        who["api"] = Value::from(context.api.url().as_str());
        self.output.output.object(&who, COLUMNS);
        Ok(())
    }
}
