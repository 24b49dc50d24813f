//! What people hand in: `key=value` pairs, secrets from standard input, YAML files with several documents.
//!
//! Must never echo a value: it may be a secret.

use std::io::{BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};

use crate::Error;
use crate::output;

/// Largest file that `apply` reads.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// `key=value`.
#[derive(Clone)]
pub struct Pair {
    /// Before the first `=`.
    pub key: String,
    /// After it; `-` reads standard input, so that a secret stays out of the process list.
    pub value: String,
}

/// Shows the key only: the value may be a secret.
impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("key", &self.key).finish_non_exhaustive()
    }
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Self {
                key: key.to_owned(),
                value: value.to_owned(),
            }),
            _ => Err("expected KEY=VALUE".to_owned()),
        }
    }
}

/// `pairs` as a JSON object of strings.
pub fn string_map(pairs: &[Pair]) -> Value {
    pairs
        .iter()
        .map(|pair| (pair.key.clone(), Value::from(pair.value.clone())))
        .collect::<Map<_, _>>()
        .into()
}

/// `value`, or when it is `-` what stands on standard input. A person at a terminal is asked for `what`, unseen.
pub fn value_or_stdin(argument: &'static str, what: &str, value: &str) -> Result<String, Error> {
    if value != "-" {
        return Ok(value.to_owned());
    }
    if !std::io::stdin().is_terminal() {
        return all_of_stdin(argument);
    }
    let text = ask(what).map_err(|error| Error::Argument {
        argument,
        reason: format!("cannot read from the terminal: {error}"),
    })?;
    if text.is_empty() {
        return Err(Error::Argument {
            argument,
            reason: "nothing was entered".to_owned(),
        });
    }
    Ok(text)
}

/// One line from the terminal, without showing it.
fn ask(what: &str) -> std::io::Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let stdin = std::io::stdin();
    let shown = tcgetattr(&stdin)?;
    let mut hidden = shown.clone();
    // Ctrl-C comes as a byte as well: a signal would end us before the terminal shows again what is typed.
    hidden
        .local_modes
        .remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    output::ask(&format!("{what}: "));
    tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
    let line = typed(stdin.lock().take(MAX_BYTES).bytes());
    tcsetattr(&stdin, OptionalActions::Flush, &shown)?;
    output::ask("\n");
    line
}

/// What a person types, key by key, until Enter.
fn typed(keys: impl Iterator<Item = std::io::Result<u8>>) -> std::io::Result<String> {
    let mut line = Vec::new();
    for key in keys {
        match key? {
            b'\r' | b'\n' => break,
            // Ctrl-C.
            3 => return Err(std::io::Error::other("interrupted")),
            // Ctrl-D.
            4 => break,
            // Backspace takes a whole character away.
            8 | 127 => while line.pop().is_some_and(|byte: u8| byte & 0xc0 == 0x80) {},
            // Ctrl-U.
            21 => line.clear(),
            byte => line.push(byte),
        }
    }
    String::from_utf8(line).map_err(|_| std::io::Error::other("not UTF-8"))
}

/// Asks the person at the terminal whether `consequence` is wanted; without one only `yes` will do.
pub fn confirm(consequence: &str, yes: bool) -> Result<(), Error> {
    if yes {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Error::NotConfirmed {
            consequence: consequence.to_owned(),
        });
    }
    output::ask(&format!("{consequence}. Go on? [y/N] "));
    let mut answer = String::new();
    let read = stdin.lock().take(MAX_BYTES).read_line(&mut answer);
    match read {
        Ok(_) if ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()) => Ok(()),
        _ => Err(Error::Declined),
    }
}

fn all_of_stdin(argument: &'static str) -> Result<String, Error> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        // The second one would silently be empty.
        return Err(Error::Argument {
            argument,
            reason: "standard input can be read for one value only; give the others in a file to `apply`".to_owned(),
        });
    }
    let mut text = String::new();
    std::io::stdin()
        .take(MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| Error::Argument {
            argument,
            reason: format!("cannot read standard input: {error}"),
        })?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(Error::Argument {
            argument,
            reason: "standard input is empty".to_owned(),
        });
    }
    Ok(text.to_owned())
}

