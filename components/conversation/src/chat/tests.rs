//! What goes out and what comes back in OpenAI's form, against a server that stands where a model's service would be.
//!
//! Must never depend on anything outside of this machine.

use palladium_component::conversation::{Role, Tool, ToolCall, Usage};
use serde_json::{Value, json};

use super::*;
use crate::fake_server::{FakeServer, Told, failures, said};
use crate::{deepseek, mistral, ollama, openai};

const KEY: &str = "sk-hunter2";

async fn opened(flavour: &'static Flavour, fields: &[(&str, &str)]) -> Result<Arc<dyn Conversation>, OpenError> {
    open(OpenContext::new("c", "app", fields.iter().copied().collect()), flavour).await
}

fn told() -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-5-nano-2025-08-07",
        "choices": [{ "index": 0, "finish_reason": "stop", "message": { "role": "assistant", "content": "Hello." } }],
        "usage": {
            "prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12,
            "prompt_tokens_details": { "cached_tokens": 2, "audio_tokens": 0 },
            "completion_tokens_details": { "reasoning_tokens": 3 }
        }
    })
}

fn ask(messages: Vec<palladium_component::conversation::Message>) -> Request {
    Request {
        messages,
        ..Request::default()
    }
}

#[tokio::test]
async fn a_conversation_with_a_server_that_speaks_openais_form() {
    let server = FakeServer::start([Told::Json(told())]).await;
    let endpoint = format!("{}/v1/", server.address);
    let chat = opened(&openai::OPENAI, &[("key", KEY), ("endpoint", &endpoint)])
        .await
        .unwrap();
    let mut asked_for = said(Role::Assistant, "");
    asked_for.content.clear();
    asked_for.tool_calls = vec![ToolCall {
        id: "call_1".into(),
        name: "weather".into(),
        arguments: r#"{"city":"Rome"}"#.into(),
    }];
    let mut outcome = said(Role::Tool, "sunny");
    outcome.tool_id = "call_1".into();
    let mut question = said(Role::User, "What is");
    question.content.push("the weather?".into());
    let request = Request {
        tools: vec![Tool {
            name: "weather".into(),
            description: "Tells it.".into(),
            parameters: r#"{"type":"object","properties":{"city":{"type":"string"}}}"#.into(),
        }],
        tool_choice: "weather".into(),
        temperature: 0.5,
        response_format: r#"{"name":"report","strict":true,"type":"object","properties":{}}"#.into(),
        context: "c1".into(),
        metadata: [("who".to_owned(), "me".to_owned())].into(),
        ..ask(vec![
            said(Role::Developer, "d"),
            said(Role::System, "s"),
            question,
            asked_for,
            outcome,
        ])
    };
    let answer = chat.converse(&request).await.unwrap();
    let asked = server.asked().remove(0);
    assert_eq!(
        (asked.path.as_str(), &asked.headers["authorization"]),
        ("/v1/chat/completions", &format!("Bearer {KEY}").parse().unwrap())
    );
    assert_eq!(asked.headers["content-type"], "application/json");
    let expected = json!({
        "model": "gpt-5-nano",
        "messages": [
            { "role": "developer", "content": "d" },
            { "role": "system", "content": "s" },
            { "role": "user", "content": "What is\nthe weather?" },
            { "role": "assistant", "content": null, "tool_calls": [
                { "id": "call_1", "type": "function", "function": { "name": "weather", "arguments": "{\"city\":\"Rome\"}" } }
            ] },
            { "role": "tool", "content": "sunny", "tool_call_id": "call_1" },
        ],
        "temperature": 0.5,
        "tools": [{ "type": "function", "function": {
            "name": "weather", "description": "Tells it.",
            "parameters": { "type": "object", "properties": { "city": { "type": "string" } } }
        } }],
        "tool_choice": { "type": "function", "function": { "name": "weather" } },
        "response_format": { "type": "json_schema", "json_schema": {
            "name": "report", "strict": true, "schema": { "type": "object", "properties": {} }
        } },
        "metadata": { "who": "me" },
    });
    assert_eq!(asked.body, expected);
    let choice = &answer.choices[0];
    assert_eq!(
        (choice.content.as_str(), choice.finish_reason.as_str()),
        ("Hello.", "stop")
    );
    assert_eq!((answer.model.as_str(), answer.context.as_str()), ("gpt-5-nano", "c1"));
    let usage = Usage {
        completion: 7,
        prompt: 5,
        total: 12,
        reasoning: 3,
        cached: 2,
        ..Usage::default()
    };
    assert_eq!(answer.usage, Some(usage));
}

