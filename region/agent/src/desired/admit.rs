//! May and can this region do what one object asks? A pure function of the object and the guard rails.
//!
//! The one idea: everything is decoded by the kind's own strict rules, here again, because the control plane is not
//! believed; then the owner's guard rails decide. "Rejected" can never work, "held" waits for the owner.

use palladium_kinds::app_identity::{AppIdentityContent, AppIdentitySpec, EndpointToken};
use palladium_kinds::component::{ComponentContent, SETTINGS};
use palladium_kinds::configuration::ConfigurationContent;
use palladium_kinds::http_endpoint::HttpEndpointContent;
use palladium_kinds::ids::ProjectId;
use palladium_kinds::project::{ProjectContent, ProjectSpec};
use palladium_kinds::registry;
use palladium_kinds::resiliency::ResiliencyContent;
use palladium_kinds::secret_ref::SecretKeyRef;
use palladium_kinds::subscription::SubscriptionContent;
use palladium_proto::region::LogHeader;
use palladium_sealing::SealedValue;
use palladium_stream::{Payload, PayloadMetadata};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::guard_rails::GuardRails;
use crate::vault::is_name;

/// An object that this region makes true.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    pub(crate) meta: PayloadMetadata,
    pub(crate) sealed: Vec<SealedValue>,
    pub(crate) content: Content,
}

/// The typed content of one of the kinds that regions know.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Project(ProjectSpec),
    App(AppIdentitySpec),
    Component(ComponentContent),
    Subscription(SubscriptionContent),
    /// Much larger than the others, as is the one of an HTTP endpoint.
    Configuration(Box<ConfigurationContent>),
    Resiliency(ResiliencyContent),
    HttpEndpoint(Box<HttpEndpointContent>),
}

/// Why an object is not admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Held: the owner may allow it. Otherwise it can never work.
    pub(crate) held: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) field: String,
}

impl Refused {
    pub(crate) fn rejected(reason: &'static str, message: impl Into<String>, field: impl Into<String>) -> Self {
        Self {
            held: false,
            reason,
            message: message.into(),
            field: field.into(),
        }
    }

    pub(crate) fn held(message: impl Into<String>, field: impl Into<String>) -> Self {
        Self {
            held: true,
            reason: "BeyondGuardRails",
            message: message.into(),
            field: field.into(),
        }
    }
}

/// Judges one object. `header` is verified; the payload is the bytes that it was signed with.
pub(crate) fn admit(header: &LogHeader, payload: &[u8], rails: &GuardRails) -> Result<Admitted, Refused> {
    let payload: Payload = serde_json::from_slice(payload).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Refused::rejected(
            "MalformedPayload",
            format!("the object is not what an object looks like ({place})"),
            "",
        )
    })?;
    same_object(header, &payload)?;
    if !rails.allow.mtls_off && switches_mtls_off(&payload.content) {
        return Err(Refused::held(
            "it switches mutual TLS off, which this region does not allow (allow.mtlsOff)",
            "spec",
        ));
    }
    let content = match payload.kind.as_str() {
        "Project" => Content::Project(typed::<ProjectContent>(&payload)?.spec),
        "AppIdentity" => Content::App(typed::<AppIdentityContent>(&payload)?.spec),
        "Component" => Content::Component(typed::<ComponentContent>(&payload)?),
        "Subscription" => Content::Subscription(typed::<SubscriptionContent>(&payload)?),
        "Configuration" => Content::Configuration(Box::new(typed::<ConfigurationContent>(&payload)?)),
        "Resiliency" => Content::Resiliency(typed::<ResiliencyContent>(&payload)?),
        "HTTPEndpoint" => Content::HttpEndpoint(Box::new(typed::<HttpEndpointContent>(&payload)?)),
        _ => {
            return Err(Refused::rejected(
                "UnknownKind",
                "this region does not know the kind; update its agent",
                "kind",
            ));
        }
    };
    let admitted = Admitted {
        meta: payload.metadata,
        sealed: payload.sealed,
        content,
    };
    admitted.check_references()?;
    admitted.check_rails(rails)?;
    Ok(admitted)
}

