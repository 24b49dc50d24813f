//! The contract of a driver for conversations with language models.
//!
//! The one idea: messages go in, choices come out; which protocol a model's service speaks is the driver's business. A
//! driver must never log a message, nor keep one unless its cache was asked for.

use std::collections::HashMap;

use crate::error::CallError;
use crate::{Driver, Reply};

/// A registered conversation driver.
pub type ConversationDriver = Driver<dyn Conversation>;

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The application's maker.
    Developer,
    /// The rules of the conversation.
    System,
    /// The person.
    User,
    /// The model, earlier.
    Assistant,
    /// The outcome of a tool.
    Tool,
}

/// A tool that the model wants to be called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolCall {
    /// Names this call.
    pub id: String,
    /// The tool.
    pub name: String,
    /// Its arguments, as JSON text.
    pub arguments: String,
}

/// One thing that was said.
#[derive(Debug, Clone)]
pub struct Message {
    /// By whom.
    pub role: Role,
    /// The pieces of it.
    pub content: Vec<String>,
    /// Of an assistant's message: the tools it asked for.
    pub tool_calls: Vec<ToolCall>,
    /// Of a tool's message: which call it answers.
    pub tool_id: String,
    /// Of a tool's message: the tool's name.
    pub name: String,
}

/// A tool that may be called.
#[derive(Debug, Clone, Default)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// Its parameters, a JSON schema as text.
    pub parameters: String,
}

/// What a model is asked.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// What was said so far.
    pub messages: Vec<Message>,
    /// Tools that may be called.
    pub tools: Vec<Tool>,
    /// `none`, `auto`, `required` or a tool's name; empty = the model's own default.
    pub tool_choice: String,
    /// How freely it answers; 0 = the model's own default.
    pub temperature: f64,
    /// The form that the answer must have, a JSON schema as text; empty = any.
    pub response_format: String,
    /// Names the conversation.
    pub context: String,
    /// Settings of this request.
    pub metadata: HashMap<String, String>,
}

/// One answer of a model.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Why it ended: `stop`, `tool_calls` and so on.
    pub finish_reason: String,
    /// What was said.
    pub content: String,
    /// Tools to call.
    pub tool_calls: Vec<ToolCall>,
}

/// How much was read and written, in tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Written.
    pub completion: u64,
    /// Read.
    pub prompt: u64,
    /// Both.
    pub total: u64,
    /// Of those written: predicted ones that held.
    pub accepted_prediction: u64,
    /// Of those written: predicted ones that did not hold.
    pub rejected_prediction: u64,
    /// Of those written: for thinking.
    pub reasoning: u64,
    /// Of those written: sound.
    pub completion_audio: u64,
    /// Of those read: sound.
    pub prompt_audio: u64,
    /// Of those read: known from before.
    pub cached: u64,
}

/// What a model answered.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// Its choices.
    pub choices: Vec<Choice>,
    /// Names the conversation from now on.
    pub context: String,
    /// Which model it was; empty = not known.
    pub model: String,
    /// How much; `None` = not known.
    pub usage: Option<Usage>,
}

/// One opened component. All calls may run side by side.
pub trait Conversation: Send + Sync + 'static {
    /// Asks the model.
    fn converse<'a>(&'a self, request: &'a Request) -> Reply<'a, Answer, CallError>;

    /// Ends connections and tasks. No call follows.
    fn close(&self) -> Reply<'_, (), CallError> {
        Reply::ready(Ok(()))
    }
}
