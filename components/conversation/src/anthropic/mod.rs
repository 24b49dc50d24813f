//! `conversation.anthropic`: Anthropic's models, by its Messages API.
//!
//! The one idea: what the system and the application's maker say stands apart, everything else takes turns between a user
//! and the model; outcomes of tools are the user's. Must never drop what has no place there: it is refused.

mod wire;

use std::sync::Arc;
use std::time::Duration;

use palladium_component::conversation::{Answer, Conversation, ConversationDriver, Request};
use palladium_component::{CallError, ComponentMetadata, Hosted, MetadataError, OpenContext, OpenError, Reply, Status};
use palladium_components_web as web;
use reqwest::header::HeaderName;
use secrecy::SecretString;

use crate::cache::{self, Cache};
use crate::call::Service;
use crate::chat::{given, model};

/// The driver.
pub const DRIVER: ConversationDriver = ConversationDriver {
    type_name: "conversation.anthropic",
    aliases: &[],
    versions: &["v1"],
    status: Status::Alpha,
    hosted: Hosted::Allowed,
    fields: AnthropicMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(async move { Ok(Arc::new(Anthropic::new(&context)?) as Arc<dyn Conversation>) }),
};

/// Version of the API that is spoken here.
const VERSION: &str = "2023-06-01";

/// What a component says.
#[derive(Debug, ComponentMetadata)]
struct AnthropicMetadata {
    /// The key of the service.
    #[metadata(sensitive)]
    key: SecretString,
    /// The model; with apiType 'foundry' the name of the deployment.
    #[metadata(default = "claude-sonnet-4-20250514")]
    model: String,
    /// Where the service is, up to 'messages'.
    #[metadata(default = "https://api.anthropic.com/v1")]
    endpoint: String,
    /// Whose service it is: 'anthropic', or 'foundry' of Microsoft's, which needs an endpoint.
    #[metadata(default = "anthropic", allowed = "anthropic", allowed = "foundry")]
    api_type: String,
    /// How long an answer is given again to the same request; never when absent.
    #[metadata(name = "responseCacheTTL", alias = "cacheTTL")]
    response_cache_ttl: Option<Duration>,
    /// Most tokens of one answer; the service must be told.
    #[metadata(default = "4096")]
    max_tokens: u32,
}

struct Anthropic {
    service: Service,
    model: String,
    most: u32,
    cache: Option<Cache>,
}

impl Anthropic {
    fn new(context: &OpenContext) -> Result<Self, OpenError> {
        let said = AnthropicMetadata::parse(&context.properties)?;
        let has_endpoint = given(context.properties.get("endpoint").map(str::to_owned)).is_some();
        if said.api_type.eq_ignore_ascii_case("foundry") && !has_endpoint {
            return Err(MetadataError::new("endpoint", "apiType 'foundry' needs it", "add it").into());
        }
        let base = given(Some(said.endpoint)).unwrap_or_else(|| "https://api.anthropic.com/v1".to_owned());
        let hosted = context.hosting.is_platform();
        let url = web::address("endpoint", &format!("{}/messages", base.trim_end_matches('/')), hosted)?;
        let service = Service::new(url, HeaderName::from_static("x-api-key"), "", &said.key, hosted)?;
        let default = "claude-sonnet-4-20250514";
        Ok(Self {
            service: service.with("anthropic-version", VERSION),
            model: model(Some(said.model), Some("ANTHROPIC_MODEL"), default, &context.hosting),
            most: said.max_tokens.max(1),
            cache: said.response_cache_ttl.map(Cache::new),
        })
    }

    async fn ask(&self, request: &Request) -> Result<Answer, CallError> {
        let body = wire::request(request, &self.model, self.most)?;
        let ask = async || wire::answer(self.service.ask(&body).await?, &self.model, request);
        cache::through(self.cache.as_ref(), &body, &request.context, ask).await
    }
}

impl Conversation for Anthropic {
    fn converse<'a>(&'a self, request: &'a Request) -> Reply<'a, Answer, CallError> {
        Reply::wait(self.ask(request))
    }
}

#[cfg(test)]
mod tests;
