//! `completion SHELL`: a script that makes the shell complete commands and flags.
//!
//! Must never talk to anybody: it works before there is a control plane.

use clap::Args;
use clap_complete::Shell;

use crate::Error;
use crate::output;

#[derive(Debug, Args)]
pub struct Completion {
    /// Which shell
    shell: Shell,
}

impl Completion {
    pub fn run(self, mut whole: clap::Command) -> Result<(), Error> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut whole, "palladium", &mut script);
        output::raw(&script);
        Ok(())
    }
}
