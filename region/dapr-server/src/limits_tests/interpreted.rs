//! Pieces of pipelines that interpret what others wrote, before the API and before the application.
//!
//! Must never be the place for what such a piece can do by itself: that is its driver's to test.

use super::*;

const METHOD: &str = "/v1.0/invoke/orders/method/a";

#[tokio::test]
async fn a_policy_sees_the_body_and_whoever_stands_behind_it_too() {
    let rego = "package http\ndefault allow = { \"status_code\": 402 }\nallow { input.request.body == \"please\" }";
    for before_app in [false, true] {
        let metadata = [("rego", rego), ("readBody", "true")];
        let world = World::behind("middleware.http.opa", &metadata, before_app).await;
        let answer = world.post(METHOD, "please").await;
        assert_eq!(
            (answer.status, &answer.body[..]),
            (StatusCode::OK, &b"6"[..]),
            "{answer:?}"
        );
        let answer = world.post(METHOD, "now").await;
        assert_eq!(
            (answer.status, &answer.body[..]),
            (StatusCode::PAYMENT_REQUIRED, &b"Payment Required"[..])
        );
        // More than a request may have: whoever is the first to see it refuses it in their own words.
        let answer = world.post(METHOD, vec![b'x'; 5 << 20]).await;
        let (status, code) = match before_app {
            false => (StatusCode::BAD_REQUEST, "ERR_BODY_READ"),
            true => (StatusCode::PAYLOAD_TOO_LARGE, "ERR_DIRECT_INVOKE"),
        };
        assert_eq!((answer.status, answer.code()), (status, code.into()), "{answer:?}");
        world.until_free().await;
    }
}

#[tokio::test]
async fn no_spelling_of_a_path_leads_around_a_policy() {
    let rego = "package http\ndefault allow = true\nallow = { \"status_code\": 402 } { input.request.path_parts[1] == \"invoke\" }";
    let world = World::behind("middleware.http.opa", &[("rego", rego)], false).await;
    for (path, status) in [
        (METHOD, StatusCode::PAYMENT_REQUIRED),
        ("/v1.0//invoke/orders/method/a", StatusCode::PAYMENT_REQUIRED),
        ("//v1.0/invoke/orders/method/a/", StatusCode::PAYMENT_REQUIRED),
        ("/a%2Fb%2Fc/../v1.0/invoke/orders/method/a", StatusCode::FORBIDDEN),
        ("/v1.0/x/../invoke/orders/method/a", StatusCode::FORBIDDEN),
        ("/v1.0/nothing", StatusCode::NOT_FOUND),
    ] {
        let answer = world.post(path, "x").await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
}

/// It asks for answers, gives each request the body `guest`, and each answer that body and status 201.
const MODULE: &[u8] =
    b"\x00asm\x01\x00\x00\x00\x01\x19\x05`\x00\x01~`\x02\x7f\x7f\x00`\x01\x7f\x01\x7f`\x03\x7f\x7f\x7f\x00`\x01\
      \x7f\x00\x02Y\x03\x0chttp_handler\x0fenable_features\x00\x02\x0chttp_handler\x0awrite_body\x00\x03\x0chtt\
      p_handler\x0fset_status_code\x00\x04\x03\x03\x02\x00\x01\x05\x03\x01\x00\x01\x07-\x03\x06memory\x02\x00\
      \x0ehandle_request\x00\x03\x0fhandle_response\x00\x04\x0a#\x02\x11\x00A\x02\x10\x00\x1aA\x00A\x00A\x05\
      \x10\x01B\x01\x0b\x0f\x00A\xc9\x01\x10\x02A\x01A\x00A\x05\x10\x01\x0b\x0b\x0b\x01\x00A\x00\x0b\x05guest";

#[tokio::test]
async fn a_module_changes_the_request_and_its_answer() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), MODULE).expect("written");
    let url = format!("file://{}", file.path().display());
    for before_app in [false, true] {
        let world = World::behind("middleware.http.wasm", &[("url", &url)], before_app).await;
        for _ in 0..2 {
            let answer = world.post(METHOD, "whatever the caller says").await;
            assert_eq!(
                (answer.status, &answer.body[..]),
                (StatusCode::CREATED, &b"guest"[..]),
                "{answer:?}"
            );
        }
        world.until_free().await;
    }
}
