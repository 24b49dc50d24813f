//! Times as Catalyst writes them: `YYYY-MM-DD HH:MM:SS`, UTC, without a zone.
//!
//! One idea: one newtype, so that no handler formats a time by itself. Reads RFC 3339 too.
//!
//! Must never: be used for ordering events; that is what resource versions are for (the text has whole seconds).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

/// An instant with the resolution of milliseconds inside, seconds outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(OffsetDateTime);

impl Timestamp {
    /// The current time.
    pub fn now() -> Self {
        Self::from_unix_millis(
            i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX),
        )
    }

    /// From milliseconds since 1970; values outside of the years 0 to 9999 are clamped to the epoch.
    pub fn from_unix_millis(millis: i64) -> Self {
        Self(
            OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)
                .unwrap_or(OffsetDateTime::UNIX_EPOCH),
        )
    }

    /// Milliseconds since 1970.
    pub fn unix_millis(self) -> i64 {
        i64::try_from(self.0.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
    }

    /// Reads both accepted forms.
    pub fn parse(text: &str) -> Option<Self> {
        let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
        PrimitiveDateTime::parse(text, format)
            .map(PrimitiveDateTime::assume_utc)
            .or_else(|_| OffsetDateTime::parse(text, &Rfc3339))
            .ok()
            .map(|at| Self(at.to_offset(UtcOffset::UTC)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
        f.write_str(&self.0.format(format).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("expected a time as \"YYYY-MM-DD HH:MM:SS\" (UTC)"))
    }
}

impl utoipa::PartialSchema for Timestamp {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        String::schema()
    }
}

impl utoipa::ToSchema for Timestamp {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_one_is_written() {
        let at = Timestamp::parse("2026-11-24T09:00:01.250+01:00").unwrap();
        assert_eq!(at.to_string(), "2026-11-24 08:00:01");
        assert_eq!(
            Timestamp::parse("2026-11-24 08:00:01").unwrap().to_string(),
            "2026-11-24 08:00:01"
        );
        assert!(Timestamp::parse("yesterday").is_none());
    }
}
