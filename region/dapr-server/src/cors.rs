//! What browsers are told about cross-origin calls.
//!
//! One idea: as Dapr does it with `--allowed-origins`: empty = nothing at all, `*` = everybody, else a list. Preflights
//! are answered here, before the API token is asked for, because browsers send none with them. Must never
//! let a preflight through to what it asks about.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method};

const METHODS: [&str; 6] = ["HEAD", "GET", "POST", "PUT", "PATCH", "DELETE"];

/// The allowed origins.
#[derive(Clone, Debug)]
pub struct Cors {
    /// `None` = every origin.
    origins: Option<Vec<String>>,
}

impl Cors {
    /// From the flag's value; `None` when CORS is not handled at all.
    pub fn from_flag(allowed: &str) -> Option<Self> {
        match allowed.trim() {
            "" => None,
            "*" => Some(Self { origins: None }),
            list => Some(Self {
                origins: Some(list.split(',').map(|one| one.trim().to_ascii_lowercase()).collect()),
            }),
        }
    }

    /// Whether a request is a preflight, which is never passed on.
    pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
        *method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// The headers of the answer to a preflight.
    pub fn preflight(&self, asked: &HeaderMap) -> HeaderMap {
        let mut answer = HeaderMap::new();
        for name in [
            "origin",
            "access-control-request-method",
            "access-control-request-headers",
        ] {
            answer.append(VARY, HeaderValue::from_static(name));
        }
        let method = asked.get(ACCESS_CONTROL_REQUEST_METHOD);
        let known = method.is_some_and(|method| METHODS.iter().any(|known| method.as_bytes() == known.as_bytes()));
        if let (Some(origin), Some(method), true) = (self.origin(asked), method, known) {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            answer.insert(ACCESS_CONTROL_ALLOW_METHODS, method.clone());
            if let Some(headers) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
                answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers.clone());
            }
        }
        answer
    }

    /// Adds what belongs to the answer of an ordinary request with the given `Origin`.
    pub fn decorate(&self, asked: &HeaderMap, answer: &mut HeaderMap) {
        answer.append(VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = self.origin(asked) {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
    }

    fn origin(&self, asked: &HeaderMap) -> Option<HeaderValue> {
        let origin = asked.get(ORIGIN)?;
        match &self.origins {
            None => Some(HeaderValue::from_static("*")),
            Some(list) => {
                let given = origin.to_str().ok()?.to_ascii_lowercase();
                list.iter()
                    .any(|allowed| matches(allowed, &given))
                    .then(|| origin.clone())
            }
        }
    }
}

/// An allowed origin may hold one `*`, which stands for anything.
fn matches(allowed: &str, origin: &str) -> bool {
    match allowed.split_once('*') {
        None => allowed == origin,
        Some((start, end)) => {
            origin.len() >= start.len() + end.len() && origin.starts_with(start) && origin.ends_with(end)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_origins_are_told_that_they_may() {
        let cors = Cors::from_flag("https://example.com,https://*.example.org").expect("a list");
        for (origin, allowed) in [
            ("https://example.com", true),
            ("https://a.example.org", true),
            ("https://foobaz.com", false),
        ] {
            let mut asked = HeaderMap::new();
            asked.insert(ORIGIN, HeaderValue::from_static(origin));
            asked.insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("GET"));
            let answer = cors.preflight(&asked);
            assert_eq!(answer.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN), allowed, "{origin}");
            assert!(answer.contains_key(VARY));
        }
        assert!(Cors::from_flag("").is_none());
    }
}
