//! The life of a key as requests state it: metadata `ttlInSeconds`.
//!
//! One idea: one reading for all drivers: -1 and 0 are for ever, anything else malformed is refused, absent is told
//! apart. Must never turn a life that cannot be read into "for ever".

use palladium_component::StateError;
use palladium_component::state::Metadata;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Response metadata with the moment of expiry.
const EXPIRE_TIME: &str = "ttlExpireTime";

/// Reads `ttlInSeconds`: `None` when absent, 0 when the key is to live forever, else seconds.
pub(crate) fn parse(metadata: &Metadata) -> Result<Option<u32>, StateError> {
    let Some(text) = metadata.get("ttlInSeconds").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let seconds: i32 = text.trim().parse().map_err(|_| wrong("must be a whole number"))?;
    match seconds {
        -1 | 0 => Ok(Some(0)),
        1.. => Ok(Some(seconds.unsigned_abs())),
        _ => Err(wrong("must be -1 or greater")),
    }
}

/// Response metadata of a key that expires at this instant (seconds since 1970).
pub(crate) fn response_metadata(expires_unix_s: i64) -> Metadata {
    let text = OffsetDateTime::from_unix_timestamp(expires_unix_s)
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok());
    text.map(|text| (EXPIRE_TIME.to_string(), text)).into_iter().collect()
}

/// Seconds since 1970.
pub(crate) fn now_unix_s() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

fn wrong(reason: &str) -> StateError {
    StateError::Invalid(format!("incorrect value for metadata 'ttlInSeconds': {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_requests_say() {
        let parse = |text: &str| parse(&[("ttlInSeconds".to_string(), text.to_string())].into_iter().collect());
        assert_eq!(
            (
                parse("").unwrap(),
                parse("5").unwrap(),
                parse("-1").unwrap(),
                parse("0").unwrap()
            ),
            (None, Some(5), Some(0), Some(0))
        );
        for text in ["-2", "x", "1.5", "2147483648"] {
            assert!(
                parse(text).unwrap_err().to_string().contains("'ttlInSeconds'"),
                "{text}"
            );
        }
        assert_eq!(response_metadata(0)["ttlExpireTime"], "1970-01-01T00:00:00Z");
    }
}
