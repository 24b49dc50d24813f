//! Which status codes are retried.
//!
//! One idea: a list of numbers and ranges; no list = every code. A number below 100 is a gRPC code, another one an HTTP
//! status. Must never take a code that cannot be.

use std::ops::RangeInclusive;

/// Codes of one protocol.
type Codes = Option<Vec<RangeInclusive<u16>>>;

const HTTP: RangeInclusive<u16> = 100..=599;
const GRPC: RangeInclusive<u16> = 0..=16;

/// Which codes are retried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Matching {
    http: Codes,
    grpc: Codes,
}

impl Matching {
    /// From `500-599,429` for each protocol; empty = all.
    pub(crate) fn parse(http: &str, grpc: &str) -> Result<Self, String> {
        Ok(Self {
            http: parse(http, &HTTP)?,
            grpc: parse(grpc, &GRPC)?,
        })
    }

    /// Whether a code is retried.
    pub(crate) fn retries(&self, code: u16) -> bool {
        let codes = if GRPC.contains(&code) {
            &self.grpc
        } else if HTTP.contains(&code) {
            &self.http
        } else {
            return false;
        };
        codes
            .as_ref()
            .is_none_or(|codes| codes.iter().any(|range| range.contains(&code)))
    }
}

fn parse(text: &str, valid: &RangeInclusive<u16>) -> Result<Codes, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let number = |text: &str| -> Result<u16, String> {
        let number = text.trim().parse().ok().filter(|number| valid.contains(number));
        number.ok_or_else(|| format!("'{text}' is not a code from {} to {}", valid.start(), valid.end()))
    };
    let ranges = text.split(',').filter(|part| !part.is_empty()).map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("'{part}' ends before it begins"));
        }
        Ok(first..=last)
    });
    ranges.collect::<Result<Vec<_>, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_and_ranges() {
        let matching = Matching::parse("100,501-503,", "1-5").unwrap();
        for (code, expected) in [
            (100, true),
            (502, true),
            (504, false),
            (3, true),
            (0, false),
            (600, false),
            (20, false),
        ] {
            assert_eq!(matching.retries(code), expected, "{code}");
        }
        assert!(Matching::default().retries(404) && !Matching::default().retries(700));
        for (http, grpc) in [("11", ""), ("", "400"), ("503-501", ""), ("a", ""), ("1-2-3", "")] {
            assert!(Matching::parse(http, grpc).is_err(), "{http} {grpc}");
        }
    }

    proptest! {
        #[test]
        fn a_range_holds_what_lies_between(first in 100u16..600, length in 0u16..100, code in 0u16..700) {
            let last = (first + length).min(599);
            let matching = Matching::parse(&format!("{first}-{last}"), "").unwrap();
            if code > 16 {
                prop_assert_eq!(matching.retries(code), (first..=last).contains(&code));
            }
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = Matching::parse(&text, &text);
        }
    }
}
