//! What becomes of a request, by what the policy says.
//!
//! One idea: `true` passes and `false` does not; an object says so in `allow` and adds headers, to the request if it passes
//! and to the answer if not. Must never let a request pass whose policy says something else.

use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use palladium_component::middleware::Verdict;
use regorus::Value;
use serde_json::Value as Json;

use crate::answer;
use crate::framing::is_framing;

/// Says that it was not the policy that decided.
const FAILED: &str = "x-dapr-opa-error";

/// The verdict; the words of an error are for a log.
pub(super) fn verdict(allow: &Value, head: &mut Parts, refused: StatusCode) -> Result<Verdict, String> {
    match allow {
        Value::Undefined => Err("the policy has no result; does it set data.http.allow?".to_owned()),
        Value::Bool(true) => Ok(Verdict::pass()),
        Value::Bool(false) => Ok(refuse(refused)),
        Value::Object(_) => {
            let said = serde_json::to_value(allow).map_err(|_| "its result cannot be read".to_owned())?;
            let said = Said::read(&said, refused)?;
            if said.allows {
                set(&mut head.headers, said.headers);
                return Ok(Verdict::pass());
            }
            let mut verdict = refuse(said.status);
            if let Verdict::Answer(answer) = &mut verdict {
                let headers = answer.headers_mut();
                let kind = headers.remove(CONTENT_TYPE);
                set(headers, said.headers);
                // The answer is a text, whatever the policy says.
                if let Some(kind) = kind {
                    headers.insert(CONTENT_TYPE, kind);
                }
            }
            Ok(verdict)
        }
        _ => Err("its result is neither a truth value nor an object".to_owned()),
    }
}

/// The policy could not decide.
pub(super) fn failed(refused: StatusCode) -> Verdict {
    let mut verdict = refuse(refused);
    if let Verdict::Answer(answer) = &mut verdict {
        answer.headers_mut().insert(FAILED, HeaderValue::from_static("true"));
    }
    verdict
}

/// The status in its own words. One that is no end of a request, or that has no words, is the server's fault.
fn refuse(status: StatusCode) -> Verdict {
    let is_told = !status.is_informational() && status.canonical_reason().is_some();
    answer::refuse(if is_told {
        status
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    })
}

/// Names that say how a message is framed are not the policy's to say.
fn set(headers: &mut HeaderMap, more: Vec<(HeaderName, HeaderValue)>) {
    for (name, value) in more {
        if !is_framing(&name) {
            headers.insert(name, value);
        }
    }
}

/// What an object says.
struct Said {
    allows: bool,
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Said {
    /// As Go reads JSON: names without case, `null` says nothing, a value of another type is an error.
    fn read(object: &Json, refused: StatusCode) -> Result<Self, String> {
        let mut said = Self {
            allows: false,
            status: refused,
            headers: Vec::new(),
        };
        let fields = object.as_object().into_iter().flatten();
        for (name, value) in fields.filter(|(_, value)| !value.is_null()) {
            let wrong = || format!("'{name}' of its result cannot be read");
            if name.eq_ignore_ascii_case("allow") {
                said.allows = value.as_bool().ok_or_else(wrong)?;
            } else if name.eq_ignore_ascii_case("status_code") {
                let status = value.as_i64().ok_or_else(wrong)?;
                let status = u16::try_from(status)
                    .ok()
                    .and_then(|status| StatusCode::from_u16(status).ok());
                said.status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            } else if name.eq_ignore_ascii_case("additional_headers") {
                for (name, value) in value.as_object().ok_or_else(wrong)? {
                    let name = HeaderName::try_from(name.as_str()).map_err(|_| wrong())?;
                    let value = value.as_str().and_then(|value| HeaderValue::try_from(value).ok());
                    said.headers.push((name, value.ok_or_else(wrong)?));
                }
            }
        }
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it passes with these headers, or the status and headers of the answer; `None` = no decision.
    fn decided(allow: &str) -> Option<(u16, HeaderMap)> {
        let (mut head, ()) = http::Request::new(()).into_parts();
        let allow = Value::from_json_str(allow).unwrap();
        match verdict(&allow, &mut head, StatusCode::FORBIDDEN).ok()? {
            Verdict::Answer(answer) => Some((answer.status().as_u16(), answer.headers().clone())),
            _ => Some((0, head.headers)),
        }
    }

    #[test]
    fn what_a_policy_says_is_done() {
        for (allow, status) in [
            ("true", 0),
            ("false", 403),
            (r#"{}"#, 403),
            (r#"{"allow":true,"status_code":500}"#, 0),
            (r#"{"ALLOW":true}"#, 0),
            (r#"{"allow":null}"#, 403),
            (r#"{"status_code":301}"#, 301),
            (r#"{"status_code":100}"#, 500),
            (r#"{"status_code":999}"#, 500),
            (r#"{"status_code":-1}"#, 500),
        ] {
            assert_eq!(decided(allow).map(|decided| decided.0), Some(status), "{allow}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_decision() {
        for allow in [
            "1",
            "null",
            "[true]",
            "\"true\"",
            r#"{"allow":"true"}"#,
            r#"{"allow":true,"status_code":"403"}"#,
            r#"{"allow":true,"status_code":1.5}"#,
            r#"{"allow":true,"additional_headers":{"a":1}}"#,
            r#"{"allow":true,"additional_headers":{"a b":"1"}}"#,
            r#"{"allow":true,"additional_headers":{"a":"1\n"}}"#,
            r#"{"allow":true,"additional_headers":[]}"#,
        ] {
            assert!(decided(allow).is_none(), "{allow}");
        }
        assert!(
            verdict(
                &Value::Undefined,
                &mut http::Request::new(()).into_parts().0,
                StatusCode::FORBIDDEN
            )
            .is_err()
        );
    }

    #[test]
    fn headers_go_on_with_the_request_or_back_with_the_answer() {
        let headers =
            r#""additional_headers":{"location":"https://h/","content-length":"7","Content-Type":"text/html"}"#;
        let (_, on) = decided(&format!(r#"{{"allow":true,{headers}}}"#)).unwrap();
        assert_eq!(
            (on["location"].to_str().unwrap(), on.get("content-length")),
            ("https://h/", None)
        );
        let (status, back) = decided(&format!(r#"{{"status_code":302,{headers}}}"#)).unwrap();
        assert_eq!((status, back["location"].to_str().unwrap()), (302, "https://h/"));
        assert_eq!(back["content-type"], "text/plain; charset=utf-8");
        let Verdict::Answer(failed) = failed(StatusCode::FORBIDDEN) else {
            panic!("it passes")
        };
        assert_eq!(
            (failed.status().as_u16(), &failed.headers()[FAILED]),
            (403, &HeaderValue::from_static("true"))
        );
    }
}
