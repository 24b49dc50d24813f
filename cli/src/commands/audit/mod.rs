//! `audit list`: who did what and when.
//!
//! One idea: the control plane filters and pages; this only spells the question. Must never filter or sort here: a page
//! would silently miss what another one holds.

use clap::{Args, Subcommand};

use crate::Error;
use crate::context::Context;
use crate::output::Column;
use crate::resource::{self, OutputArg};

const PATH: &str = "/apis/cra.diagrid.io/v1beta1/audit";

const COLUMNS: &[Column] = &[
    ("TIME", "/occurredAt"),
    ("ACTOR", "/actor/name"),
    ("ACTION", "/action"),
    ("KIND", "/resource/kind"),
    ("OBJECT", "/resource/name"),
    ("OUTCOME", "/outcome"),
];

#[derive(Debug, Subcommand)]
pub enum Audit {
    /// List audit records, newest first
    List(List),
}

#[derive(Debug, Args)]
pub struct List {
    /// How many
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Only this action, such as appids.create
    #[arg(long)]
    action: Option<String>,
    /// Only what concerns this project (name or id)
    #[arg(short, long)]
    project: Option<String>,
    /// Only records since this time (RFC 3339)
    #[arg(long)]
    since: Option<String>,
    /// Go on where an earlier answer ended (its `metadata.continue`)
    #[arg(long = "continue", value_name = "TOKEN")]
    after: Option<String>,
    #[command(flatten)]
    output: OutputArg,
}

impl Audit {
    pub async fn run(self, context: &Context) -> Result<(), Error> {
        let Self::List(list) = self;
        let mut path = format!("{PATH}?limit={}", list.limit);
        for (name, value) in [
            ("action", &list.action),
            ("project", &list.project),
            ("since", &list.since),
            ("continue", &list.after),
        ] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", resource::segment(value)));
            }
        }
        list.output.output.list(&context.api.get(&path).await?, COLUMNS, None);
        Ok(())
    }
}
