//! A component's metadata: names without case, values as text, typed by a derive.
//!
//! The one idea: a driver declares one struct; schema, parsing, defaults and secrecy all follow from it. A message about
//! a bad value names the field, the reason and the remedy, and never the value of a sensitive field.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

pub use palladium_component_derive::ComponentMetadata;
pub use request::time_to_live;

mod request;

/// A component's metadata as it was written. Every value is treated as a secret until a driver declares it is none.
#[derive(Clone, Default)]
pub struct Properties(BTreeMap<String, Property>);

#[derive(Clone)]
struct Property {
    name: String,
    value: SecretString,
    /// Name of the secret that the value came from, where that is known.
    secret: Option<String>,
}

impl Properties {
    /// No metadata.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a value. Names compare case-insensitively.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.put(name.into(), value.into(), None);
    }

    /// Adds or replaces a value that was a reference to a secret of that name.
    pub fn insert_resolved(&mut self, name: impl Into<String>, value: impl Into<String>, secret: impl Into<String>) {
        self.put(name.into(), value.into(), Some(secret.into()));
    }

    fn put(&mut self, name: String, value: String, secret: Option<String>) {
        let property = Property {
            name,
            value: SecretString::from(value),
            secret,
        };
        self.0.insert(property.name.to_lowercase(), property);
    }

    /// The name of the secret that a value came from, if it was a reference.
    pub fn secret_of(&self, name: &str) -> Option<&str> {
        self.0.get(&name.to_lowercase())?.secret.as_deref()
    }

    /// The value of a name, in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(&name.to_lowercase())
            .map(|property| property.value.expose_secret())
    }

    /// The names as they were written, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(|property| property.name.as_str())
    }

    /// All names and values, as they were written. For handing them on to another process.
    pub fn expose(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .values()
            .map(|property| (property.name.as_str(), property.value.expose_secret()))
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Properties {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut properties = Properties::new();
        for (name, value) in pairs {
            properties.insert(name, value);
        }
        properties
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// A metadata field that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("metadata field '{field}': {reason}; {remedy}")]
pub struct MetadataError {
    /// Name as the schema spells it.
    pub field: String,
    /// What is wrong. Never contains a sensitive value.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
}

impl MetadataError {
    /// A new error.
    pub fn new(field: impl Into<String>, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        MetadataError {
            field: field.into(),
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }
}

/// One field of a driver's metadata schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldSpec {
    /// Name as Dapr spells it.
    pub name: &'static str,
    /// Other accepted names.
    pub aliases: &'static [&'static str],
    /// `string`, `bool`, `number` or `duration`.
    pub kind: &'static str,
    /// Whether a component without it is refused.
    pub required: bool,
    /// Whether its value is a secret.
    pub sensitive: bool,
    /// Value when it is absent.
    pub default: Option<&'static str>,
    /// The only accepted values; empty = any.
    pub allowed: &'static [&'static str],
    /// What it does, for people.
    pub description: &'static str,
}

/// A struct that holds a driver's typed metadata. Implemented by `#[derive(ComponentMetadata)]`.
pub trait ComponentMetadata: Sized {
    /// The schema, in the order of the struct's fields.
    fn fields() -> Vec<FieldSpec>;
    /// Reads the fields. Unknown names are ignored, as in Dapr: they may belong to the building block.
    fn parse(properties: &Properties) -> Result<Self, MetadataError>;
}

/// A type that a metadata value can be read into.
pub trait FieldType: Sized {
    /// `string`, `bool`, `number` or `duration`.
    const KIND: &'static str;
    /// Whether the type can stand for an absent value.
    const OPTIONAL: bool = false;
    /// Reads the text. The error says what was expected, not what was found.
    fn parse(text: &str) -> Result<Self, String>;
    /// The value when the field is absent and has no default; `None` makes the field required.
    fn absent() -> Option<Self> {
        None
    }
}

impl FieldType for String {
    const KIND: &'static str = "string";
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_string())
    }
}

impl FieldType for SecretString {
    const KIND: &'static str = "string";
    fn parse(text: &str) -> Result<Self, String> {
        Ok(SecretString::from(text.to_string()))
    }
}

/// Whether a text says yes, in one of Dapr's words for it.
pub fn is_truthy(text: &str) -> bool {
    let text = text.trim().to_lowercase();
    ["y", "yes", "true", "t", "on", "1"].contains(&text.as_str())
}

/// A truth value in the words that Go's `strconv.ParseBool` takes; `None` = it is none.
pub fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

impl FieldType for bool {
    const KIND: &'static str = "bool";
    fn parse(text: &str) -> Result<Self, String> {
        if is_truthy(text) {
            return Ok(true);
        }
        match text.trim().to_lowercase().as_str() {
            "" | "n" | "no" | "false" | "f" | "off" | "0" => Ok(false),
            _ => Err("a truth value is expected".into()),
        }
    }
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl FieldType for $type {
            const KIND: &'static str = "number";
            fn parse(text: &str) -> Result<Self, String> {
                text.trim().parse().map_err(|_| format!("a whole number from {} to {} is expected", <$type>::MIN, <$type>::MAX))
            }
        }
    )*};
}
number!(u16, u32, u64, i32, i64);

