//! `conversation.deepseek`: DeepSeek's models.
//!
//! Must never do anything that [`crate::chat`] does not.

use palladium_component::conversation::ConversationDriver;
use palladium_component::{Hosted, Status};

use crate::chat::{self, Flavour};

/// The driver.
pub const DRIVER: ConversationDriver = ConversationDriver {
    type_name: "conversation.deepseek",
    aliases: &[],
    versions: &["v1"],
    status: Status::Alpha,
    hosted: Hosted::Allowed,
    fields: || chat::fields(&DEEPSEEK),
    example: include_str!("example.yaml"),
    open: |context| Box::pin(chat::open(context, &DEEPSEEK)),
};

pub(crate) static DEEPSEEK: Flavour = Flavour {
    endpoint: "https://api.deepseek.com",
    model: "deepseek-chat",
    variable: None,
    has_developer: false,
    needs_key: true,
    has_azure: false,
};
