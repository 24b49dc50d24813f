//! Modules written by hand, against every function of the interface.
//!
//! Must never need a compiler of modules from outside.

mod from;
mod hostile;
mod logs;
mod system;

use std::io::Write as _;

use http::HeaderMap;
use palladium_component::Properties;

use super::*;

/// Everything that the interface has, and a page of memory.
const IMPORTS: &str = r#"
(import "http_handler" "enable_features" (func $enable_features (param i32) (result i32)))
(import "http_handler" "get_config" (func $get_config (param i32 i32) (result i32)))
(import "http_handler" "log_enabled" (func $log_enabled (param i32) (result i32)))
(import "http_handler" "log" (func $log (param i32 i32 i32)))
(import "http_handler" "get_method" (func $get_method (param i32 i32) (result i32)))
(import "http_handler" "set_method" (func $set_method (param i32 i32)))
(import "http_handler" "get_uri" (func $get_uri (param i32 i32) (result i32)))
(import "http_handler" "set_uri" (func $set_uri (param i32 i32)))
(import "http_handler" "get_protocol_version" (func $get_protocol_version (param i32 i32) (result i32)))
(import "http_handler" "get_source_addr" (func $get_source_addr (param i32 i32) (result i32)))
(import "http_handler" "get_header_names" (func $get_header_names (param i32 i32 i32) (result i64)))
(import "http_handler" "get_header_values" (func $get_header_values (param i32 i32 i32 i32 i32) (result i64)))
(import "http_handler" "set_header_value" (func $set_header_value (param i32 i32 i32 i32 i32)))
(import "http_handler" "add_header_value" (func $add_header_value (param i32 i32 i32 i32 i32)))
(import "http_handler" "remove_header" (func $remove_header (param i32 i32 i32)))
(import "http_handler" "read_body" (func $read_body (param i32 i32 i32) (result i64)))
(import "http_handler" "write_body" (func $write_body (param i32 i32 i32)))
(import "http_handler" "get_status_code" (func $get_status_code (result i32)))
(import "http_handler" "set_status_code" (func $set_status_code (param i32)))
"#;
const NOTHING_BACK: &str = r#"(func (export "handle_response") (param i32 i32))"#;
const GOES_ON: &str = r#"(func (export "handle_request") (result i64) (i64.const 1))"#;

/// A module with the whole interface.
fn module(text: &str) -> String {
    format!("(module {IMPORTS} (memory (export \"memory\") 1) {text})")
}

/// One whose request does this and is then answered with what it has written.
fn asking(text: &str) -> String {
    module(&format!(
        r#"(func (export "handle_request") (result i64) {text} (i64.const 0)) {NOTHING_BACK}"#
    ))
}

async fn opened(text: &str, more: &[(&str, &str)]) -> Result<Arc<dyn Middleware>, OpenError> {
    let code = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&code).unwrap();
    let url = format!("file://{}", file.path().display());
    let mut properties = vec![("url", url.as_str())];
    properties.extend(more);
    let properties: Properties = properties.into_iter().collect();
    open(OpenContext::new("module", "app", properties)).await
}

fn request() -> Parts {
    let request = http::Request::post("/a%20b?q=1")
        .header("x-b", "3")
        .header("x-a", "1")
        .header("X-A", "2");
    request.body(()).unwrap().into_parts().0
}

async fn judged(piece: &Arc<dyn Middleware>, head: &mut Parts, body: &mut Bytes) -> Result<Verdict, CallError> {
    if piece.reads() {
        piece.judge_whole(head, body).await
    } else {
        piece.judge(head).await
    }
}

/// Its own answer to a request with the body `body`.
async fn told(text: &str, more: &[(&str, &str)]) -> Response<Bytes> {
    let piece = opened(text, more).await.unwrap_or_else(|error| panic!("{error}"));
    match judged(&piece, &mut request(), &mut Bytes::from_static(b"body")).await {
        Ok(Verdict::Answer(answer)) => answer,
        other => panic!("{text}: {other:?}"),
    }
}

fn passed(verdict: Result<Verdict, CallError>) -> (HeaderMap, Box<dyn Revise>) {
    match verdict {
        Ok(Verdict::Revise(headers, revise)) => (headers, revise),
        other => panic!("{other:?}"),
    }
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect()
}

