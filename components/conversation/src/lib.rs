//! The drivers for conversations with language models.
//!
//! The one idea: one folder is one driver, one line in [`DRIVERS`] makes it exist; how a service is called ([`call`]) and
//! what most of them speak ([`chat`]) is the same for all. A driver must never log a message.

mod anthropic;
mod cache;
mod call;
mod chat;
mod deepseek;
mod echo;
#[cfg(test)]
mod fake_server;
mod googleai;
mod huggingface;
mod mistral;
mod ollama;
mod openai;

use palladium_component::conversation::{Choice, Request};
use palladium_component::{CallError, Conversation, Registry};

/// Every driver, in alphabetical order.
pub const DRIVERS: Registry<dyn Conversation> = Registry {
    what: "conversation component",
    common: None,
    drivers: &[
        anthropic::DRIVER,
        deepseek::DRIVER,
        echo::DRIVER,
        googleai::DRIVER,
        huggingface::DRIVER,
        mistral::DRIVER,
        ollama::DRIVER,
        openai::DRIVER,
    ],
};

/// Why an answer ended; some services do not say.
fn finish_reason(said: Option<String>) -> String {
    said.filter(|said| !said.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

/// Whether something was answered at all, and, where a tool had to be called, something that helps.
fn useful(choices: &[Choice], request: &Request) -> Result<(), CallError> {
    if choices.is_empty() {
        return Err(CallError::Other("the model answered nothing".to_owned()));
    }
    let must = matches!(request.tool_choice.as_str(), "required" | "any") && !request.tools.is_empty();
    let is_empty = |choice: &Choice| choice.content.is_empty() && choice.tool_calls.is_empty();
    if must && choices.iter().all(is_empty) {
        let tools = request.tools.len();
        let words = format!("LLM returned empty response with no tool calls despite {tools} tools being available");
        return Err(CallError::Unavailable(words));
    }
    Ok(())
}
