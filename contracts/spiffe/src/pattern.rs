//! Path patterns: what an attestor or a rule may speak for.
//!
//! A pattern is either an exact path (`/ns/palladium/agent`) or a prefix with one final star (`/ns/prj-*`), which
//! stands for one character or more of whatever a valid path may hold, slashes included.
//! Never a regular expression, and never about the trust domain: that is compared as a whole.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{ParseError, SpiffeId, id};

/// A valid pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPattern {
    /// Without the star.
    text: String,
    prefix: bool,
}

impl PathPattern {
    /// Parses `/exact/path` or `/some/prefix*`.
    pub fn parse(pattern: &str) -> Result<Self, ParseError> {
        let (text, prefix) = match pattern.strip_suffix('*') {
            Some(text) => (text, true),
            None => (pattern, false),
        };
        if text.contains('*') {
            return Err(ParseError::Pattern);
        }
        if prefix {
            // A prefix may end in a slash or inside a segment; with any valid character after it, it must be a path.
            if !text.starts_with('/') {
                return Err(ParseError::PathStart);
            }
            id::check_path(&format!("{text}x"))?;
        } else if text.is_empty() {
            return Err(ParseError::PathStart);
        } else {
            id::check_path(text)?;
        }
        Ok(Self {
            text: text.to_owned(),
            prefix,
        })
    }

    /// Whether the path of `id` is covered.
    pub fn matches(&self, id: &SpiffeId) -> bool {
        match id.path().strip_prefix(self.text.as_str()) {
            Some("") => !self.prefix,
            Some(_) => self.prefix,
            None => false,
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, if self.prefix { "*" } else { "" })
    }
}

impl FromStr for PathPattern {
    type Err = ParseError;
    fn from_str(s: &str) -> Result<Self, ParseError> {
        Self::parse(s)
    }
}

impl Serialize for PathPattern {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PathPattern {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let s = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        Self::parse(&s).map_err(D::Error::custom)
    }
}
