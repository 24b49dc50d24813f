//! `call`: the Dapr API as an App ID, through the gateway. For now `state`.
//!
//! Must never reach an application otherwise than its own SDK would.

mod state;

use clap::Subcommand;

use crate::Error;
use crate::context::Context;

#[derive(Debug, Subcommand)]
pub enum Call {
    /// State: get, set, delete, transaction
    #[command(subcommand)]
    State(state::State),
}

impl Call {
    pub async fn run(self, context: &Context) -> Result<(), Error> {
        match self {
            Self::State(state) => state.run(context).await,
        }
    }
}
