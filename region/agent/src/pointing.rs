//! Where an object sends its secrets: what a kept secret is bound to.
//!
//! The one idea: a secret was entered for one place. Whoever may change an object without being able to read its secrets
//! must not get one by pointing the object at a place of their own; so every secret remembers where it was to go, and goes
//! nowhere else until it is entered again or the owner allows it. Must never hold a secret's value.

use palladium_component::catalog::catalog;
use palladium_kinds::component::SETTINGS;
use palladium_kinds::http_endpoint::{HttpEndpointContent, ROOT_CA};
use palladium_kinds::secret_ref::SecretKeyRef;
use serde::{Deserialize, Serialize};

use crate::desired::{Admitted, Content, points};

/// The settings that decide where an object's secrets go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pointing {
    kind: String,
    version: String,
    /// Name in lower case and value, sorted.
    settings: Vec<(String, String)>,
    /// Versions of the object's other secrets that are addresses themselves, sorted by field.
    addresses: Vec<(String, u64)>,
}

impl Pointing {
    /// Where `object` sends the secret in `field`; `version` tells those of its other secrets.
    pub(crate) fn of(object: &Admitted, field: &str, version: impl Fn(&str) -> u64) -> Self {
        let mut this = Self {
            kind: String::new(),
            version: String::new(),
            settings: Vec::new(),
            addresses: Vec::new(),
        };
        if let Some(content) = object.component() {
            (this.kind, this.version) = (content.spec.kind.clone(), content.spec.version.clone());
            for item in &content.spec.metadata {
                let managed = item.secret_key_ref.as_ref().is_some_and(SecretKeyRef::is_managed);
                let own = item.field(SETTINGS);
                if !managed {
                    let reference = item.secret_key_ref.as_ref().map(|at| format!("{}/{}", at.name, at.key));
                    let value = item.value.as_ref().map(ToString::to_string);
                    let value = reference.or(value).unwrap_or_default();
                    this.settings.push((item.name.to_ascii_lowercase(), value));
                } else if own != field && points(&item.name) {
                    let version = version(&own);
                    this.addresses.push((own, version));
                }
            }
            let store = content.auth.as_ref().map(|auth| auth.secret_store.clone());
            this.settings.push((SECRET_STORE.to_owned(), store.unwrap_or_default()));
        }
        match &object.content {
            Content::HttpEndpoint(content) => this.of_endpoint(content, field, version),
            Content::Configuration(content) => {
                let tracing = content.spec.tracing.as_ref();
                if let Some(otel) = tracing.and_then(|tracing| tracing.otel.as_ref()) {
                    let secure = otel.is_secure.map(|secure| secure.to_string()).unwrap_or_default();
                    for (name, value) in [
                        ("endpointAddress", &otel.endpoint_address),
                        ("protocol", &otel.protocol),
                        ("isSecure", &secure),
                    ] {
                        this.settings.push((name.to_owned(), value.clone()));
                    }
                }
            }
            _ => {}
        }
        if let Some(endpoint) = object.app().and_then(|app| app.app_endpoint.as_ref()) {
            this.settings.push(("url".to_owned(), endpoint.url.clone()));
            this.settings
                .push(("tokenHeader".to_owned(), endpoint.token_header.clone()));
        }
        this.settings.sort();
        this.addresses.sort();
        this
    }

    /// Who is believed to be the endpoint counts as much as its address.
    fn of_endpoint(&mut self, content: &HttpEndpointContent, field: &str, version: impl Fn(&str) -> u64) {
        self.settings
            .push(("baseUrl".to_owned(), content.spec.base_url.clone()));
        let store = content.auth.as_ref().map(|auth| auth.secret_store.clone());
        self.settings.push((SECRET_STORE.to_owned(), store.unwrap_or_default()));
        let root = content.spec.client_tls.as_ref().and_then(|tls| tls.root_ca.as_ref());
        match root.map(|root| (&root.value, &root.secret_key_ref)) {
            Some((_, Some(reference))) if reference.is_managed() => {
                if field != ROOT_CA {
                    self.addresses.push((ROOT_CA.to_owned(), version(ROOT_CA)));
                }
            }
            Some((_, Some(at))) => self
                .settings
                .push(("rootCA".to_owned(), format!("{}/{}", at.name, at.key))),
            Some((Some(value), None)) => self.settings.push(("rootCA".to_owned(), value.to_string())),
            Some((None, None)) | None => {}
        }
    }

    /// Whether both are one place. Settings that stay inside the Dapr Server make no difference.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        (&self.kind, &self.version, &self.addresses) == (&other.kind, &other.version, &other.addresses)
            && self.outward().eq(other.outward())
    }

    fn outward(&self) -> impl Iterator<Item = &(String, String)> {
        let local = |name: &str| name != SECRET_STORE && catalog().is_local(&self.kind, &self.version, name);
        self.settings.iter().filter(move |(name, _)| !local(name))
    }
}

/// No setting has a dot in front.
const SECRET_STORE: &str = ".secretStore";
