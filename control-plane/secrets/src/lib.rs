//! Secrets at submission: found, sealed to the region, replaced by references; masked on every read.
//!
//! The one idea: [`extract`] takes an object that may hold secrets in clear and gives one that cannot, plus sealed values that only
//! the region opens. What comes back masked keeps its secret, but whoever changes where the object points must bring the secrets
//! again, whatever their role: otherwise a person who may edit could send a password that they cannot read to a host of theirs.
//!
//! Must never: keep a clear value, log one, put one into an error, or accept a reference to another object's secret.

mod catalog_rules;
mod extract;
mod fields;
mod leaks;
mod mask;

pub use catalog_rules::check_component;
pub use extract::{Beside, Extraction, Place, Problem, Stored, extract};
pub use mask::{mask, reveal, secret_fields};

#[cfg(test)]
mod tests;
