//! The conversation API: what both versions and both protocols share.
//!
//! Must never log a message.

use std::time::Instant;

use palladium_component::conversation::{Answer, Role};
use palladium_engine_conversation::{Ask, ConversationError, scrub_answer};
use palladium_engine_resiliency::ComponentKind;

use crate::errors::Fault;
use crate::resiliency::outbound;
use crate::server::Server;

pub(crate) fn fault(error: &ConversationError) -> Fault {
    Fault {
        report: error.report(),
        category: "conversation",
    }
}

/// Asks the component's model.
pub(crate) async fn converse(server: &Server, ask: Ask) -> Result<Answer, Fault> {
    let component = ask.component.clone();
    let block = server.components.load().conversation(&component).cloned();
    let Some(block) = block else {
        return Err(fault(&ConversationError::NotFound { component }));
    };
    let scrubs = ask.scrub_answer;
    let request = ask.into_request().map_err(|error| fault(&error))?;
    let start = Instant::now();
    let policy = outbound(server, &component, ComponentKind::Conversation);
    let answer = policy.run(|_| block.driver.converse(&request)).await;
    block.calls.observe("converse", answer.is_ok(), start.elapsed());
    let mut answer = answer.map_err(|error| {
        let reason = error.to_string();
        fault(&ConversationError::Failed { component, reason })
    })?;
    if scrubs {
        scrub_answer(&mut answer);
    }
    Ok(answer)
}

/// Who speaks, by the words of the API's first version.
pub(crate) fn role(word: &str) -> Role {
    match word {
        "system" => Role::System,
        "assistant" | "ai" => Role::Assistant,
        "tool" | "function" => Role::Tool,
        _ => Role::User,
    }
}
