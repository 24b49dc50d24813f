//! Modules that mean harm.
//!
//! Must never take longer than a few calls may.

use super::*;

async fn broken(text: &str) -> String {
    let piece = opened(&asking(text), &[])
        .await
        .unwrap_or_else(|error| panic!("{text}: {error}"));
    let judged = judged(&piece, &mut request(), &mut Bytes::from_static(b"body")).await;
    judged.err().unwrap_or_else(|| panic!("{text}")).to_string()
}

#[tokio::test]
async fn endless_work_ends() {
    for text in [
        "(loop (br 0))",
        "(loop (drop (call $get_method (i32.const 0) (i32.const 9))) (br 0))",
        "(loop (call $log (i32.const 2) (i32.const 0) (i32.const 65536)) (br 0))",
        "(loop (call $write_body (i32.const 1) (i32.const 0) (i32.const 0)) (br 0))",
    ] {
        let error = broken(text).await;
        assert!(error.contains("too many steps"), "{text}: {error}");
    }
    let text = module(&format!(
        "(func $again (call $again)) (start $again) {GOES_ON} {NOTHING_BACK}"
    ));
    let error = opened(&text, &[]).await.err().unwrap().to_string();
    assert!(error.contains("cannot be started"), "{error}");
    let text = module(&format!(
        r#"(func (export "_start") (loop (br 0))) {GOES_ON} {NOTHING_BACK}"#
    ));
    let error = opened(&text, &[]).await.err().unwrap().to_string();
    assert!(error.contains("too many steps"), "{error}");
}

#[tokio::test]
async fn no_pointer_leads_out_of_the_memory() {
    // Beyond the end, across it, and around the end of all numbers.
    for at in ["65536", "65535", "-1", "0x7fffffff"] {
        for text in [
            "(drop (call $get_config (i32.const AT) (i32.const 99)))",
            "(drop (call $get_method (i32.const AT) (i32.const 99)))",
            "(call $set_method (i32.const AT) (i32.const 2))",
            "(drop (call $get_uri (i32.const AT) (i32.const 99)))",
            "(call $set_uri (i32.const AT) (i32.const 2))",
            "(drop (call $get_protocol_version (i32.const AT) (i32.const 99)))",
            "(drop (call $get_header_names (i32.const 0) (i32.const AT) (i32.const 99)))",
            "(drop (call $get_header_values (i32.const 0) (i32.const AT) (i32.const 3) (i32.const 0) (i32.const 99)))",
            "(call $set_header_value (i32.const 0) (i32.const AT) (i32.const 2) (i32.const 0) (i32.const 1))",
            "(call $set_header_value (i32.const 0) (i32.const 0) (i32.const 1) (i32.const AT) (i32.const 2))",
            "(call $add_header_value (i32.const 1) (i32.const AT) (i32.const 2) (i32.const 0) (i32.const 1))",
            "(call $remove_header (i32.const 0) (i32.const AT) (i32.const 2))",
            "(drop (call $read_body (i32.const 0) (i32.const AT) (i32.const 99)))",
            "(call $write_body (i32.const 1) (i32.const AT) (i32.const 2))",
            "(call $write_body (i32.const 1) (i32.const 1) (i32.const AT))",
        ] {
            let text = text.replace("AT", at);
            if text.contains("(i32.const 1) (i32.const 1) (i32.const 65535)") {
                continue; // That is the memory to its end.
            }
            let piece = opened(&asking(&text), &[("guestConfig", "ab")]).await.unwrap();
            let error = judged(&piece, &mut request(), &mut Bytes::from_static(b"body"))
                .await
                .err();
            let error = error.unwrap_or_else(|| panic!("{text}")).to_string();
            assert!(
                error.contains("out of bounds") || error.contains("too many steps"),
                "{text}: {error}"
            );
        }
    }
}

#[tokio::test]
async fn memory_has_an_end() {
    let text = "(i32.store (i32.const 0) (memory.grow (i32.const 5000))) (call $write_body (i32.const 1) (i32.const 0) (i32.const 4))";
    assert_eq!(
        told(&asking(text), &[]).await.body()[..],
        (-1_i32).to_le_bytes(),
        "refused in the module"
    );
    let text = "(i32.store (i32.const 0) (memory.grow (i32.const 500))) (call $write_body (i32.const 1) (i32.const 0) (i32.const 4))";
    assert_eq!(told(&asking(text), &[]).await.body()[..], 1_i32.to_le_bytes());
    for (text, reason) in [
        (
            format!("(module (memory (export \"memory\") 2000) {GOES_ON} {NOTHING_BACK})"),
            "cannot be started",
        ),
        (
            format!("(module (memory (export \"memory\") 1) (table 900000 funcref) {GOES_ON} {NOTHING_BACK})"),
            "cannot be started",
        ),
        (
            format!("(module (memory (export \"memory\") 1) (memory 1) {GOES_ON} {NOTHING_BACK})"),
            "url",
        ),
    ] {
        let error = opened(&text, &[])
            .await
            .err()
            .unwrap_or_else(|| panic!("{text}"))
            .to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
    // All instances together: each holds most of what one may have until its answer is there.
    let text = module(&format!(
        r#"(func (export "handle_request") (result i64)
          (if (i32.eq (memory.grow (i32.const 1000)) (i32.const -1)) (then unreachable)) (i64.const 1)) {NOTHING_BACK}"#
    ));
    let piece = opened(&text, &[]).await.unwrap();
    let mut held = Vec::new();
    let refused = loop {
        assert!(held.len() < 10, "there is no end");
        match judged(&piece, &mut request(), &mut Bytes::new()).await {
            Ok(verdict) => held.push(verdict),
            Err(error) => break error,
        }
    };
    assert!(!held.is_empty(), "{refused}");
    drop(held);
    assert!(
        judged(&piece, &mut request(), &mut Bytes::new()).await.is_ok(),
        "given back"
    );
}

