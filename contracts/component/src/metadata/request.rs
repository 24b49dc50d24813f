//! What a request says beside its data that means the same to drivers of several building blocks.
//!
//! The one idea: names without case, and values as Dapr reads them. Must never know what a driver makes of a value.

use std::collections::HashMap;
use std::time::Duration;

use super::parse_duration;

/// How long what a request brings is kept: `ttl`, or else `ttlInSeconds`; `None` = it does not say. A bare number is seconds.
/// A duration that is over already, and so is `0` to Go, ends it at once.
///
/// # Errors
/// Words for whoever asked, when it is neither a number of seconds above zero nor a duration.
pub fn time_to_live(metadata: &HashMap<String, String>) -> Result<Option<Duration>, String> {
    let said = |wanted: &'static str| {
        let mut all = metadata.iter();
        let said = all.find(|(name, value)| name.eq_ignore_ascii_case(wanted) && !value.is_empty());
        said.map(|(_, value)| (wanted, value.as_str()))
    };
    let Some((name, text)) = said("ttl").or_else(|| said("ttlInSeconds")) else {
        return Ok(None);
    };
    let wrong = |must: &str| format!("{name} value must be {must}: actual is '{text}'");
    let (over, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    if over && rest.parse::<u64>().is_ok() {
        return Err(wrong("higher than zero"));
    }
    let read = parse_duration(rest, Duration::from_secs(1));
    let read = read.map_err(|_| wrong("a number of seconds or a duration such as '10m'"))?;
    Ok(Some(if over { Duration::ZERO } else { read }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<Duration>, String> {
        let pairs = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        time_to_live(&pairs.collect())
    }

    #[test]
    fn times_are_seconds_or_durations() {
        for (text, millis) in [("10", 10_000), ("1m30s", 90_000), ("250ms", 250), ("0", 0), ("-1s", 0)] {
            let time = Some(Duration::from_millis(millis));
            assert_eq!(read(&[("TTLinSeconds", text)]), Ok(time), "{text}");
            assert_eq!(read(&[("ttl", text), ("ttlInSeconds", "7")]), Ok(time), "{text}");
        }
        for text in ["-1", "soon", "5 years", "-", "--5s", "92233720368547758071"] {
            let wrong = read(&[("ttlInSeconds", text)]).unwrap_err();
            assert!(
                wrong.starts_with("ttlInSeconds value must be ") && wrong.contains(text),
                "{wrong}"
            );
        }
        assert_eq!(read(&[("ttl", "")]), Ok(None));
        assert_eq!(read(&[("key", "5")]), Ok(None));
    }
}
