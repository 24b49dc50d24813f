//! OpenAI's form of a conversation.
//!
//! One idea: what a request leaves open is left out, so the service's own defaults hold. Must never invent an answer: one
//! without a choice is an error.

use palladium_component::CallError;
use palladium_component::conversation::{Answer, Choice, Message, Request, Role, Tool, ToolCall, Usage};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Flavour;

/// The request's body.
pub(super) fn request(
    request: &Request,
    model: &str,
    most: Option<u32>,
    flavour: &Flavour,
) -> Result<Value, CallError> {
    let messages: Vec<Value> = request.messages.iter().map(|one| message(one, flavour)).collect();
    let mut body = json!({ "model": model, "messages": messages });
    if request.temperature > 0.0 {
        body["temperature"] = request.temperature.into();
    }
    if let Some(most) = most {
        body["max_tokens"] = most.into();
    }
    if !request.tools.is_empty() {
        let tools: Result<Vec<Value>, CallError> = request.tools.iter().map(tool).collect();
        body["tools"] = tools?.into();
    }
    match request.tool_choice.as_str() {
        "" => {}
        _ if request.tools.is_empty() => {}
        word @ ("auto" | "none" | "required") => body["tool_choice"] = word.into(),
        "any" => body["tool_choice"] = "required".into(),
        name => body["tool_choice"] = json!({ "type": "function", "function": { "name": name } }),
    }
    if let Some(format) = response_format(&request.response_format)? {
        body["response_format"] = format;
    }
    if !request.metadata.is_empty() {
        body["metadata"] = json!(request.metadata);
    }
    Ok(body)
}

fn message(one: &Message, flavour: &Flavour) -> Value {
    let role = match one.role {
        Role::Developer if flavour.has_developer => "developer",
        Role::Developer | Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    let mut told = json!({ "role": role, "content": one.content.join("\n") });
    match one.role {
        Role::Assistant if !one.tool_calls.is_empty() => {
            let calls = one.tool_calls.iter().map(|call| {
                let function = json!({ "name": call.name, "arguments": call.arguments });
                json!({ "id": call.id, "type": "function", "function": function })
            });
            told["tool_calls"] = calls.collect();
            if one.content.is_empty() {
                told["content"] = Value::Null;
            }
        }
        Role::Tool => told["tool_call_id"] = one.tool_id.clone().into(),
        _ => {}
    }
    told
}

fn tool(tool: &Tool) -> Result<Value, CallError> {
    let mut function = json!({ "name": tool.name });
    if !tool.description.is_empty() {
        function["description"] = tool.description.clone().into();
    }
    if let Some(parameters) = schema(&tool.parameters, "a tool's parameters")? {
        function["parameters"] = Value::Object(parameters);
    }
    Ok(json!({ "type": "function", "function": function }))
}

/// A JSON schema; nothing if it is empty.
pub(crate) fn schema(text: &str, what: &str) -> Result<Option<Map<String, Value>>, CallError> {
    if text.is_empty() {
        return Ok(None);
    }
    let read = serde_json::from_str(text);
    read.map(Some)
        .map_err(|_| CallError::Invalid(format!("{what} must be an object")))
}

/// The form that the answer must have. Name and strictness lie in the schema, as in Dapr.
fn response_format(text: &str) -> Result<Option<Value>, CallError> {
    let Some(mut schema) = schema(text, "the response format")? else {
        return Ok(None);
    };
    if !schema.get("type").is_some_and(Value::is_string) {
        return Err(CallError::Invalid(
            "the response format must be a JSON schema with a type".to_owned(),
        ));
    }
    let name = schema.remove("name");
    let name = name
        .as_ref()
        .and_then(Value::as_str)
        .filter(|name| !name.is_empty())
        .unwrap_or("response");
    let strict = schema.remove("strict").is_some_and(|strict| strict == true);
    let mut format = json!({ "name": name, "strict": strict });
    if let Some(description) = schema.get("description").and_then(Value::as_str) {
        format["description"] = description.into();
    }
    format["schema"] = Value::Object(schema);
    Ok(Some(json!({ "type": "json_schema", "json_schema": format })))
}

#[derive(Deserialize)]
pub(super) struct Completion {
    #[serde(default)]
    choices: Vec<ChoiceWire>,
    #[serde(default)]
    usage: Option<UsageWire>,
}

#[derive(Deserialize)]
struct ChoiceWire {
    #[serde(default)]
    finish_reason: Option<String>,
    message: MessageWire,
}

#[derive(Deserialize)]
struct MessageWire {
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    tool_calls: Option<Vec<CallWire>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Pieces(Vec<Piece>),
}

#[derive(Deserialize)]
struct Piece {
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
struct CallWire {
    #[serde(default)]
    id: Option<String>,
    function: FunctionWire,
}

#[derive(Deserialize)]
struct FunctionWire {
    name: String,
    #[serde(default)]
    arguments: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct UsageWire {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    completion_tokens_details: Option<CompletionDetails>,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CompletionDetails {
    accepted_prediction_tokens: Option<u64>,
    audio_tokens: Option<u64>,
    reasoning_tokens: Option<u64>,
    rejected_prediction_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PromptDetails {
    audio_tokens: Option<u64>,
    cached_tokens: Option<u64>,
}

/// What the completion says.
pub(super) fn answer(completion: Completion, model: &str, request: &Request) -> Result<Answer, CallError> {
    let choices: Vec<Choice> = completion.choices.into_iter().map(choice).collect();
    crate::useful(&choices, request)?;
    Ok(Answer {
        choices,
        context: request.context.clone(),
        model: model.to_owned(),
        usage: completion.usage.and_then(usage),
    })
}

fn choice(one: ChoiceWire) -> Choice {
    let calls = one
        .message
        .tool_calls
        .unwrap_or_default()
        .into_iter()
        .map(|call| ToolCall {
            id: call.id.unwrap_or_default(),
            name: call.function.name,
            // Some services write the arguments as an object.
            arguments: match call.function.arguments {
                Value::String(text) => text,
                Value::Null => String::new(),
                other => other.to_string(),
            },
        });
    Choice {
        finish_reason: crate::finish_reason(one.finish_reason),
        content: match one.message.content {
            Some(Content::Text(text)) => text,
            Some(Content::Pieces(pieces)) => pieces.into_iter().map(|piece| piece.text).collect(),
            None => String::new(),
        },
        tool_calls: calls.collect(),
    }
}

fn usage(said: UsageWire) -> Option<Usage> {
    let (completion, prompt) = (
        said.completion_tokens_details.unwrap_or_default(),
        said.prompt_tokens_details.unwrap_or_default(),
    );
    let usage = Usage {
        completion: said.completion_tokens,
        prompt: said.prompt_tokens,
        total: said.total_tokens,
        accepted_prediction: completion.accepted_prediction_tokens.unwrap_or_default(),
        rejected_prediction: completion.rejected_prediction_tokens.unwrap_or_default(),
        reasoning: completion.reasoning_tokens.unwrap_or_default(),
        completion_audio: completion.audio_tokens.unwrap_or_default(),
        prompt_audio: prompt.audio_tokens.unwrap_or_default(),
        cached: prompt.cached_tokens.unwrap_or_default(),
    };
    (usage.completion > 0 || usage.prompt > 0 || usage.total > 0).then_some(usage)
}
