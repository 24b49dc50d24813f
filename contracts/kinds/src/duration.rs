//! Go's durations (`1h2m3.5s`), as Dapr's files write them.
//!
//! One idea: the same texts are accepted as by Go's parser, within a bound; nothing is rounded. Must never accept what Go
//! refuses.

use crate::error::FieldErrors;

/// Longest: what is longer is a mistake.
const LONGEST: f64 = 366.0 * 86_400.0;

/// Seconds of a duration; `None` when it is none.
pub fn seconds(text: &str) -> Option<f64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0.0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(end);
        // One digit at least, and one point at most.
        let number: f64 = number.parse().ok().filter(|_| number != ".")?;
        let end = behind
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        total += number
            * match unit {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = behind;
    }
    Some(if negative { -total } else { total })
}

/// Complains about what is set and is no duration from zero up. `millis`: bare digits are milliseconds, as in a Resiliency.
pub fn check(field: &str, text: &str, millis: bool, errors: &mut FieldErrors) {
    if text.is_empty() {
        return;
    }
    let bare = Some(text).filter(|text| millis && text.bytes().all(|b| b.is_ascii_digit()));
    let found = match bare.map(str::parse::<f64>) {
        Some(number) => number.ok().map(|number| number / 1e3),
        None => seconds(text),
    };
    if found.is_none_or(|seconds| !(0.0..=LONGEST).contains(&seconds)) {
        errors.push(field, "is not a duration", "use a duration such as 5s, 500ms or 1m30s");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_reads_is_read_and_nothing_else() {
        for (text, wanted) in [
            ("5s", Some(5.0)),
            ("1h2m3.5s", Some(3723.5)),
            ("500ms", Some(0.5)),
            (".5s", Some(0.5)),
            ("0", Some(0.0)),
            ("-1s", Some(-1.0)),
            ("2us", Some(2e-6)),
            ("", None),
            ("5", None),
            ("s", None),
            ("5 s", None),
            ("5d", None),
            (".s", None),
            ("1.2.3s", None),
            ("5s5", None),
        ] {
            assert_eq!(seconds(text), wanted, "{text}");
        }
    }

    #[test]
    fn bare_digits_are_milliseconds_where_dapr_says_so() {
        let complaints = |text: &str, millis| {
            let mut errors = FieldErrors::default();
            check("x", text, millis, &mut errors);
            errors.0.len()
        };
        assert_eq!((complaints("5000", true), complaints("5000", false)), (0, 1));
        assert_eq!((complaints("-5s", true), complaints("99999h", true)), (1, 1));
        assert_eq!(complaints("", true), 0);
    }
}
