//! Services that speak OpenAI's chat completions.
//!
//! One idea: they differ in where they are, which model they take when none is said, and what they call the application's
//! maker; each has one [`Flavour`], and all else is the same. Must never let a default lead a tenant's server to this machine.

mod wire;

use std::sync::Arc;
use std::time::Duration;

use palladium_component::conversation::{Answer, Conversation, Request};
use palladium_component::{
    CallError, ComponentMetadata, FieldSpec, Hosting, MetadataError, OpenContext, OpenError, Reply,
};
use palladium_components_web as web;
use reqwest::header::{AUTHORIZATION, HeaderName};
use secrecy::{ExposeSecret as _, SecretString};

pub(crate) use wire::schema;

use crate::cache::{self, Cache};
use crate::call::Service;

/// What is a service's own.
pub(crate) struct Flavour {
    /// Where it is.
    pub(crate) endpoint: &'static str,
    /// The model when none is said.
    pub(crate) model: &'static str,
    /// Variable of the environment that goes before what a component says, as in Dapr.
    pub(crate) variable: Option<&'static str>,
    /// Whether it has a role for the application's maker; others have it speak as the system.
    pub(crate) has_developer: bool,
    /// Whether it answers only with a key.
    pub(crate) needs_key: bool,
    /// Whether it takes Azure's form too.
    pub(crate) has_azure: bool,
}

/// The model of Azure's form when none is said.
const AZURE_MODEL: &str = "gpt-4.1-nano";

/// What a component says.
#[derive(Debug, ComponentMetadata)]
struct ChatMetadata {
    /// The key of the service.
    #[metadata(sensitive)]
    key: Option<SecretString>,
    /// The model.
    model: Option<String>,
    /// Where the service is, up to 'chat/completions'.
    endpoint: Option<String>,
    /// How long an answer is given again to the same request; never when absent.
    #[metadata(name = "responseCacheTTL", alias = "cacheTTL")]
    response_cache_ttl: Option<Duration>,
    /// Most tokens of one answer; as many as the service writes when absent.
    max_tokens: Option<u32>,
    /// Which form the service speaks: 'open_ai' or 'azure'.
    #[metadata(default = "open_ai", allowed = "open_ai", allowed = "azure")]
    api_type: String,
    /// Version of Azure's form.
    api_version: Option<String>,
}

/// The fields of a service.
pub(crate) fn fields(flavour: &Flavour) -> Vec<FieldSpec> {
    let all = ChatMetadata::fields().into_iter();
    let own = all.filter(|field| flavour.has_azure || !matches!(field.name, "apiType" | "apiVersion"));
    own.map(|mut field| {
        match field.name {
            "key" => field.required = flavour.needs_key,
            "model" => field.default = Some(flavour.model),
            "endpoint" => field.default = Some(flavour.endpoint),
            _ => {}
        }
        field
    })
    .collect()
}

/// Opens a component of a service.
pub(crate) async fn open(context: OpenContext, flavour: &'static Flavour) -> Result<Arc<dyn Conversation>, OpenError> {
    Ok(Arc::new(Chat::new(&context, flavour)?))
}

pub(crate) struct Chat {
    flavour: &'static Flavour,
    service: Service,
    model: String,
    most: Option<u32>,
    cache: Option<Cache>,
}

/// The text of a field that is not empty.
pub(crate) fn given(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The model: of the environment in a process of one's own, else as said.
pub(crate) fn model(said: Option<String>, variable: Option<&str>, default: &str, hosting: &Hosting) -> String {
    let own = variable.filter(|_| matches!(hosting, Hosting::SelfHosted));
    let own = own.and_then(|name| std::env::var(name).ok());
    given(own).or(given(said)).unwrap_or_else(|| default.to_owned())
}

impl Chat {
    fn new(context: &OpenContext, flavour: &'static Flavour) -> Result<Self, OpenError> {
        let said = ChatMetadata::parse(&context.properties)?;
        let key = said.key.filter(|key| !key.expose_secret().is_empty());
        if key.is_none() && flavour.needs_key {
            return Err(MetadataError::new("key", "it is missing", "add 'key' to the component's metadata").into());
        }
        let key = key.unwrap_or_default();
        let endpoint = given(said.endpoint);
        let hosted = context.hosting.is_platform();
        if endpoint.is_none() && flavour.endpoint.starts_with("http://") && hosted {
            let reason = "its default is a server on this machine";
            return Err(MetadataError::new("endpoint", reason, "give the address of yours").into());
        }
        let is_azure = flavour.has_azure && said.api_type.eq_ignore_ascii_case("azure");
        let (variable, default) = match (is_azure, flavour.variable) {
            (true, Some(_)) => (Some("AZURE_OPENAI_MODEL"), AZURE_MODEL),
            (_, variable) => (variable, flavour.model),
        };
        let model = model(said.model, variable, default, &context.hosting);
        let service = if is_azure {
            azure(endpoint, given(said.api_version), &model, &key, hosted)?
        } else {
            let base = endpoint.unwrap_or_else(|| flavour.endpoint.replace("{{model}}", &model));
            let url = format!("{}/chat/completions", base.trim_end_matches('/'));
            Service::new(
                web::address("endpoint", &url, hosted)?,
                AUTHORIZATION,
                "Bearer ",
                &key,
                hosted,
            )?
        };
        Ok(Self {
            flavour,
            service,
            model,
            most: said.max_tokens.filter(|most| *most > 0),
            cache: said.response_cache_ttl.map(Cache::new),
        })
    }

    async fn ask(&self, request: &Request) -> Result<Answer, CallError> {
        let body = wire::request(request, &self.model, self.most, self.flavour)?;
        let ask = async || wire::answer(self.service.ask(&body).await?, &self.model, request);
        cache::through(self.cache.as_ref(), &body, &request.context, ask).await
    }

    #[cfg(test)]
    pub(crate) fn impatient(fields: &[(&str, &str)], flavour: &'static Flavour) -> Self {
        let fields = fields.iter().copied().collect();
        let mut chat = Self::new(&OpenContext::new("c", "app", fields), flavour).unwrap();
        chat.service = chat.service.impatient();
        chat
    }
}

/// A model deployed at Azure.
fn azure(
    endpoint: Option<String>,
    version: Option<String>,
    model: &str,
    key: &SecretString,
    hosted: bool,
) -> Result<Service, OpenError> {
    let missing = |field: &str| MetadataError::new(field, "apiType 'azure' needs it", "add it");
    let base = endpoint.ok_or_else(|| missing("endpoint"))?;
    let version = version.ok_or_else(|| missing("apiVersion"))?;
    let mut url = web::address("endpoint", &base, hosted)?;
    let wrong = || MetadataError::new("endpoint", "it is no address", "write 'https://host/path'");
    url.path_segments_mut().map_err(|()| wrong())?.pop_if_empty().extend([
        "openai",
        "deployments",
        model,
        "chat",
        "completions",
    ]);
    url.query_pairs_mut().append_pair("api-version", &version);
    Service::new(url, HeaderName::from_static("api-key"), "", key, hosted)
}

impl Conversation for Chat {
    fn converse<'a>(&'a self, request: &'a Request) -> Reply<'a, Answer, CallError> {
        Reply::wait(self.ask(request))
    }
}

#[cfg(test)]
mod tests;