#[tokio::test]
async fn tool_calls_and_answers_of_services_that_differ() {
    let message = json!({ "role": "assistant", "content": null, "tool_calls": [
        { "id": "1", "type": "function", "function": { "name": "a", "arguments": "{}" } },
        { "function": { "name": "b", "arguments": { "x": 1 } } },
    ] });
    let pieces = json!([{ "type": "text", "text": "one " }, { "type": "text", "text": "two" }]);
    let server = FakeServer::start([
        Told::Json(json!({ "choices": [{ "finish_reason": "tool_calls", "message": message }] })),
        Told::Json(json!({ "choices": [{ "message": { "content": pieces } }] })),
        Told::Json(json!({ "choices": [{ "message": { "content": "" } }] })),
        Told::Json(json!({ "choices": [] })),
    ])
    .await;
    let endpoint = server.address.as_str();
    let chat = opened(
        &ollama::OLLAMA,
        &[("endpoint", endpoint), ("model", "m"), ("maxTokens", "9")],
    )
    .await
    .unwrap();
    let request = Request {
        tools: vec![Tool {
            name: "a".into(),
            ..Tool::default()
        }],
        tool_choice: "required".into(),
        ..ask(vec![said(Role::Developer, "d")])
    };
    let answer = chat.converse(&request).await.unwrap();
    let calls: Vec<(&str, &str, &str)> = answer.choices[0]
        .tool_calls
        .iter()
        .map(|call| (&*call.id, &*call.name, &*call.arguments))
        .collect();
    assert_eq!(calls, [("1", "a", "{}"), ("", "b", r#"{"x":1}"#)]);
    assert!(answer.usage.is_none() && answer.choices[0].content.is_empty());
    let expected = json!({
        "model": "m", "max_tokens": 9, "tool_choice": "required",
        "messages": [{ "role": "system", "content": "d" }],
        "tools": [{ "type": "function", "function": { "name": "a" } }],
    });
    assert_eq!(server.asked()[0].body, expected);
    let answer = chat.converse(&request).await.unwrap();
    assert_eq!(
        (
            answer.choices[0].content.as_str(),
            answer.choices[0].finish_reason.as_str()
        ),
        ("one two", "unknown")
    );
    let error = chat.converse(&request).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "LLM returned empty response with no tool calls despite 1 tools being available"
    );
    let error = chat.converse(&request).await.unwrap_err().to_string();
    assert_eq!(error, "the model answered nothing");
}

#[tokio::test]
async fn failures_are_told_without_the_key_and_the_conversation() {
    for (failure, expected) in failures(KEY) {
        let server = FakeServer::start([failure]).await;
        let chat = Chat::impatient(&[("key", KEY), ("endpoint", &server.address)], &openai::OPENAI);
        let error = chat
            .converse(&ask(vec![said(Role::User, "my secret plan")]))
            .await
            .unwrap_err();
        let is_permanent = matches!(error, CallError::Invalid(_));
        assert_eq!(is_permanent, expected.contains("401"), "{error}");
        let error = error.to_string();
        assert!(error.starts_with(expected), "{error}");
        for secret in ["hunter2", "secret plan", "127.0.0.1"] {
            assert!(!error.contains(secret), "{error}");
        }
    }
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer_for_a_while() {
    let server = FakeServer::start([
        Told::Text(500, &[], String::new()),
        Told::Json(told()),
        Told::Json(told()),
    ])
    .await;
    let fields = [("key", KEY), ("endpoint", server.address.as_str()), ("cacheTTL", "10m")];
    let chat = opened(&deepseek::DEEPSEEK, &fields).await.unwrap();
    let mut request = ask(vec![said(Role::User, "a")]);
    assert!(chat.converse(&request).await.is_err());
    assert!(chat.converse(&request).await.is_ok(), "a failure is not kept");
    request.context = "c2".into();
    let again = chat.converse(&request).await.unwrap();
    assert_eq!(
        (again.choices[0].content.as_str(), again.context.as_str()),
        ("Hello.", "c2")
    );
    assert_eq!(server.asked().len(), 2);
    request.temperature = 1.0;
    chat.converse(&request).await.unwrap();
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn azures_form() {
    let server = FakeServer::start([Told::Json(told())]).await;
    let fields = [
        ("key", KEY),
        ("endpoint", server.address.as_str()),
        ("apiType", "Azure"),
        ("apiVersion", "2025-01-01-preview"),
        ("model", "my model"),
    ];
    let chat = opened(&openai::OPENAI, &fields).await.unwrap();
    chat.converse(&ask(vec![said(Role::User, "a")])).await.unwrap();
    let asked = server.asked().remove(0);
    let path = "/openai/deployments/my%20model/chat/completions?api-version=2025-01-01-preview";
    assert_eq!(
        (asked.path.as_str(), &asked.headers["api-key"]),
        (path, &KEY.parse().unwrap())
    );
    assert!(!asked.headers.contains_key("authorization"));
    for missing in ["endpoint", "apiVersion"] {
        let fields: Vec<_> = fields.into_iter().filter(|(name, _)| *name != missing).collect();
        let error = opened(&openai::OPENAI, &fields).await.err().unwrap().to_string();
        assert!(error.contains(&format!("'{missing}'")), "{error}");
    }
}

#[tokio::test]
async fn what_a_component_must_say() {
    palladium_tls::install_crypto_provider();
    let error = async |flavour, fields: &[(&str, &str)]| opened(flavour, fields).await.err().unwrap().to_string();
    assert!(error(&mistral::MISTRAL, &[]).await.contains("'key'"));
    assert!(error(&mistral::MISTRAL, &[("key", "")]).await.contains("'key'"));
    let told = error(&mistral::MISTRAL, &[("key", "hunter2\n3")]).await;
    assert!(told.contains("'key'") && !told.contains("hunter2"), "{told}");
    assert!(
        error(&openai::OPENAI, &[("key", "k"), ("endpoint", "host")])
            .await
            .contains("'endpoint'")
    );
    assert!(
        error(&openai::OPENAI, &[("key", "k"), ("apiType", "other")])
            .await
            .contains("'apiType'")
    );
    assert!(opened(&ollama::OLLAMA, &[]).await.is_ok());
    let context = OpenContext {
        hosting: Hosting::Platform { folder: "/".into() },
        ..OpenContext::new("c", "app", Default::default())
    };
    let error = open(context, &ollama::OLLAMA).await.err().unwrap().to_string();
    assert!(
        error.contains("'endpoint'"),
        "a tenant's default is not this machine: {error}"
    );
}

#[test]
fn forms_that_are_none_are_refused() {
    for format in ["[]", "{}", "nonsense", r#"{"type":7}"#] {
        let request = Request {
            response_format: format.into(),
            ..Request::default()
        };
        assert!(wire::request(&request, "m", None, &openai::OPENAI).is_err(), "{format}");
    }
}

#[test]
fn a_bare_number_of_the_cache_is_seconds() {
    for name in ["responseCacheTTL", "cacheTTL"] {
        let properties = [(name, "10")].into_iter().collect();
        let said = ChatMetadata::parse(&properties).unwrap();
        assert_eq!(said.response_cache_ttl, Some(Duration::from_secs(10)), "{name}");
    }
}