#[tokio::test]
async fn all_that_is_to_be_seen_of_a_request() {
    // Each is written into the answer, with the sign at 0 behind it.
    let each = |what: &str| {
        format!(
            "(call $write_body (i32.const 1) (i32.const 1024) {what}) (call $write_body (i32.const 1) (i32.const 0) (i32.const 1))"
        )
    };
    let text = [
        each("(call $get_method (i32.const 1024) (i32.const 99))"),
        each("(call $get_uri (i32.const 1024) (i32.const 99))"),
        each("(call $get_protocol_version (i32.const 1024) (i32.const 99))"),
        each("(call $get_source_addr (i32.const 1024) (i32.const 99))"),
        each("(call $get_config (i32.const 1024) (i32.const 99))"),
        each("(i32.wrap_i64 (call $get_header_names (i32.const 0) (i32.const 1024) (i32.const 99)))"),
        each("(i32.wrap_i64 (call $get_header_values (i32.const 0) (i32.const 1) (i32.const 3) (i32.const 1024) (i32.const 99)))"),
        each("(i32.wrap_i64 (call $get_header_names (i32.const 3) (i32.const 1024) (i32.const 99)))"),
        each("(i32.wrap_i64 (call $read_body (i32.const 0) (i32.const 1024) (i32.const 99)))"),
        "(call $set_status_code (i32.add (call $get_status_code) (i32.const 2)))".to_owned(),
    ]
    .concat();
    let data = "(data (i32.const 0) \"|X-a\")";
    let answer = told(
        &asking(&text).replace("(memory", &format!("{data} (memory")),
        &[("guestConfig", "{\"a\":1}")],
    )
    .await;
    assert_eq!(answer.status(), 202);
    let body = std::str::from_utf8(answer.body()).unwrap();
    assert_eq!(body, "POST|/a%20b?q=1|HTTP/1.1||{\"a\":1}|x-a\0x-b\0|1\u{0}2\0||body|");
}

#[tokio::test]
async fn what_has_no_room_is_only_counted() {
    for (what, expected) in [
        (
            "(i64.extend_i32_u (call $get_method (i32.const 1024) (i32.const 3)))",
            4,
        ),
        (
            "(call $get_header_names (i32.const 0) (i32.const 1024) (i32.const 7))",
            2 << 32 | 8,
        ),
        (
            "(call $get_header_names (i32.const 1) (i32.const 1024) (i32.const 7))",
            0,
        ),
        // Two of four bytes, then the end of them; a full buffer is no end yet.
        ("(call $read_body (i32.const 0) (i32.const 1024) (i32.const 2))", 2),
        (
            "(block (result i64) (drop (call $read_body (i32.const 0) (i32.const 1024) (i32.const 4))) (call $read_body (i32.const 0) (i32.const 1024) (i32.const 4)))",
            1 << 32,
        ),
        (
            "(call $read_body (i32.const 0) (i32.const 1024) (i32.const 5))",
            1 << 32 | 4,
        ),
        ("(i64.extend_i32_u (call $enable_features (i32.const 7)))", 3),
        ("(i64.extend_i32_u (call $log_enabled (i32.const 3)))", 0),
    ] {
        let text =
            format!("(i64.store (i32.const 0) {what}) (call $write_body (i32.const 1) (i32.const 0) (i32.const 8))");
        let answer = told(&asking(&text), &[]).await;
        assert_eq!(answer.body()[..], i64::to_le_bytes(expected), "{what}");
    }
}

