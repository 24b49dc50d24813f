//! `conversation.ollama`: models of an Ollama server.
//!
//! Must never do anything that [`crate::chat`] does not.

use palladium_component::conversation::ConversationDriver;
use palladium_component::{Hosted, Status};

use crate::chat::{self, Flavour};

/// The driver.
pub const DRIVER: ConversationDriver = ConversationDriver {
    type_name: "conversation.ollama",
    aliases: &[],
    versions: &["v1"],
    status: Status::Alpha,
    hosted: Hosted::Allowed,
    fields: || chat::fields(&OLLAMA),
    example: include_str!("example.yaml"),
    open: |context| Box::pin(chat::open(context, &OLLAMA)),
};

pub(crate) static OLLAMA: Flavour = Flavour {
    endpoint: "http://localhost:11434/v1",
    model: "llama3.2:latest",
    variable: Some("OLLAMA_MODEL"),
    has_developer: false,
    needs_key: false,
    has_azure: false,
};
