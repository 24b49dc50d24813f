//! The conversation API over HTTP: protobuf's JSON, both versions.
//!
//! One idea: names are read in both spellings that protobuf's JSON has, unknown ones are passed over; numbers of 64 bits
//! are written as text, empty fields not at all. Must never decide anything: `crate::conversation` does.

use std::collections::{BTreeMap, HashMap};

use http::StatusCode;
use palladium_component::conversation::{Answer as Said, Choice, Message, Role, Tool, ToolCall};
use palladium_engine_conversation::{Ask, ConversationError, Input};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Answer, Incoming, body, json as answer_json};
use crate::conversation::{self, fault};
use crate::errors::Fault;
use crate::server::Server;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Alpha1 {
    #[serde(rename = "contextID", alias = "context_id")]
    context: Option<String>,
    inputs: Vec<InputAlpha1>,
    parameters: BTreeMap<String, Value>,
    metadata: HashMap<String, String>,
    #[serde(rename = "scrubPII", alias = "scrub_pii")]
    scrub: bool,
    temperature: f64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct InputAlpha1 {
    content: String,
    role: String,
    #[serde(rename = "scrubPII", alias = "scrub_pii")]
    scrub: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Alpha2 {
    #[serde(alias = "context_id")]
    context_id: Option<String>,
    inputs: Vec<InputAlpha2>,
    metadata: HashMap<String, String>,
    #[serde(alias = "scrub_pii")]
    scrub_pii: bool,
    temperature: f64,
    tools: Vec<ToolWire>,
    #[serde(alias = "tool_choice")]
    tool_choice: String,
    #[serde(alias = "response_format")]
    response_format: Option<Map<String, Value>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct InputAlpha2 {
    messages: Vec<MessageWire>,
    #[serde(alias = "scrub_pii")]
    scrub_pii: bool,
}

/// Exactly one of them is there.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MessageWire {
    #[serde(alias = "of_developer")]
    of_developer: Option<Words>,
    #[serde(alias = "of_system")]
    of_system: Option<Words>,
    #[serde(alias = "of_user")]
    of_user: Option<Words>,
    #[serde(alias = "of_assistant")]
    of_assistant: Option<Words>,
    #[serde(alias = "of_tool")]
    of_tool: Option<Words>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Words {
    name: String,
    content: Vec<Text>,
    #[serde(alias = "tool_calls")]
    tool_calls: Vec<CallWire>,
    #[serde(alias = "tool_id")]
    tool_id: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Text {
    text: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CallWire {
    id: String,
    function: Option<CallFunction>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CallFunction {
    name: String,
    arguments: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ToolWire {
    function: Option<ToolFunction>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ToolFunction {
    name: String,
    description: String,
    parameters: Option<Map<String, Value>>,
}

pub(super) async fn converse(server: &Server, component: &str, version: &str, incoming: Incoming) -> Answer {
    let bytes = body::read(incoming, server.max_body()).await?;
    if version == "v1.0-alpha1" {
        alpha1(server, component, read(&bytes)?).await
    } else {
        alpha2(server, component, read(&bytes)?).await
    }
}

fn read<T: Default + for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, Fault> {
    if bytes.is_empty() {
        return Ok(T::default());
    }
    // Where it stands, not what: a message is the application's.
    serde_json::from_slice(bytes).map_err(|error| {
        let place = (error.line(), error.column());
        Fault::malformed(format!(
            "failed deserializing HTTP body: line {}, column {}",
            place.0, place.1
        ))
    })
}

async fn alpha1(server: &Server, component: &str, request: Alpha1) -> Answer {
    let inputs = request.inputs.into_iter().map(|input| Input {
        scrub: input.scrub,
        messages: vec![words(
            conversation::role(&input.role),
            Words {
                content: vec![Text { text: input.content }],
                ..Words::default()
            },
        )],
    });
    let ask = Ask {
        component: component.to_owned(),
        inputs: inputs.collect(),
        temperature: request.temperature,
        metadata: request.metadata,
        context: request.context.clone().unwrap_or_default(),
        scrub_answer: request.scrub,
        ..Ask::default()
    };
    let said = conversation::converse(server, ask).await?;
    let outputs = said.choices.into_iter().map(|choice| {
        let mut output = json!({});
        put(&mut output, "result", choice.content.into());
        if !request.parameters.is_empty() {
            output["parameters"] = json!(request.parameters);
        }
        output
    });
    let mut answer = json!({ "outputs": outputs.collect::<Vec<_>>() });
    put(&mut answer, "contextID", request.context.unwrap_or_default().into());
    Ok(answer_json(StatusCode::OK, answer.to_string()))
}

async fn alpha2(server: &Server, component: &str, request: Alpha2) -> Answer {
    let invalid = |reason: &str| {
        fault(&ConversationError::Invalid {
            component: component.to_owned(),
            reason: reason.to_owned(),
        })
    };
    let mut inputs = Vec::with_capacity(request.inputs.len());
    for input in request.inputs {
        let mut messages = Vec::with_capacity(input.messages.len());
        for message in input.messages {
            messages.push(message.read().map_err(invalid)?);
        }
        inputs.push(Input {
            messages,
            scrub: input.scrub_pii,
        });
    }
    let tools = request.tools.into_iter().filter_map(|tool| {
        let function = tool.function?;
        Some(Tool {
            name: function.name,
            description: function.description,
            parameters: text(function.parameters),
        })
    });
    let context = request.context_id.unwrap_or_default();
    let ask = Ask {
        component: component.to_owned(),
        inputs,
        tools: tools.collect(),
        tool_choice: request.tool_choice,
        temperature: request.temperature,
        response_format: text(request.response_format),
        context: context.clone(),
        metadata: request.metadata,
        scrub_answer: request.scrub_pii,
    };
    let said = conversation::converse(server, ask).await?;
    let mut answer = json!({ "outputs": [output(&said)] });
    put(&mut answer, "contextId", context.into());
    Ok(answer_json(StatusCode::OK, answer.to_string()))
}

impl MessageWire {
    fn read(self) -> Result<Message, &'static str> {
        let forms = [
            (Role::Developer, self.of_developer),
            (Role::System, self.of_system),
            (Role::User, self.of_user),
            (Role::Assistant, self.of_assistant),
            (Role::Tool, self.of_tool),
        ];
        let given = forms.into_iter().find_map(|(role, words)| Some((role, words?)));
        let (role, given) = given.ok_or("message type cannot be nil")?;
        if given.tool_calls.iter().any(|call| call.function.is_none()) {
            return Err("tool types cannot be nil");
        }
        Ok(words(role, given))
    }
}

fn words(role: Role, words: Words) -> Message {
    let calls = words.tool_calls.into_iter().map(|call| {
        let function = call.function.unwrap_or_default();
        ToolCall {
            id: call.id,
            name: function.name,
            arguments: function.arguments,
        }
    });
    Message {
        role,
        content: words.content.into_iter().map(|piece| piece.text).collect(),
        tool_calls: calls.collect(),
        tool_id: words.tool_id,
        name: words.name,
    }
}

fn output(said: &Said) -> Value {
    let choices = said.choices.iter().enumerate();
    let mut output = json!({ "choices": choices.map(|(index, one)| choice(index, one)).collect::<Vec<_>>() });
    put(&mut output, "model", said.model.clone().into());
    if let Some(usage) = said.usage {
        let mut told = counts(&[
            ("completionTokens", usage.completion),
            ("promptTokens", usage.prompt),
            ("totalTokens", usage.total),
        ]);
        let completion = counts(&[
            ("acceptedPredictionTokens", usage.accepted_prediction),
            ("audioTokens", usage.completion_audio),
            ("reasoningTokens", usage.reasoning),
            ("rejectedPredictionTokens", usage.rejected_prediction),
        ]);
        let prompt = counts(&[("audioTokens", usage.prompt_audio), ("cachedTokens", usage.cached)]);
        for (name, details) in [("completionTokensDetails", completion), ("promptTokensDetails", prompt)] {
            if details != json!({}) {
                told[name] = details;
            }
        }
        output["usage"] = told;
    }
    output
}

/// Those that are not nothing.
fn counts(all: &[(&str, u64)]) -> Value {
    let some = all.iter().filter(|(_, count)| *count > 0);
    Value::Object(
        some.map(|(name, count)| ((*name).to_owned(), count.to_string().into()))
            .collect(),
    )
}

/// An object as text; nothing if there is none.
fn text(object: Option<Map<String, Value>>) -> String {
    object.map(|object| Value::from(object).to_string()).unwrap_or_default()
}

fn choice(index: usize, one: &Choice) -> Value {
    let mut message = json!({});
    put(&mut message, "content", one.content.clone().into());
    let calls = one.tool_calls.iter().map(|call| {
        let mut told = json!({ "function": { "name": call.name, "arguments": call.arguments } });
        put(&mut told, "id", call.id.clone().into());
        told
    });
    let calls: Vec<Value> = calls.collect();
    if !calls.is_empty() {
        message["toolCalls"] = calls.into();
    }
    let mut told = json!({ "message": message });
    put(&mut told, "finishReason", one.finish_reason.clone().into());
    if index > 0 {
        told["index"] = index.to_string().into();
    }
    told
}

/// Sets a field that is not empty.
fn put(object: &mut Value, name: &str, value: Value) {
    if value.as_str() != Some("") {
        object[name] = value;
    }
}