#[tokio::test]
async fn a_request_goes_on_as_it_was_changed_and_so_does_its_answer() {
    let text = module(
        r#"(data (i32.const 0) "PUT/new?yx-awvfreshx-earlyx-late!")
        (func (export "_start") (drop (call $enable_features (i32.const 2))))
        (func (export "handle_request") (result i64)
          (call $log (i32.const 0) (i32.const 0) (i32.const 3))
          (call $set_method (i32.const 0) (i32.const 3))
          (call $set_uri (i32.const 3) (i32.const 6))
          (call $set_header_value (i32.const 0) (i32.const 9) (i32.const 3) (i32.const 12) (i32.const 1))
          (call $add_header_value (i32.const 0) (i32.const 9) (i32.const 3) (i32.const 13) (i32.const 1))
          (call $set_header_value (i32.const 1) (i32.const 19) (i32.const 7) (i32.const 12) (i32.const 1))
          (call $write_body (i32.const 0) (i32.const 14) (i32.const 2))
          (call $write_body (i32.const 0) (i32.const 16) (i32.const 3))
          (i64.const 0x700000001))
        (func (export "handle_response") (param $context i32) (param $failed i32)
          (if (i32.ne (local.get $context) (i32.const 7)) (then unreachable))
          (if (local.get $failed) (then unreachable))
          (call $set_status_code (i32.add (call $get_status_code) (i32.const 3)))
          (call $add_header_value (i32.const 1) (i32.const 26) (i32.const 6) (i32.const 12) (i32.const 1))
          (call $remove_header (i32.const 1) (i32.const 9) (i32.const 3))
          (call $write_body (i32.const 1) (i32.const 1024)
            (i32.wrap_i64 (call $read_body (i32.const 1) (i32.const 1024) (i32.const 99))))
          (call $write_body (i32.const 1) (i32.const 32) (i32.const 1)))"#,
    );
    let piece = opened(&text, &[]).await.unwrap();
    // Twice, because an instance is used again.
    for _ in 0..2 {
        let (mut head, mut body) = (request(), Bytes::from_static(b"body"));
        let (headers, revise) = passed(judged(&piece, &mut head, &mut body).await);
        assert_eq!(
            (head.method.as_str(), head.uri.to_string().as_str(), &body[..]),
            ("PUT", "/new?y", &b"fresh"[..])
        );
        assert_eq!(
            (values(&head.headers, "x-a"), values(&head.headers, "x-b")),
            (vec!["w", "v"], vec!["3"])
        );
        assert_eq!((values(&headers, "x-early"), revise.changes()), (vec!["w"], true));
        let mut answer = Response::new(Bytes::from_static(b"answer"));
        answer.headers_mut().insert("x-a", "gone".parse().unwrap());
        let answer = revise.revise(answer).await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (203, &b"answer!"[..]));
        assert_eq!(
            (values(answer.headers(), "x-late"), values(answer.headers(), "x-a")),
            (vec!["w"], vec![])
        );
    }
}

#[tokio::test]
async fn what_was_read_of_a_body_is_gone_unless_it_is_kept() {
    for (feature, rest) in [(0, "dy"), (1, "body")] {
        let text = module(&format!(
            r#"(func (export "handle_request") (result i64)
              (drop (call $enable_features (i32.const {feature})))
              (drop (call $read_body (i32.const 0) (i32.const 0) (i32.const 2))) (i64.const 1)) {NOTHING_BACK}"#
        ));
        let piece = opened(&text, &[]).await.unwrap();
        let mut body = Bytes::from_static(b"body");
        let (_, revise) = passed(judged(&piece, &mut request(), &mut body).await);
        assert_eq!((&body[..], revise.changes()), (rest.as_bytes(), false));
    }
}

#[tokio::test]
async fn a_module_that_has_nothing_to_do_with_bodies_leaves_them_alone() {
    let text = format!("(module (memory (export \"memory\") 1) {GOES_ON} {NOTHING_BACK})");
    let piece = opened(&text, &[]).await.unwrap();
    assert!(!piece.reads());
    let (_, revise) = passed(judged(&piece, &mut request(), &mut Bytes::new()).await);
    assert!(!revise.changes());
    assert!(revise.revise(Response::new(Bytes::new())).await.is_ok());
}

#[tokio::test]
async fn what_comes_too_late_breaks_off() {
    for text in [
        "(call $set_method (i32.const 0) (i32.const 1))",
        "(call $set_uri (i32.const 0) (i32.const 0))",
        "(call $set_header_value (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1))",
        "(call $remove_header (i32.const 0) (i32.const 0) (i32.const 1))",
        "(call $write_body (i32.const 0) (i32.const 0) (i32.const 1))",
        "(drop (call $read_body (i32.const 0) (i32.const 0) (i32.const 1)))",
        // Without the feature an answer is only looked at.
        "(call $set_status_code (i32.const 201))",
        "(call $add_header_value (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1))",
        "(call $write_body (i32.const 1) (i32.const 0) (i32.const 1))",
        "(drop (call $read_body (i32.const 1) (i32.const 0) (i32.const 1)))",
    ] {
        let text = module(&format!(
            r#"(data (i32.const 0) "x") {GOES_ON} (func (export "handle_response") (param i32 i32) {text})"#
        ));
        let piece = opened(&text, &[]).await.unwrap();
        let (_, revise) = passed(judged(&piece, &mut request(), &mut Bytes::new()).await);
        let error = revise.revise(Response::new(Bytes::new())).await.expect_err(&text);
        assert!(error.to_string().contains("after next handler"), "{text}: {error}");
    }
}
