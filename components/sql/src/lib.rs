//! The way to SQL servers, for the drivers of all building blocks.
//!
//! One idea: a connection whose work did not come to its end (a deadline, a caller that went away) is closed, never handed to
//! the next one: what it would answer to is unknown. What a component says about its server is read and judged here too,
//! once for all building blocks. Must never put a bound value into an error, nor know what is kept on the server. SQLite,
//! which is no server, has its own ways.

mod pool;
pub mod postgresql;
mod words;

pub use pool::{Lease, PoolSize, connect, pool};
pub use words::told;

use palladium_component::MetadataError;

/// Refuses what cannot be put into a statement: a name is letters, digits and `_`, or anything else in double quotes; where
/// `qualified`, with a schema before it.
pub fn check_table(field: &str, name: &str, qualified: bool) -> Result<(), MetadataError> {
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let quoted = |part: &str| {
        let inner = part.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        inner.is_some_and(|inner| !inner.is_empty() && !inner.contains(['"', '\0', '.']))
    };
    let parts: Vec<&str> = name.split('.').collect();
    let known = match qualified {
        true => parts.len() <= 2 && parts.iter().all(|part| plain(part) || quoted(part)),
        false => plain(name),
    };
    if known {
        return Ok(());
    }
    let remedy = match qualified {
        true => "use letters, digits and '_', with a schema and '.' before it if needed",
        false => "use letters, digits and '_' only",
    };
    Err(MetadataError::new(field, "it is no table name", remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_more_than_names_are_refused() {
        for name in ["state", "public.state", "\"My Table\"", "s1.\"T-1\""] {
            assert!(check_table("tableName", name, true).is_ok(), "{name}");
        }
        for name in [
            "", "a b", "a;b", "a.b.c", "a.", "\"a\"\"", "\"a\" b", "state--", "é", "\"\"",
        ] {
            let error = check_table("tableName", name, true).unwrap_err();
            assert_eq!(error.field, "tableName", "{name}");
        }
        assert!(check_table("tableName", "a.b", false).is_err() && check_table("tableName", "\"a\"", false).is_err());
    }
}