/// The signed header and the payload must speak of the same object.
fn same_object(header: &LogHeader, payload: &Payload) -> Result<(), Refused> {
    let meta = &payload.metadata;
    let pairs = [
        ("kind", &header.kind, &payload.kind),
        ("metadata.name", &header.name, &meta.name),
        ("metadata.uid", &header.uid, &meta.uid),
        ("metadata.projectId", &header.project_id, &meta.project_id),
    ];
    if let Some((field, ..)) = pairs.iter().find(|(_, signed, said)| signed != said) {
        return Err(Refused::rejected(
            "ForeignObject",
            "the object is another one than its signed header says",
            *field,
        ));
    }
    if header.generation != meta.generation {
        return Err(Refused::rejected(
            "ForeignObject",
            "the generation is not the signed one",
            "metadata.generation",
        ));
    }
    if !is_name(&meta.uid) {
        return Err(Refused::rejected("InvalidName", "the uid is not one", "metadata.uid"));
    }
    if meta.project_id.parse::<ProjectId>().is_err() {
        return Err(Refused::rejected(
            "ForeignProject",
            "the object belongs to no project",
            "metadata.projectId",
        ));
    }
    let canonical = registry::by_kind(&payload.kind).map(|kind| kind.names.canonical(&meta.name));
    match canonical {
        Some(Ok(name)) if name == meta.name => Ok(()),
        Some(_) => Err(Refused::rejected(
            "InvalidName",
            "the name is not an allowed one",
            "metadata.name",
        )),
        None => Ok(()),
    }
}

/// Decodes by the kind's own rules, unknown fields refused.
fn typed<C: DeserializeOwned>(payload: &Payload) -> Result<C, Refused> {
    let kind = registry::by_kind(&payload.kind)
        .ok_or_else(|| Refused::rejected("UnknownKind", "this region does not know the kind", "kind"))?;
    let content = (kind.normalize)(Value::Object(payload.content.clone())).map_err(|errors| {
        let first = errors.0.first();
        let field = first.map(|error| error.field.clone()).unwrap_or_default();
        let message = first.map_or_else(String::new, |error| error.reason.clone());
        Refused::rejected("InvalidObject", message, field)
    })?;
    serde_json::from_value(Value::Object(content))
        .map_err(|_| Refused::rejected("InvalidObject", "the object cannot be read", "spec"))
}

/// Any `mtls: {enabled: false}`, wherever it hides.
fn switches_mtls_off(content: &Map<String, Value>) -> bool {
    content.iter().any(|(key, value)| {
        let off = key.eq_ignore_ascii_case("mtls")
            && (value == &Value::Bool(false) || value.get("enabled") == Some(&Value::Bool(false)));
        off || match value {
            Value::Object(inner) => switches_mtls_off(inner),
            Value::Array(items) => items.iter().any(|item| item.as_object().is_some_and(switches_mtls_off)),
            _ => false,
        }
    })
}

impl Admitted {
    /// References to managed secrets with the field that each must belong to.
    pub(crate) fn managed_references(&self) -> Vec<(&SecretKeyRef, String)> {
        let mut all = match &self.content {
            Content::Project(_) | Content::Subscription(_) | Content::Resiliency(_) => Vec::new(),
            Content::App(spec) => match spec.app_endpoint.as_ref().and_then(|endpoint| endpoint.token.as_ref()) {
                Some(EndpointToken::Reference { secret_key_ref }) => {
                    vec![(secret_key_ref, palladium_kinds::app_identity::ENDPOINT_TOKEN.to_owned())]
                }
                _ => Vec::new(),
            },
            Content::Component(content) => {
                let items = content.spec.metadata.iter();
                items
                    .filter_map(|item| Some((item.secret_key_ref.as_ref()?, item.field(SETTINGS))))
                    .collect()
            }
            Content::Configuration(content) => content.references(),
            Content::HttpEndpoint(content) => content.references(),
        };
        all.retain(|(reference, _)| reference.is_managed());
        all
    }

    /// An object may refer to its own secrets only; the field too must be its own.
    fn check_references(&self) -> Result<(), Refused> {
        for (reference, field) in self.managed_references() {
            if reference.key != format!("{}/{field}", self.meta.uid) {
                let message = "it refers to a secret of another object";
                return Err(Refused::rejected(
                    "ForeignSecret",
                    message,
                    format!("{field}.secretKeyRef"),
                ));
            }
        }
        Ok(())
    }

    /// The resolved specs of the kinds, for those who know which one they look at.
    pub(crate) fn app(&self) -> Option<&AppIdentitySpec> {
        if let Content::App(spec) = &self.content {
            Some(spec)
        } else {
            None
        }
    }

    /// See [`Self::app`].
    pub(crate) fn component(&self) -> Option<&ComponentContent> {
        if let Content::Component(content) = &self.content {
            Some(content)
        } else {
            None
        }
    }

    /// The App IDs that it names; `None` for kinds without scopes.
    pub(crate) fn scopes(&self) -> Option<&[String]> {
        match &self.content {
            Content::Project(_) | Content::App(_) | Content::Configuration(_) => None,
            Content::Component(content) => Some(&content.scopes),
            Content::Subscription(content) => Some(&content.scopes),
            Content::Resiliency(content) => Some(&content.scopes),
            Content::HttpEndpoint(content) => Some(&content.scopes),
        }
    }

    /// See [`Self::app`].
    pub(crate) fn project(&self) -> Option<&ProjectSpec> {
        if let Content::Project(spec) = &self.content {
            Some(spec)
        } else {
            None
        }
    }
}
