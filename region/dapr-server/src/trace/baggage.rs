//! W3C baggage.
//!
//! One idea: what is well formed is passed on as it came, what is not ends the call with the original's words; nothing is
//! read out of it. Must never log what it says: it is the application's.

use http::header::GetAll;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The header.
pub const BAGGAGE: HeaderName = HeaderName::from_static("baggage");
/// As the specification bounds it.
const MOST_MEMBERS: usize = 180;
const MOST_BYTES: usize = 8192;

/// Why baggage is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBaggage {
    /// A member is none.
    #[error("invalid baggage header: invalid baggage list-member")]
    Member,
    /// There is too much of it.
    #[error("invalid baggage header: too much of it")]
    TooMuch,
}

/// Checks what headers carry; nearly always that is nothing.
///
/// # Errors
/// See [`BadBaggage`].
pub fn check(headers: &HeaderMap) -> Result<(), BadBaggage> {
    if !headers.contains_key(&BAGGAGE) {
        return Ok(());
    }
    read(headers.get_all(&BAGGAGE))
}

/// All of it in one header, for an answer; `None` when there is none.
pub fn joined(headers: &HeaderMap) -> Option<HeaderValue> {
    let first = headers.get(&BAGGAGE)?;
    let mut all = headers.get_all(&BAGGAGE).iter();
    if all.nth(1).is_none() {
        return Some(first.clone());
    }
    let parts: Vec<&[u8]> = headers.get_all(&BAGGAGE).iter().map(HeaderValue::as_bytes).collect();
    HeaderValue::from_bytes(&parts.join(&b","[..])).ok()
}

fn read(values: GetAll<'_, HeaderValue>) -> Result<(), BadBaggage> {
    let (mut members, mut bytes) = (0, 0);
    for value in values {
        let text = value.to_str().map_err(|_| BadBaggage::Member)?;
        bytes += text.len();
        for part in text.split(',') {
            members += 1;
            if members > MOST_MEMBERS || bytes > MOST_BYTES {
                return Err(BadBaggage::TooMuch);
            }
            member(part).ok_or(BadBaggage::Member)?;
        }
    }
    Ok(())
}

/// `key=value;property;property=value`, with blanks around each.
fn member(text: &str) -> Option<()> {
    let mut parts = text.split(';');
    let (key, content) = parts.next()?.split_once('=')?;
    token(key.trim())?;
    value(content.trim())?;
    parts.try_for_each(|property| match property.split_once('=') {
        Some((key, content)) => token(key.trim()).and_then(|()| value(content.trim())),
        None => token(property.trim()),
    })
}

/// RFC 7230, 3.2.6.
fn token(text: &str) -> Option<()> {
    let may = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (!text.is_empty() && text.bytes().all(may)).then_some(())
}

/// Octets that need no quoting, and percent escapes.
fn value(text: &str) -> Option<()> {
    let may = |byte: u8| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte);
    let bytes = text.as_bytes();
    let escaped = |at: usize| {
        let digits = bytes.get(at + 1..at + 3);
        bytes[at] != b'%' || digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    (bytes.iter().copied().all(may) && (0..bytes.len()).all(escaped)).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(values: &[&str]) -> HeaderMap {
        let values = values.iter().map(|value| value.parse().expect("visible"));
        values.map(|value: HeaderValue| (BAGGAGE, value)).collect()
    }

    fn two(first: &str, second: &str) -> HeaderMap {
        let mut headers = with(&[first]);
        headers.append(BAGGAGE, second.parse().expect("visible"));
        headers
    }

    #[test]
    fn only_what_is_well_formed_is_passed_on() {
        for good in [
            "key1=value1,key2=value2",
            "k = v ; p ; q=r , l=",
            "k=a%20b",
            "user=%E2%82%AC",
        ] {
            assert_eq!(check(&with(&[good])), Ok(()), "{good}");
        }
        for bad in [
            "invalid-baggage",
            "=v",
            "k=a b",
            "k=v,",
            "k=\"v\"",
            "k=%zz",
            "a b=c",
            "k=v;=x",
        ] {
            assert_eq!(check(&with(&[bad])), Err(BadBaggage::Member), "{bad}");
        }
        assert_eq!(check(&HeaderMap::new()), Ok(()));
        assert_eq!(check(&two("a=b", "nonsense")), Err(BadBaggage::Member));
        let long = vec!["a=b"; MOST_MEMBERS + 1].join(",");
        assert_eq!(check(&with(&[&long])), Err(BadBaggage::TooMuch));
        assert_eq!(joined(&two("a=b", "c=d")).expect("there"), "a=b,c=d");
        assert_eq!(joined(&HeaderMap::new()), None);
    }
}
