//! The one canonical form of a method: what access control judges is what the application gets.
//!
//! One idea: a method is decoded once, where it enters (HTTP paths are percent-encoded, gRPC methods are not), and cleaned
//! of everything that two programs could read differently. A callee cleans again and decodes never. Must never be made
//! more tolerant for one side alone: a path that is judged in one form and called in another is a way around the rules.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// What may not stand in a path as it is; `/` separates parts.
pub(crate) const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'%')
    .add(b'\\')
    .add(b'^')
    .add(b'|')
    .add(b'[')
    .add(b']');

/// Longest method in bytes: breakers and spans are named after methods, and a gRPC message holds one of any length.
const LONGEST: usize = 8 << 10;

/// A method that cannot be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    /// `#`, `?` or NUL.
    #[error("rpc error: code = InvalidArgument desc = invalid method: method contains forbidden character")]
    Forbidden,
    /// A control character.
    #[error("rpc error: code = InvalidArgument desc = invalid method: method contains control character")]
    Control,
    /// Longer than [`LONGEST`].
    #[error("rpc error: code = InvalidArgument desc = invalid method: method has more than {LONGEST} bytes")]
    TooLong,
    /// Not text.
    #[error("rpc error: code = InvalidArgument desc = invalid method: method is not valid UTF-8")]
    NotText,
    /// A percent sign that begins no escape: Go's URLs cannot hold it.
    #[error("parse error: invalid URL escape in the method")]
    Escape,
}

/// The method of an HTTP path, decoded once.
///
/// # Errors
/// [`MethodError::NotText`].
pub fn decode(path: &str) -> Result<Cow<'_, str>, MethodError> {
    percent_decode_str(path).decode_utf8().map_err(|_| MethodError::NotText)
}

/// Without `.`, `..` and doubled slashes, and nothing in it that another program could read differently.
///
/// # Errors
/// See [`MethodError`].
pub fn canonical(method: &str) -> Result<Cow<'_, str>, MethodError> {
    if method.len() > LONGEST {
        return Err(MethodError::TooLong);
    }
    for byte in method.bytes() {
        match byte {
            b'#' | b'?' | 0 => return Err(MethodError::Forbidden),
            0x01..0x20 | 0x7f => return Err(MethodError::Control),
            _ => {}
        }
    }
    Ok(without_dots(method))
}

/// A path without `.`, `..`, doubled slashes and a slash at its end; rooted as it was.
pub(crate) fn without_dots(path: &str) -> Cow<'_, str> {
    let (root, rest) = match path.strip_prefix('/') {
        Some(rest) => ("/", rest),
        None => ("", path),
    };
    if rest.is_empty() || rest.split('/').all(|part| !matches!(part, "" | "." | "..")) {
        return Cow::Borrowed(path);
    }
    let mut kept: Vec<&str> = Vec::new();
    for part in rest.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            part => kept.push(part),
        }
    }
    Cow::Owned(format!("{root}{}", kept.join("/")))
}

/// A canonical method as the path of a request, with its query.
///
/// # Errors
/// [`MethodError::Escape`].
pub fn to_path(method: &str, query: &str) -> Result<String, MethodError> {
    let bytes = method.as_bytes();
    let mut percents = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    let escapes = |at: usize| {
        bytes
            .get(at + 1..at + 3)
            .is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
    };
    if !percents.all(|(at, _)| escapes(at)) {
        return Err(MethodError::Escape);
    }
    let mut path = String::with_capacity(method.len() + query.len() + 2);
    if !method.starts_with('/') {
        path.push('/');
    }
    path.extend(utf8_percent_encode(method, PATH));
    if !query.is_empty() {
        path.push('?');
        path.push_str(query);
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of_path(path: &str) -> Result<String, MethodError> {
        decode(path).and_then(|method| canonical(&method).map(Cow::into_owned))
    }

    #[test]
    fn methods_have_one_form() {
        for (given, expected) in [
            ("a/b", "a/b"),
            ("a//b/./c", "a/b/c"),
            ("../../etc/x", "etc/x"),
            ("admin%2F..%2Fpublic", "public"),
            ("a%2Fb", "a/b"),
            ("a%20b", "a b"),
            ("public/", "public"),
            ("..", ""),
            ("", ""),
        ] {
            assert_eq!(of_path(given).as_deref(), Ok(expected), "{given}");
        }
        for bad in ["a%3Fb", "a%23", "a%00", "a%0a", "%ff", "a%7f"] {
            assert!(of_path(bad).is_err(), "{bad}");
        }
        assert!(canonical(&"m".repeat(LONGEST)).is_ok());
        assert_eq!(canonical(&"m".repeat(LONGEST + 1)), Err(MethodError::TooLong));
        // gRPC methods are not decoded.
        assert_eq!(canonical("admin%2F..%2Fpublic").as_deref(), Ok("admin%2F..%2Fpublic"));
        assert_eq!(canonical("/svc/Method").as_deref(), Ok("/svc/Method"));
    }

    #[test]
    fn paths_are_cleaned_like_files() {
        for (given, expected) in [
            ("/v1.0//healthz/", "/v1.0/healthz"),
            ("/a/./b/../c", "/a/c"),
            ("/", "/"),
            ("//", "/"),
            ("/../..", "/"),
            ("/a.b", "/a.b"),
            ("*", "*"),
        ] {
            assert_eq!(without_dots(given), expected, "{given}");
        }
    }

    #[test]
    fn an_application_decodes_exactly_what_was_judged() {
        assert_eq!(to_path("a b\\\"c", "x=1").as_deref(), Ok("/a%20b%5C%22c?x=1"));
        assert_eq!(to_path("a%2Fb", "").as_deref(), Ok("/a%252Fb"));
        assert_eq!(to_path("test%stream", ""), Err(MethodError::Escape));
    }

    proptest! {
        #[test]
        fn cleaning_twice_changes_nothing(method in "\\PC{0,40}|[a-c./%#]{0,20}") {
            if let Ok(once) = canonical(&method) {
                let twice = canonical(&once);
                prop_assert_eq!(twice.as_deref(), Ok(&*once));
                prop_assert!(once.trim_start_matches('/').split('/').all(|part| part != ".." && part != "."));
            }
        }

        #[test]
        fn what_an_application_decodes_is_what_was_judged(method in "[a-z/ .\"\\\\*é%41]{0,20}") {
            if let Ok(method) = canonical(&method)
                && let Ok(path) = to_path(&method, "")
            {
                let seen = decode(&path).expect("text");
                prop_assert_eq!(seen.trim_start_matches('/'), method.trim_start_matches('/'));
                let again = canonical(&seen).expect("clean");
                prop_assert_eq!(again.trim_start_matches('/'), method.trim_start_matches('/'));
            }
        }
    }
}
