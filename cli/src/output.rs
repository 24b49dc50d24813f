//! How answers look: a table for people, JSON or YAML exactly as the API gave it for programs.
//!
//! The only file that prints. Notes and errors go to standard error, so that standard output stays parseable.
//!
//! Must never add to what JSON and YAML readers get.

#![expect(clippy::print_stderr, reason = "this is the file that prints")]

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use crate::Error;

/// `-o`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns, for people
    #[default]
    Table,
    /// As the API gave it
    Json,
    /// The same as YAML
    Yaml,
}

/// One column of a table: heading, and where its value stands in an object (a JSON pointer, or [`MESSAGE`]).
pub type Column = (&'static str, &'static str);

/// In place of a pointer: the first of the object's messages. In lists only; a single object's messages stand below its table.
pub const MESSAGE: &str = "message";

/// A terminal narrower than this has not been told its width, or is not read by a person.
const NARROWEST: u16 = 40;

impl Output {
    /// Prints one object.
    pub fn object(self, object: &Value, columns: &[Column]) {
        match self {
            Self::Table => {
                let columns: Vec<Column> = columns.iter().copied().filter(|(_, at)| *at != MESSAGE).collect();
                print_table(std::slice::from_ref(object), &columns, None);
            }
            _ => self.verbatim(object),
        }
    }

    /// Prints a list `{"items": […]}`; `current` marks the item of that name with `*`.
    pub fn list(self, list: &Value, columns: &[Column], current: Option<&str>) {
        match self {
            Self::Table => print_table(list["items"].as_array().map_or(&[], Vec::as_slice), columns, current),
            _ => self.verbatim(list),
        }
    }

    fn verbatim(self, value: &Value) {
        let text = match self {
            Self::Yaml => serde_saphyr::to_string(value).unwrap_or_else(|_| value.to_string()),
            _ => serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string()),
        };
        line(text.trim_end());
    }
}

/// Prints a line that scripts may read.
pub fn line(text: &str) {
    raw(format!("{text}\n").as_bytes());
}

/// Writes raw bytes: a state value, a completion script.
pub fn raw(bytes: &[u8]) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    // A reader that went away (`| head`) is not our failure.
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

/// Says something to the person at the terminal.
pub fn note(text: &str) {
    eprintln!("{text}");
}

/// Asks the person at the terminal; the answer comes on the same line.
pub fn ask(text: &str) {
    eprint!("{text}");
}

/// An error and what to do about it.
pub fn complain(error: &Error) {
    eprintln!("error: {error}");
    if let Some(hint) = error.hint() {
        eprintln!("hint: {hint}");
    }
}

fn print_table(objects: &[Value], columns: &[Column], current: Option<&str>) {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if table.width().is_some_and(|width| width < NARROWEST) {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table.set_header(columns.iter().map(|(heading, _)| *heading));
    for object in objects {
        table.add_row(columns.iter().enumerate().map(|(index, (_, pointer))| {
            let text = cell(object, pointer);
            match current {
                Some(name) if index == 0 && name == text => format!("{text} *"),
                _ => text,
            }
        }));
    }
    line(&table.trim_fmt());
}

/// Text of the value at `pointer`; `a,b` for a list of strings, empty when absent.
fn cell(object: &Value, pointer: &str) -> String {
    if pointer == MESSAGE {
        return crate::poll::messages(object).into_iter().next().unwrap_or_default();
    }
    match object.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(","),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_show_text_lists_and_nothing() {
        let object = json!({"a": {"b": "x"}, "list": ["p", "q"], "n": 3});
        assert_eq!(cell(&object, "/a/b"), "x");
        assert_eq!(cell(&object, "/list"), "p,q");
        assert_eq!(cell(&object, "/n"), "3");
        assert_eq!(cell(&object, "/none"), "");
        let object = json!({"status": {"appIdStatus": [{"appId": "orders", "messages": [{"message": "no"}]}]}});
        assert_eq!(cell(&object, MESSAGE), "orders: no");
    }
}
