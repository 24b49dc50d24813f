//! `completion SHELL`: a script that makes the shell complete commands and flags.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::Error;
use crate::output;

#[derive(Debug, Args)]
pub struct Completion {
    /// Which shell
    shell: Shell,
}

impl Completion {
    pub fn run(self) -> Result<(), Error> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::Alone::command(), "palladium", &mut script);
        output::raw(&script);
        Ok(())
    }
}
