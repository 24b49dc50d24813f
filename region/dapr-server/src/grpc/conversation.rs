//! The conversation API over gRPC, both versions.
//!
//! Must never decide anything: `crate::conversation` does, for both protocols.

use palladium_component::conversation::{Answer, Choice, Message, Role, Tool, ToolCall, Usage};
use palladium_engine_conversation::{Ask, ConversationError, Input};
use palladium_proto::prost_types::{Struct, Value, value::Kind};
use palladium_proto::runtime::conversation_message::MessageTypes;
use palladium_proto::runtime::{
    ConversationMessageContent, ConversationRequest, ConversationRequestAlpha2, ConversationResponse,
    ConversationResponseAlpha2, ConversationResult, ConversationResultAlpha2, ConversationResultAlpha2CompletionUsage,
    ConversationResultAlpha2CompletionUsageCompletionTokensDetails as CompletionDetails,
    ConversationResultAlpha2CompletionUsagePromptTokensDetails as PromptDetails, ConversationResultChoices,
    ConversationResultMessage, ConversationToolCalls, ConversationToolCallsOfFunction, conversation_tool_calls,
    conversation_tools,
};
use serde_json::Value as Json;
use tonic::Status;

use crate::conversation::{self, fault};
use crate::errors::grpc_fault;
use crate::server::Server;

/// How deep a tool's parameters are read.
const DEEPEST: usize = 64;

pub(super) async fn alpha1(server: &Server, request: ConversationRequest) -> Result<ConversationResponse, Status> {
    let inputs = request.inputs.into_iter().map(|input| Input {
        scrub: input.scrub_pii(),
        messages: vec![message(
            conversation::role(input.role()),
            vec![ConversationMessageContent { text: input.content }],
        )],
    });
    let ask = Ask {
        component: request.name,
        inputs: inputs.collect(),
        temperature: request.temperature.unwrap_or_default(),
        metadata: request.metadata,
        context: request.context_id.clone().unwrap_or_default(),
        scrub_answer: request.scrub_pii.unwrap_or_default(),
        ..Ask::default()
    };
    let said = conversation::converse(server, ask).await;
    let said = said.map_err(|fault| grpc_fault(server, &fault))?;
    let outputs = said.choices.into_iter().map(|choice| ConversationResult {
        result: choice.content,
        parameters: request.parameters.clone(),
    });
    Ok(ConversationResponse {
        outputs: outputs.collect(),
        context_id: request.context_id.filter(|id| !id.is_empty()),
    })
}

pub(super) async fn alpha2(
    server: &Server,
    request: ConversationRequestAlpha2,
) -> Result<ConversationResponseAlpha2, Status> {
    let invalid = |reason: &str| {
        let error = ConversationError::Invalid {
            component: request.name.clone(),
            reason: reason.to_owned(),
        };
        grpc_fault(server, &fault(&error))
    };
    let mut inputs = Vec::with_capacity(request.inputs.len());
    for input in request.inputs {
        let scrub = input.scrub_pii();
        let messages: Result<Vec<Message>, &str> =
            input.messages.into_iter().map(|one| read(one.message_types)).collect();
        let messages = messages.map_err(invalid)?;
        inputs.push(Input { messages, scrub });
    }
    let tools = request.tools.into_iter().filter_map(|tool| {
        let conversation_tools::ToolTypes::Function(function) = tool.tool_types?;
        Some(Tool {
            description: function.description.unwrap_or_default(),
            parameters: function
                .parameters
                .map(|given| members(given, 0).to_string())
                .unwrap_or_default(),
            name: function.name,
        })
    });
    let ask = Ask {
        inputs,
        tools: tools.collect(),
        tool_choice: request.tool_choice.unwrap_or_default(),
        temperature: request.temperature.unwrap_or_default(),
        response_format: request
            .response_format
            .map(|given| members(given, 0).to_string())
            .unwrap_or_default(),
        context: request.context_id.clone().unwrap_or_default(),
        metadata: request.metadata,
        scrub_answer: request.scrub_pii.unwrap_or_default(),
        component: request.name,
    };
    let said = conversation::converse(server, ask).await;
    let said = said.map_err(|fault| grpc_fault(server, &fault))?;
    Ok(ConversationResponseAlpha2 {
        outputs: vec![output(said)],
        context_id: request.context_id.filter(|id| !id.is_empty()),
    })
}

