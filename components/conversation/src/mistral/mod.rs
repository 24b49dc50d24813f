//! `conversation.mistral`: Mistral's models.
//!
//! Must never do anything that [`crate::chat`] does not.

use palladium_component::conversation::ConversationDriver;
use palladium_component::{Hosted, Status};

use crate::chat::{self, Flavour};

/// The driver.
pub const DRIVER: ConversationDriver = ConversationDriver {
    type_name: "conversation.mistral",
    aliases: &[],
    versions: &["v1"],
    status: Status::Alpha,
    hosted: Hosted::Allowed,
    fields: || chat::fields(&MISTRAL),
    example: include_str!("example.yaml"),
    open: |context| Box::pin(chat::open(context, &MISTRAL)),
};

pub(crate) static MISTRAL: Flavour = Flavour {
    endpoint: "https://api.mistral.ai/v1",
    model: "open-mistral-7b",
    variable: Some("MISTRAL_MODEL"),
    has_developer: false,
    needs_key: true,
    has_azure: false,
};
