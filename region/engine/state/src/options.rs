//! Option words as applications write them.
//!
//! The one idea: a word that nobody knows is refused where it matters (writes) and ignored where it cannot (reads), as
//! upstream does. Must never take an unknown word of a write for the default: the caller asked for something, and would
//! not get it.

use palladium_component::StateError;
use palladium_component::state::{Concurrency, Consistency};

/// Reads a concurrency word; empty = unspecified.
pub fn parse_concurrency(word: &str) -> Result<Concurrency, StateError> {
    match word {
        "" => Ok(Concurrency::Unspecified),
        "first-write" => Ok(Concurrency::FirstWrite),
        "last-write" => Ok(Concurrency::LastWrite),
        other => Err(StateError::Invalid(format!("unrecognized concurrency model '{other}'"))),
    }
}

/// Reads a consistency word; empty = unspecified.
pub fn parse_consistency(word: &str) -> Result<Consistency, StateError> {
    match word {
        "" => Ok(Consistency::Unspecified),
        "eventual" => Ok(Consistency::Eventual),
        "strong" => Ok(Consistency::Strong),
        other => Err(StateError::Invalid(format!("unrecognized consistency model '{other}'"))),
    }
}

/// Reads a consistency word of a read, where an unknown one counts as unspecified.
pub fn consistency(word: &str) -> Consistency {
    parse_consistency(word).unwrap_or_default()
}
