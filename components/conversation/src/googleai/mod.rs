//! `conversation.googleai`: Google's models, by their OpenAI form.
//!
//! Must never do anything that [`crate::chat`] does not.

use palladium_component::conversation::ConversationDriver;
use palladium_component::{Hosted, Status};

use crate::chat::{self, Flavour};

/// The driver.
pub const DRIVER: ConversationDriver = ConversationDriver {
    type_name: "conversation.googleai",
    aliases: &[],
    versions: &["v1"],
    status: Status::Alpha,
    hosted: Hosted::Allowed,
    fields: || chat::fields(&GOOGLEAI),
    example: include_str!("example.yaml"),
    open: |context| Box::pin(chat::open(context, &GOOGLEAI)),
};

pub(crate) static GOOGLEAI: Flavour = Flavour {
    endpoint: "https://generativelanguage.googleapis.com/v1beta/openai",
    model: "gemini-2.5-flash-lite",
    variable: Some("GOOGLEAI_MODEL"),
    has_developer: false,
    needs_key: true,
    has_azure: false,
};
