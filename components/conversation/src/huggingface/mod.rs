//! `conversation.huggingface`: models at Hugging Face.
//!
//! Must never do anything that [`crate::chat`] does not.

use palladium_component::conversation::ConversationDriver;
use palladium_component::{Hosted, Status};

use crate::chat::{self, Flavour};

/// The driver.
pub const DRIVER: ConversationDriver = ConversationDriver {
    type_name: "conversation.huggingface",
    aliases: &[],
    versions: &["v1"],
    status: Status::Alpha,
    hosted: Hosted::Allowed,
    fields: || chat::fields(&HUGGINGFACE),
    example: include_str!("example.yaml"),
    open: |context| Box::pin(chat::open(context, &HUGGINGFACE)),
};

pub(crate) static HUGGINGFACE: Flavour = Flavour {
    endpoint: "https://router.huggingface.co/hf-inference/models/{{model}}/v1",
    model: "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B",
    variable: Some("HUGGINGFACE_MODEL"),
    has_developer: false,
    needs_key: true,
    has_azure: false,
};
