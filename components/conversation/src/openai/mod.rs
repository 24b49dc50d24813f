//! `conversation.openai`: OpenAI's models, and whoever speaks as they do.
//!
//! Must never do anything that [`crate::chat`] does not.

use palladium_component::conversation::ConversationDriver;
use palladium_component::{Hosted, Status};

use crate::chat::{self, Flavour};

/// The driver.
pub const DRIVER: ConversationDriver = ConversationDriver {
    type_name: "conversation.openai",
    aliases: &[],
    versions: &["v1"],
    status: Status::Alpha,
    hosted: Hosted::Allowed,
    fields: || chat::fields(&OPENAI),
    example: include_str!("example.yaml"),
    open: |context| Box::pin(chat::open(context, &OPENAI)),
};

pub(crate) static OPENAI: Flavour = Flavour {
    endpoint: "https://api.openai.com/v1",
    model: "gpt-5-nano",
    variable: Some("OPENAI_MODEL"),
    has_developer: true,
    needs_key: true,
    has_azure: true,
};
