//! What a policy is shown of a request.
//!
//! One idea: the document has Dapr's form, but for the path: that is shown as the server routes by it, so that no spelling
//! of it leads around a policy. What a document is made of is taken from the request, the document itself is made where
//! the policy is evaluated. Must never hold a header that the component does not name.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Uri};
use regorus::Value;
use serde_json::json;
use url::form_urlencoded;

use crate::path_filter::plain;

/// The headers that are shown, each with the name that the policy finds it by.
pub(super) struct Included(Vec<(HeaderName, String)>);

impl Included {
    /// What is no header's name names none, as in Dapr.
    pub(super) fn new(said: &str) -> Self {
        let names = said.split(',').map(|name| name.replace(' ', ""));
        let names = names.filter_map(|name| HeaderName::try_from(name.as_str()).ok());
        // Go keeps it apart from the headers, so Dapr's never shows it.
        let names = names.filter(|name| name != HOST);
        Self(names.map(|name| (name.clone(), canonical(name.as_str()))).collect())
    }
}

/// `x-my-header` as `X-My-Header`, the form in which Go keeps names.
fn canonical(name: &str) -> String {
    let mut first = true;
    let letters = name.chars().map(|letter| {
        let letter = if first { letter.to_ascii_uppercase() } else { letter };
        first = letter == '-';
        letter
    });
    letters.collect()
}

/// What a document is made of; nothing of it is copied.
pub(super) struct Shown {
    method: Method,
    uri: Uri,
    /// By the names that the policy finds them by.
    headers: Vec<(String, Vec<HeaderValue>)>,
    body: Bytes,
}

impl Shown {
    pub(super) fn new(head: &Parts, body: Bytes, included: &Included) -> Self {
        let headers = included.0.iter().filter_map(|(name, shown)| {
            let values: Vec<HeaderValue> = head.headers.get_all(name).iter().cloned().collect();
            (!values.is_empty()).then(|| (shown.clone(), values))
        });
        Self {
            method: head.method.clone(),
            uri: head.uri.clone(),
            headers: headers.collect(),
            body,
        }
    }

    /// The input document.
    pub(super) fn document(&self) -> Value {
        let path = plain(self.uri.path());
        let raw_query = self.uri.query().unwrap_or_default();
        let mut query: BTreeMap<String, Vec<String>> = BTreeMap::new();
        // Go reads no pair with a semicolon in it.
        for pair in raw_query.split('&').filter(|pair| !pair.contains(';')) {
            for (name, value) in form_urlencoded::parse(pair.as_bytes()) {
                query.entry(name.into_owned()).or_default().push(value.into_owned());
            }
        }
        let headers = self.headers.iter().map(|(name, values)| {
            let values = values.iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
            (name.as_str(), values.collect::<Vec<_>>().join(", "))
        });
        Value::from(json!({ "request": {
            "method": self.method.as_str(),
            "path_parts": path.trim_start_matches('/').split('/').collect::<Vec<_>>(),
            "path": path,
            "raw_query": raw_query,
            "query": query,
            "headers": headers.collect::<BTreeMap<_, _>>(),
            "scheme": self.uri.scheme_str().unwrap_or_default(),
            "body": String::from_utf8_lossy(&self.body),
        }}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(request: http::request::Builder, body: &'static [u8], included: &str) -> serde_json::Value {
        let (head, ()) = request.body(()).unwrap().into_parts();
        let shown = Shown::new(&head, Bytes::from_static(body), &Included::new(included));
        serde_json::to_value(shown.document()).unwrap()
    }

    #[test]
    fn a_request_in_daprs_form() {
        let request = http::Request::post("/v1.0/state/a%20b?x=1&y=2&x=%20&bad;=3")
            .header("x-team", "a")
            .header("x-team", "b")
            .header("x-other", "c")
            .header("host", "h");
        assert_eq!(
            shown(request, b"text\xff", "X-TEAM , host, x-absent, no name,"),
            json!({ "request": {
                "method": "POST",
                "path": "/v1.0/state/a b",
                "path_parts": ["v1.0", "state", "a b"],
                "raw_query": "x=1&y=2&x=%20&bad;=3",
                "query": { "x": ["1", " "], "y": ["2"] },
                "headers": { "X-Team": "a, b" },
                "scheme": "",
                "body": "text\u{fffd}",
            }})
        );
    }

    #[test]
    fn no_spelling_of_a_path_is_another_path() {
        for (said, path, parts) in [
            ("/", "/", vec![""]),
            ("/a//b/", "/a/b", vec!["a", "b"]),
            (
                "//v1.0/%2Fsecrets%2F/s",
                "/v1.0/secrets/s",
                vec!["v1.0", "secrets", "s"],
            ),
        ] {
            let shown = shown(http::Request::get(said), b"", "");
            assert_eq!(
                (&shown["request"]["path"], &shown["request"]["path_parts"]),
                (&json!(path), &json!(parts))
            );
        }
    }
}
