//! `version`: of this executable; needs no control plane.
//!
//! Must never dial: it has to work without a control plane.

use clap::Args;

use crate::Error;
use crate::output;

#[derive(Debug, Args)]
pub struct Version {}

impl Version {
    pub fn run(self) -> Result<(), Error> {
        output::line(concat!("Version: ", env!("CARGO_PKG_VERSION")));
        Ok(())
    }
}
