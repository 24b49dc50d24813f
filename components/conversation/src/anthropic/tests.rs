//! What goes out and what comes back in Anthropic's form, against a server that stands where its service would be.
//!
//! Must never depend on anything outside of this machine.

use palladium_component::conversation::{Role, Tool, ToolCall, Usage};
use serde_json::json;

use super::*;
use crate::fake_server::{FakeServer, Told, failures, said};

const KEY: &str = "sk-ant-hunter2";

fn anthropic(fields: &[(&str, &str)]) -> Result<Anthropic, OpenError> {
    Anthropic::new(&OpenContext::new("c", "app", fields.iter().copied().collect()))
}

#[tokio::test]
async fn a_conversation_with_a_server_that_speaks_anthropics_form() {
    let told = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "tool_use",
        "content": [
            { "type": "thinking", "thinking": "hm", "signature": "x" },
            { "type": "text", "text": "Let me see." },
            { "type": "tool_use", "id": "toolu_2", "name": "weather", "input": { "city": "Oslo" } },
        ],
        "usage": { "input_tokens": 10, "output_tokens": 4, "cache_read_input_tokens": 6 }
    });
    let server = FakeServer::start([Told::Json(told)]).await;
    let endpoint = format!("{}/v1", server.address);
    let model = anthropic(&[("key", KEY), ("endpoint", &endpoint), ("cacheTTL", "1m")]).unwrap();
    let mut asked_for = said(Role::Assistant, "Wait.");
    asked_for.tool_calls = vec![ToolCall {
        id: "toolu_1".into(),
        name: "weather".into(),
        arguments: r#"{"city":"Rome"}"#.into(),
    }];
    let mut outcome = said(Role::Tool, "sunny");
    outcome.tool_id = "toolu_1".into();
    let mut request = Request {
        messages: vec![
            said(Role::System, "Be kind."),
            said(Role::User, "Rome?"),
            asked_for,
            outcome,
            said(Role::User, "And Oslo?"),
            said(Role::Developer, "Be brief."),
        ],
        tools: vec![Tool {
            name: "weather".into(),
            ..Tool::default()
        }],
        tool_choice: "required".into(),
        temperature: 1.0,
        ..Request::default()
    };
    let answer = model.converse(&request).await.unwrap();
    let asked = server.asked().remove(0);
    assert_eq!(
        (asked.path.as_str(), &asked.headers["x-api-key"]),
        ("/v1/messages", &KEY.parse().unwrap())
    );
    assert_eq!(asked.headers["anthropic-version"], "2023-06-01");
    let expected = json!({
        "model": "claude-sonnet-4-20250514", "max_tokens": 4096, "temperature": 1.0,
        "system": "Be kind.\nBe brief.",
        "messages": [
            { "role": "user", "content": [{ "type": "text", "text": "Rome?" }] },
            { "role": "assistant", "content": [
                { "type": "text", "text": "Wait." },
                { "type": "tool_use", "id": "toolu_1", "name": "weather", "input": { "city": "Rome" } },
            ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny" },
                { "type": "text", "text": "And Oslo?" },
            ] },
        ],
        "tools": [{ "name": "weather", "input_schema": { "type": "object" } }],
        "tool_choice": { "type": "any" },
    });
    assert_eq!(asked.body, expected);
    let choice = &answer.choices[0];
    assert_eq!(
        (choice.content.as_str(), choice.finish_reason.as_str()),
        ("Let me see.", "tool_use")
    );
    assert_eq!(
        (
            choice.tool_calls[0].id.as_str(),
            choice.tool_calls[0].arguments.as_str()
        ),
        ("toolu_2", r#"{"city":"Oslo"}"#)
    );
    let usage = Usage {
        completion: 4,
        prompt: 10,
        total: 14,
        cached: 6,
        ..Usage::default()
    };
    assert_eq!(answer.usage, Some(usage));
    request.context = "c2".into();
    assert_eq!(model.converse(&request).await.unwrap().context, "c2", "from the cache");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn failures_are_told_without_the_key_and_the_conversation() {
    for (failure, expected) in failures(KEY) {
        let server = FakeServer::start([failure]).await;
        let mut model = anthropic(&[("key", KEY), ("endpoint", &server.address)]).unwrap();
        model.service = model.service.impatient();
        let request = Request {
            messages: vec![said(Role::User, "my secret plan")],
            ..Request::default()
        };
        let error = model.converse(&request).await.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
        for secret in ["hunter2", "secret plan", "127.0.0.1"] {
            assert!(!error.contains(secret), "{error}");
        }
    }
}

#[tokio::test]
async fn what_has_no_place_is_refused() {
    palladium_tls::install_crypto_provider();
    let model = anthropic(&[("key", KEY)]).unwrap();
    let formed = Request {
        response_format: r#"{"type":"object"}"#.into(),
        ..Request::default()
    };
    assert!(matches!(model.converse(&formed).await, Err(CallError::NotSupported(_))));
    let mut wrong = said(Role::Assistant, "");
    wrong.tool_calls = vec![ToolCall {
        arguments: "[1]".into(),
        ..ToolCall::default()
    }];
    let wrong = Request {
        messages: vec![wrong],
        ..Request::default()
    };
    assert!(matches!(model.converse(&wrong).await, Err(CallError::Invalid(_))));
    for (fields, named) in [
        (&[][..], "'key'"),
        (&[("key", "k"), ("apiType", "foundry")][..], "'endpoint'"),
        (&[("key", "k"), ("endpoint", "host")][..], "'endpoint'"),
        (&[("key", "k"), ("apiType", "other")][..], "'apiType'"),
    ] {
        let error = anthropic(fields).err().unwrap().to_string();
        assert!(error.contains(named), "{error}");
    }
}