#[tokio::test]
async fn idle_instances_leave_room_for_those_of_other_modules() {
    let with = |pages: u32| format!("(module (memory (export \"memory\") {pages}) {GOES_ON} {NOTHING_BACK})");
    // 15 times 16 MiB are held at a time.
    let first = opened(&with(256), &[]).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..15 {
        held.push(passed(judged(&first, &mut request(), &mut Bytes::new()).await).1);
    }
    for back in held {
        back.revise(Response::new(Bytes::new())).await.unwrap();
    }
    // 60 MiB.
    let second = opened(&with(960), &[]).await.unwrap_or_else(|error| panic!("{error}"));
    passed(judged(&second, &mut request(), &mut Bytes::new()).await);
}

#[tokio::test]
async fn a_message_has_room_for_so_much() {
    let more = "(local $i i32) (loop (call $add_header_value (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const LENGTH)) \
                (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if 0 (i32.lt_u (local.get $i) (i32.const 100000))))";
    let fill = |length: &str| {
        let letters = format!("(data (i32.const 0) \"{}\")", "x".repeat(60000));
        asking(&more.replace("LENGTH", length)).replace("(memory", &format!("{letters} (memory"))
    };
    for (text, reason) in [
        (fill("1"), "no room for so many headers"),
        (fill("50000"), "no room for so many headers"),
        (
            asking("(loop (call $write_body (i32.const 1) (i32.const 0) (i32.const 65536)) (br 0))"),
            "no room for so many bytes",
        ),
    ] {
        let piece = opened(&text, &[]).await.unwrap();
        let error = judged(&piece, &mut request(), &mut Bytes::new())
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[tokio::test]
async fn nonsense_breaks_off() {
    for (text, reason) in [
        (
            "(drop (call $read_body (i32.const 0) (i32.const 0) (i32.const 0)))",
            "buf_limit==0",
        ),
        (
            "(drop (call $read_body (i32.const 2) (i32.const 0) (i32.const 1)))",
            "unsupported body kind",
        ),
        (
            "(call $write_body (i32.const -1) (i32.const 0) (i32.const 1))",
            "unsupported body kind",
        ),
        (
            "(drop (call $get_header_names (i32.const 4) (i32.const 0) (i32.const 1)))",
            "unsupported header kind",
        ),
        (
            "(call $set_header_value (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1))",
            "trailers",
        ),
        (
            "(call $set_header_value (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1))",
            "no header's name",
        ),
        (
            "(call $set_header_value (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1))",
            "no header's",
        ),
        (
            "(drop (call $get_header_values (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1)))",
            "no header's name",
        ),
        ("(call $set_method (i32.const 0) (i32.const 0))", "no method"),
        ("(call $set_uri (i32.const 0) (i32.const 1))", "no path"),
        ("(call $set_status_code (i32.const 100))", "no status"),
        ("(call $set_status_code (i32.const -1))", "no status"),
        ("unreachable", "unreachable"),
    ] {
        let error = broken(text).await;
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[tokio::test]
async fn how_a_message_is_framed_is_not_for_a_module_to_say() {
    let text = module(&format!(
        r#"(data (i32.const 0) "content-length9hosttransfer-encoding")
        (func (export "handle_request") (result i64)
          (call $set_header_value (i32.const 0) (i32.const 0) (i32.const 14) (i32.const 14) (i32.const 1))
          (call $remove_header (i32.const 0) (i32.const 15) (i32.const 4))
          (call $add_header_value (i32.const 0) (i32.const 19) (i32.const 17) (i32.const 14) (i32.const 1))
          (i64.const 1)) {NOTHING_BACK}"#
    ));
    let piece = opened(&text, &[]).await.unwrap();
    let mut head = request();
    head.headers.insert("host", "h".parse().unwrap());
    passed(judged(&piece, &mut head, &mut Bytes::new()).await);
    assert_eq!((values(&head.headers, "host"), head.headers.len()), (vec!["h"], 4));
}

#[tokio::test]
async fn an_instance_is_used_again_unless_it_broke_off() {
    // It counts its requests, answers with the number, and breaks off at the third.
    let text = asking(
        "(i32.store8 (i32.const 0) (i32.add (i32.load8_u (i32.const 0)) (i32.const 1)))\
         (if (i32.eq (i32.load8_u (i32.const 0)) (i32.const 3)) (then unreachable))\
         (call $write_body (i32.const 1) (i32.const 0) (i32.const 1))",
    );
    let piece = opened(&text, &[]).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push(match judged(&piece, &mut request(), &mut Bytes::new()).await {
            Ok(Verdict::Answer(answer)) => answer.body()[0],
            _ => 0,
        });
    }
    assert_eq!(seen, [1, 2, 0, 1, 2]);
}
