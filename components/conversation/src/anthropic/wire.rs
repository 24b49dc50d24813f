//! Anthropic's form of a conversation.
//!
//! One idea: a turn is a list of blocks; what the same side says in a row is one turn. Must never invent an answer.

use palladium_component::CallError;
use palladium_component::conversation::{Answer, Choice, Message, Request, Role, ToolCall, Usage};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::chat::schema;

/// The request's body.
pub(super) fn request(request: &Request, model: &str, most: u32) -> Result<Value, CallError> {
    if !request.response_format.is_empty() {
        let why = "conversation.anthropic cannot be told the form of an answer: offer a tool with that form instead";
        return Err(CallError::NotSupported(why.to_owned()));
    }
    let mut system = Vec::new();
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in &request.messages {
        let side = match message.role {
            Role::Developer | Role::System => {
                system.extend(message.content.iter().map(String::as_str));
                continue;
            }
            Role::User | Role::Tool => "user",
            Role::Assistant => "assistant",
        };
        let blocks = blocks(message)?;
        match turns.last_mut() {
            Some((last, all)) if *last == side => all.extend(blocks),
            _ => turns.push((side, blocks)),
        }
    }
    let turns = turns.into_iter().filter(|(_, blocks)| !blocks.is_empty());
    let messages: Vec<Value> = turns
        .map(|(side, blocks)| json!({ "role": side, "content": blocks }))
        .collect();
    let mut body = json!({ "model": model, "max_tokens": most, "messages": messages });
    if !system.is_empty() {
        body["system"] = system.join("\n").into();
    }
    if request.temperature > 0.0 {
        body["temperature"] = request.temperature.into();
    }
    // The service refuses a choice among no tools, and takes 'auto' where none is said.
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(|tool| {
            let parameters = schema(&tool.parameters, "a tool's parameters")?;
            let parameters = parameters.map_or_else(|| json!({ "type": "object" }), Value::Object);
            let mut told = json!({ "name": tool.name, "input_schema": parameters });
            if !tool.description.is_empty() {
                told["description"] = tool.description.clone().into();
            }
            Ok(told)
        });
        body["tools"] = tools.collect::<Result<Vec<Value>, CallError>>()?.into();
        match request.tool_choice.as_str() {
            "" | "auto" => {}
            "required" | "any" => body["tool_choice"] = json!({ "type": "any" }),
            "none" => body["tool_choice"] = json!({ "type": "none" }),
            name => body["tool_choice"] = json!({ "type": "tool", "name": name }),
        }
    }
    Ok(body)
}

fn blocks(message: &Message) -> Result<Vec<Value>, CallError> {
    if message.role == Role::Tool {
        let content = message.content.join("\n");
        return Ok(vec![
            json!({ "type": "tool_result", "tool_use_id": message.tool_id, "content": content }),
        ]);
    }
    // The service refuses empty texts.
    let texts = message.content.iter().filter(|text| !text.is_empty());
    let mut blocks: Vec<Value> = texts.map(|text| json!({ "type": "text", "text": text })).collect();
    for call in &message.tool_calls {
        let input = schema(&call.arguments, "the arguments of a tool call")?;
        let input = Value::Object(input.unwrap_or_default());
        blocks.push(json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": input }));
    }
    Ok(blocks)
}

#[derive(Deserialize)]
pub(super) struct Said {
    content: Vec<Block>,
    #[serde(default)]
    stop_reason: Option<String>,
    #[serde(default)]
    usage: Option<UsageWire>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        text: String,
    },
    ToolUse {
        id: String,
        name: String,
        #[serde(default)]
        input: Value,
    },
    #[serde(other)]
    Other,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct UsageWire {
    input_tokens: u64,
    output_tokens: u64,
    cache_read_input_tokens: Option<u64>,
}

/// What the service says: one choice.
pub(super) fn answer(said: Said, model: &str, request: &Request) -> Result<Answer, CallError> {
    let mut choice = Choice {
        finish_reason: crate::finish_reason(said.stop_reason),
        ..Choice::default()
    };
    for block in said.content {
        match block {
            Block::Text { text } => choice.content.push_str(&text),
            Block::ToolUse { id, name, input } => {
                let arguments = input.to_string();
                choice.tool_calls.push(ToolCall { id, name, arguments });
            }
            Block::Other => {}
        }
    }
    let choices = vec![choice];
    crate::useful(&choices, request)?;
    Ok(Answer {
        choices,
        context: request.context.clone(),
        model: model.to_owned(),
        usage: said.usage.map(|usage| Usage {
            completion: usage.output_tokens,
            prompt: usage.input_tokens,
            total: usage.input_tokens.saturating_add(usage.output_tokens),
            cached: usage.cache_read_input_tokens.unwrap_or_default(),
            ..Usage::default()
        }),
    })
}