fn message(role: Role, content: Vec<ConversationMessageContent>) -> Message {
    Message {
        role,
        content: content.into_iter().map(|piece| piece.text).collect(),
        tool_calls: Vec::new(),
        tool_id: String::new(),
        name: String::new(),
    }
}

fn read(given: Option<MessageTypes>) -> Result<Message, &'static str> {
    Ok(match given.ok_or("message type cannot be nil")? {
        MessageTypes::OfDeveloper(words) => message(Role::Developer, words.content),
        MessageTypes::OfSystem(words) => message(Role::System, words.content),
        MessageTypes::OfUser(words) => message(Role::User, words.content),
        MessageTypes::OfAssistant(words) => {
            let calls: Result<Vec<ToolCall>, &str> = words.tool_calls.into_iter().map(tool_call).collect();
            Message {
                tool_calls: calls?,
                ..message(Role::Assistant, words.content)
            }
        }
        MessageTypes::OfTool(words) => Message {
            tool_id: words.tool_id.unwrap_or_default(),
            name: words.name,
            ..message(Role::Tool, words.content)
        },
    })
}

fn tool_call(call: ConversationToolCalls) -> Result<ToolCall, &'static str> {
    let conversation_tool_calls::ToolTypes::Function(function) = call.tool_types.ok_or("tool types cannot be nil")?;
    Ok(ToolCall {
        id: call.id.unwrap_or_default(),
        name: function.name,
        arguments: function.arguments,
    })
}

fn output(said: Answer) -> ConversationResultAlpha2 {
    let choices = said.choices.into_iter().zip(0..).map(|(one, index)| choice(one, index));
    ConversationResultAlpha2 {
        choices: choices.collect(),
        model: Some(said.model).filter(|model| !model.is_empty()),
        usage: said.usage.map(usage),
    }
}

fn usage(said: Usage) -> ConversationResultAlpha2CompletionUsage {
    let completion = CompletionDetails {
        accepted_prediction_tokens: said.accepted_prediction,
        audio_tokens: said.completion_audio,
        reasoning_tokens: said.reasoning,
        rejected_prediction_tokens: said.rejected_prediction,
    };
    let prompt = PromptDetails {
        audio_tokens: said.prompt_audio,
        cached_tokens: said.cached,
    };
    ConversationResultAlpha2CompletionUsage {
        completion_tokens: said.completion,
        prompt_tokens: said.prompt,
        total_tokens: said.total,
        completion_tokens_details: Some(completion).filter(|details| *details != CompletionDetails::default()),
        prompt_tokens_details: Some(prompt).filter(|details| *details != PromptDetails::default()),
    }
}

fn choice(one: Choice, index: i64) -> ConversationResultChoices {
    let calls = one.tool_calls.into_iter().map(|call| ConversationToolCalls {
        id: Some(call.id).filter(|id| !id.is_empty()),
        tool_types: Some(conversation_tool_calls::ToolTypes::Function(
            ConversationToolCallsOfFunction {
                name: call.name,
                arguments: call.arguments,
            },
        )),
    });
    ConversationResultChoices {
        finish_reason: one.finish_reason,
        index,
        message: Some(ConversationResultMessage {
            content: one.content,
            tool_calls: calls.collect(),
        }),
    }
}

fn members(given: Struct, depth: usize) -> Json {
    let members = given.fields.into_iter();
    Json::Object(members.map(|(name, value)| (name, plain(value, depth + 1))).collect())
}

fn plain(value: Value, depth: usize) -> Json {
    match value.kind {
        Some(Kind::BoolValue(value)) => value.into(),
        Some(Kind::NumberValue(value)) => value.into(),
        Some(Kind::StringValue(value)) => value.into(),
        Some(Kind::ListValue(list)) if depth < DEEPEST => {
            list.values.into_iter().map(|value| plain(value, depth + 1)).collect()
        }
        Some(Kind::StructValue(given)) if depth < DEEPEST => members(given, depth),
        _ => Json::Null,
    }
}
