//! `conversation.echo`: answers with what was said. For development and tests: no model, no network.
//!
//! The one idea: everything said comes back as one choice, line by line; every tool on offer is asked for, with the names of
//! its parameters as arguments. Must never need anything outside of the request.

use std::sync::Arc;

use palladium_component::conversation::{
    Answer, Choice, Conversation, ConversationDriver, Message, Request, Role, Tool, ToolCall, Usage,
};
use palladium_component::{CallError, Hosted, Reply, Status};
use serde_json::Value;

/// The driver.
pub const DRIVER: ConversationDriver = ConversationDriver {
    type_name: "conversation.echo",
    aliases: &[],
    versions: &["v1"],
    status: Status::Alpha,
    hosted: Hosted::Allowed,
    fields: Vec::new,
    example: include_str!("example.yaml"),
    open: |_| Box::pin(async { Ok(Arc::new(Echo) as Arc<dyn Conversation>) }),
};

struct Echo;

impl Conversation for Echo {
    fn converse<'a>(&'a self, request: &'a Request) -> Reply<'a, Answer, CallError> {
        Reply::ready(answer(request))
    }
}

fn answer(request: &Request) -> Result<Answer, CallError> {
    let mut tool_calls = Vec::new();
    for (index, tool) in request.tools.iter().enumerate() {
        tool_calls.push(asked_for(index, tool)?);
    }
    tool_calls.extend(request.messages.iter().flat_map(|message| message.tool_calls.clone()));
    let lines: Vec<String> = request.messages.iter().flat_map(lines).collect();
    let content = lines.join("\n");
    let tokens = content.split_whitespace().count() as u64;
    let finish_reason = if tool_calls.is_empty() { "stop" } else { "tool_calls" };
    Ok(Answer {
        choices: vec![Choice {
            finish_reason: finish_reason.to_owned(),
            content,
            tool_calls,
        }],
        context: request.context.clone(),
        model: String::new(),
        usage: Some(Usage {
            completion: tokens,
            prompt: tokens,
            total: tokens * 2,
            ..Usage::default()
        }),
    })
}

fn asked_for(index: usize, tool: &Tool) -> Result<ToolCall, CallError> {
    let wrong = |what: &str| CallError::Invalid(format!("tool function {what} must be an object"));
    let parameters: Value = if tool.parameters.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&tool.parameters).map_err(|_| wrong("parameters"))?
    };
    let mut names: Vec<&str> = match &parameters["properties"] {
        Value::Null => Vec::new(),
        Value::Object(members) => members.keys().map(String::as_str).collect(),
        _ => return Err(wrong("properties")),
    };
    names.sort_unstable();
    Ok(ToolCall {
        id: index.to_string(),
        name: tool.name.clone(),
        arguments: names.join(","),
    })
}

fn lines(message: &Message) -> Vec<String> {
    let told = |text: &String| match message.role {
        Role::Tool => format!(
            "Tool Response for tool ID '{}' with name '{}': {text}",
            message.tool_id, message.name
        ),
        _ => text.clone(),
    };
    message.content.iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(role: Role, text: &str) -> Message {
        Message {
            role,
            content: vec![text.to_owned()],
            tool_calls: Vec::new(),
            tool_id: "7".into(),
            name: "weather".into(),
        }
    }

    #[tokio::test]
    async fn everything_comes_back_in_one_choice() {
        let request = Request {
            messages: vec![said(Role::System, "be kind"), said(Role::Tool, "sunny")],
            tools: vec![Tool {
                name: "t".into(),
                parameters: r#"{"properties":{"b":{},"a":{}}}"#.into(),
                ..Tool::default()
            }],
            ..Request::default()
        };
        let answer = Echo.converse(&request).await.unwrap();
        let choice = &answer.choices[0];
        assert_eq!(
            choice.content,
            "be kind\nTool Response for tool ID '7' with name 'weather': sunny"
        );
        assert_eq!(choice.finish_reason, "tool_calls");
        assert_eq!(
            (
                choice.tool_calls[0].id.as_str(),
                choice.tool_calls[0].arguments.as_str()
            ),
            ("0", "a,b")
        );
    }

    #[tokio::test]
    async fn parameters_must_be_objects() {
        let tool = |parameters: &str| Tool {
            parameters: parameters.to_owned(),
            ..Tool::default()
        };
        for bad in ["nonsense", r#"{"properties":[]}"#] {
            let request = Request {
                tools: vec![tool(bad)],
                ..Request::default()
            };
            assert!(Echo.converse(&request).await.is_err(), "{bad}");
        }
    }
}
