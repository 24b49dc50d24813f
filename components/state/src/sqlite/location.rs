//! Which file a connection string means, and whether a tenant may have it.
//!
//! The one idea: the string is taken apart here and handed to SQLite as path and options, never as a URI, so that no
//! parameter can slip through. In platform mode only a plain relative path is accepted, and it lands in the App ID's own
//! folder; `..`, absolute paths and every parameter that could reach elsewhere are refused.

use std::path::{Path, PathBuf};

use palladium_component::{Hosting, MetadataError, OpenError};
use percent_encoding::percent_decode_str;

use super::confine;

/// Where a database is and how it is to be opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Location {
    /// The file; `None` = in memory.
    pub(super) file: Option<PathBuf>,
    pub(super) read_only: bool,
    pub(super) immutable: bool,
    /// `_pragma=name(value)`; only in a process of the user's own.
    pub(super) pragmas: Vec<(String, String)>,
}

/// Parameters that stay inside the file named by the path.
const HARMLESS: [&str; 4] = ["mode", "cache", "immutable", "_txlock"];
/// Pragmas that have a metadata field of their own.
const RESERVED_PRAGMAS: [&str; 3] = ["busy_timeout", "journal_mode", "foreign_keys"];

/// Takes a connection string apart.
pub(super) fn locate(connection_string: &str, hosting: &Hosting) -> Result<Location, OpenError> {
    let (base, query) = connection_string.split_once('?').unwrap_or((connection_string, ""));
    let is_uri = base.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("file:"));
    let path = if is_uri {
        uri_path(&base[5..])?
    } else {
        base.to_string()
    };
    if path.contains('\0') {
        return Err(wrong("it contains a NUL byte", "use an ordinary path"));
    }
    let mut location = Location::default();
    let mut in_memory = path.to_ascii_lowercase().starts_with(":memory:");
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
        if hosting.is_platform() && !HARMLESS.contains(&name) {
            let name: String = name.chars().take(32).collect();
            return Err(OpenError::NotAllowed(format!(
                "parameter '{name}' of connectionString: leave it away"
            )));
        }
        match (name, value.as_str()) {
            ("mode", "memory") => in_memory = true,
            ("mode", mode) => location.read_only |= mode == "ro",
            ("immutable", flag) => location.immutable |= flag == "1",
            ("_pragma", pragma) => location.pragmas.push(parse_pragma(pragma)?),
            // Sharing caches and lock modes make no difference to how this driver opens and writes.
            ("cache" | "_txlock", _) => {}
            _ => tracing::warn!(parameter = name, "state.sqlite ignores a parameter of connectionString"),
        }
    }
    if in_memory {
        return Ok(location);
    }
    if path.is_empty() {
        return Err(wrong("it names no file", "give a path, or ':memory:'"));
    }
    location.file = Some(match hosting {
        Hosting::SelfHosted => PathBuf::from(path),
        Hosting::Platform { folder } => confine::inside(folder, Path::new(&path))?,
    });
    Ok(location)
}

/// The path of a `file:` URI without its scheme: `name`, `/abs`, `///abs`, `//localhost/abs`.
fn uri_path(rest: &str) -> Result<String, OpenError> {
    let rest = rest.split('#').next().unwrap_or_default();
    let path = match rest.strip_prefix("//") {
        None => rest,
        Some(authority_and_path) => {
            let slash = authority_and_path.find('/').unwrap_or(authority_and_path.len());
            let (authority, path) = authority_and_path.split_at(slash);
            if !authority.is_empty() && !authority.eq_ignore_ascii_case("localhost") {
                return Err(wrong(
                    "its 'file:' URI names another host",
                    "use 'file:name' or 'file:///path'",
                ));
            }
            path
        }
    };
    let decoded = percent_decode_str(path).decode_utf8();
    decoded
        .map(Into::into)
        .map_err(|_| wrong("it is not UTF-8", "use an ordinary path"))
}

fn parse_pragma(text: &str) -> Result<(String, String), OpenError> {
    let parts = text
        .trim()
        .strip_suffix(')')
        .and_then(|text| text.split_once('('))
        .or_else(|| text.split_once('='));
    let (name, value) = parts.ok_or_else(|| wrong("a '_pragma' in it has no value", "write '_pragma=name(value)'"))?;
    let plain = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    };
    if !plain(name) || !plain(value) {
        return Err(wrong(
            "a '_pragma' in it is not of the form name(value)",
            "use letters, digits, '_', '-' and '.' only",
        ));
    }
    if RESERVED_PRAGMAS.contains(&name.to_ascii_lowercase().as_str()) {
        let remedy = "use the component's own metadata ('busyTimeout', 'disableWAL') instead";
        return Err(wrong(
            "found a forbidden option '_pragma' in the connection string",
            remedy,
        ));
    }
    Ok((name.into(), value.into()))
}

fn wrong(reason: &str, remedy: &str) -> OpenError {
    MetadataError::new("connectionString", reason, remedy).into()
}

#[cfg(test)]
mod tests;