/// JSON when it parses as JSON, otherwise the text as a JSON string: what `call state set --value` accepts.
pub fn json_or_text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

/// All documents of a file, or of the `*.yaml`, `*.yml` and `*.json` files of a folder in the order of their names. `-` = standard input.
pub fn documents(path: &Path) -> Result<Vec<(PathBuf, Value)>, Error> {
    let fail = |path: &Path, reason: String| Error::File {
        path: path.to_owned(),
        reason,
    };
    if path == Path::new("-") {
        let text = all_of_stdin("-f")?;
        return parse(path, &text);
    }
    if !path.is_dir() {
        return read(path);
    }
    let entries = std::fs::read_dir(path).map_err(|error| fail(path, error.to_string()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| matches!(file.extension().and_then(|e| e.to_str()), Some("yaml" | "yml" | "json")))
        .collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        all.extend(read(&file)?);
    }
    Ok(all)
}

fn read(path: &Path) -> Result<Vec<(PathBuf, Value)>, Error> {
    let fail = |reason: String| Error::File {
        path: path.to_owned(),
        reason,
    };
    let size = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?.len();
    if size > MAX_BYTES {
        return Err(fail(format!("has {size} bytes; at most {MAX_BYTES} are accepted")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Vec<(PathBuf, Value)>, Error> {
    let documents: Vec<Option<Value>> = serde_saphyr::from_multiple(text).map_err(|error| Error::File {
        path: path.to_owned(),
        reason: place_and_cause(&error.to_string()),
    })?;
    Ok(documents
        .into_iter()
        .flatten()
        .filter(|d| !d.is_null())
        .map(|d| (path.to_owned(), d))
        .collect())
}

/// The parser's first line: below it stand lines of the file, and those may hold secrets.
fn place_and_cause(error: &str) -> String {
    let first = error.lines().next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    first
        .split_once(", set DuplicateKeyPolicy")
        .map_or(first, |(cause, _)| cause)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_file_is_told_by_its_place_and_not_quoted() {
        for (text, told) in [
            ("a: hunter2\nb: [hunter2\n", "line "),
            ("kind: hunter2\nkind: hunter2\n", "duplicate mapping key: kind"),
        ] {
            let error = parse(Path::new("x.yaml"), text).expect_err("malformed").to_string();
            assert!(error.starts_with("x.yaml: ") && error.contains(told), "{error}");
            assert!(!error.contains("hunter2") && !error.contains("Policy"), "{error}");
        }
    }

    #[test]
    fn what_is_typed_can_be_corrected_and_given_up() {
        let line = |keys: &[u8]| typed(keys.iter().map(|key| Ok(*key)));
        assert_eq!(line(b"abc\rmore").expect("a line"), "abc");
        assert_eq!(line("aä\x7f\x7fb\n".as_bytes()).expect("a line"), "b");
        assert_eq!(line(b"wrong\x15right\n").expect("a line"), "right");
        assert_eq!(line(b"\x7f\x04").expect("nothing"), "");
        assert!(line(b"abc\x03").is_err() && line(b"\xff\n").is_err());
    }

    #[test]
    fn several_documents_and_json_are_read() {
        let found = parse(Path::new("x"), "kind: A\n---\nkind: B\n---\n").expect("YAML");
        assert_eq!(
            found
                .iter()
                .map(|(_, d)| d["kind"].as_str().expect("text"))
                .collect::<Vec<_>>(),
            ["A", "B"]
        );
        assert_eq!(
            parse(Path::new("x"), r#"{"kind":"C"}"#).expect("JSON")[0].1["kind"],
            "C"
        );
    }

    #[test]
    fn a_pair_needs_a_key() {
        assert!("=x".parse::<Pair>().is_err());
        assert!("x".parse::<Pair>().is_err());
        assert_eq!("a=b=c".parse::<Pair>().expect("a pair").value, "b=c");
    }
}