impl FieldType for Duration {
    const KIND: &'static str = "duration";
    /// Go's notation (`1m30s`, `250ms`); a bare number is seconds.
    fn parse(text: &str) -> Result<Self, String> {
        parse_duration(text, Duration::from_secs(1))
    }
}

/// How often something is done by itself; a negative or zero duration switches it off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval(pub Option<Duration>);

impl FieldType for Interval {
    const KIND: &'static str = "duration";
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let duration = parse_duration(text, Duration::from_secs(1))?;
        Ok(Interval((!negative && !duration.is_zero()).then_some(duration)))
    }
}

/// A duration of which a bare number counts in milliseconds; a negative one switches off what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Millis(pub Option<Duration>);

impl FieldType for Millis {
    const KIND: &'static str = "duration";
    fn parse(text: &str) -> Result<Self, String> {
        if text.trim().starts_with('-') {
            return Ok(Millis(None));
        }
        parse_duration(text, Duration::from_millis(1)).map(|duration| Millis(Some(duration)))
    }
}

impl<T: FieldType> FieldType for Option<T> {
    const KIND: &'static str = T::KIND;
    const OPTIONAL: bool = true;
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            Ok(None)
        } else {
            T::parse(text).map(Some)
        }
    }
    fn absent() -> Option<Self> {
        Some(None)
    }
}

/// Writes a duration as Go's `time.Duration.String()` does: `1.5ms`, `1m30s`.
pub fn go_duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let short = |unit: u128, name: &str| format!("{}{name}", with_fraction(nanoseconds, unit));
    match nanoseconds {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanoseconds}ns"),
        1_000..1_000_000 => short(1_000, "µs"),
        1_000_000..1_000_000_000 => short(1_000_000, "ms"),
        _ => {
            const SECOND: u128 = 1_000_000_000;
            let seconds = nanoseconds / SECOND;
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            let rest = with_fraction(nanoseconds % (60 * SECOND), SECOND);
            match (hours, minutes) {
                (0, 0) => format!("{rest}s"),
                (0, _) => format!("{minutes}m{rest}s"),
                _ => format!("{hours}h{minutes}m{rest}s"),
            }
        }
    }
}

/// A count of `unit`, which is a power of ten, without zeros at the end.
fn with_fraction(count: u128, unit: u128) -> String {
    let digits = unit.ilog10() as usize;
    let text = format!("{}.{:0digits$}", count / unit, count % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Reads a duration in Go's notation; a bare number counts in `unit`. Negative durations are refused.
pub fn parse_duration(text: &str, unit: Duration) -> Result<Duration, String> {
    const EXPECTED: &str = "a duration such as '500ms', '20s' or '1h30m' is expected";
    let text = text.trim();
    if let Ok(count) = text.parse::<u64>() {
        let nanoseconds = unit.as_nanos().saturating_mul(count.into());
        return u64::try_from(nanoseconds)
            .map(Duration::from_nanos)
            .map_err(|_| EXPECTED.into());
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return Err(EXPECTED.into());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(EXPECTED)?;
        let count: f64 = rest[..digits].parse().map_err(|_| EXPECTED)?;
        rest = &rest[digits..];
        let unit_length = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let seconds = match &rest[..unit_length] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(EXPECTED.into()),
        };
        let part = Duration::try_from_secs_f64(count * seconds).map_err(|_| EXPECTED)?;
        total = total.checked_add(part).ok_or(EXPECTED)?;
        rest = &rest[unit_length..];
    }
    Ok(total)
}

/// Reads one field. Called by the derive; not meant to be called by hand.
#[doc(hidden)]
pub fn read_field<T: FieldType>(spec: &FieldSpec, properties: &Properties) -> Result<T, MetadataError> {
    let found = std::iter::once(&spec.name)
        .chain(spec.aliases)
        .find_map(|name| properties.get(name));
    let found = found.filter(|text| !text.is_empty() || T::KIND == "string");
    let Some(text) = found.or(spec.default) else {
        return T::absent().ok_or_else(|| {
            MetadataError::new(
                spec.name,
                "it is missing",
                format!("add '{}' to the component's metadata", spec.name),
            )
        });
    };
    if spec.required && text.is_empty() {
        return Err(MetadataError::new(
            spec.name,
            "it is empty",
            format!("give '{}' a value", spec.name),
        ));
    }
    let parsed = T::parse(text).map_err(|expected| {
        let reason = if spec.sensitive {
            expected
        } else {
            format!("{expected}, found '{text}'")
        };
        MetadataError::new(spec.name, reason, "correct the value")
    })?;
    if !spec.allowed.is_empty() && !spec.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(text)) {
        return Err(MetadataError::new(
            spec.name,
            format!("'{text}' is not known"),
            format!("use one of: {}", spec.allowed.join(", ")),
        ));
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests;
