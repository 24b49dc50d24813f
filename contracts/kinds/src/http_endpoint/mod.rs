//! HTTPEndpoint: an address outside of Dapr that applications invoke by name, in Dapr's own shape.
//!
//! One idea: headers and TLS documents are credentials for `baseUrl`, so all of their values are secrets and are entered
//! again when it changes. Must never hold an address with a user or a password in it.

mod access;
mod rules;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::action::CrudActions;
use crate::definition::{self, Group, KindDefinition, Scope, Sensitive};
use crate::names::NameRule;
use crate::secret_ref::SecretKeyRef;
use crate::values::{Auth, NameValuePair, TlsDocument};

pub use access::{CREATE, DELETE, GET, LIST, READ_SECRETS, UPDATE};

/// Where the headers stand.
pub const HEADERS: &str = "spec.headers";
/// Where the root certificates stand: whoever changes them decides who is believed to be `baseUrl`.
pub const ROOT_CA: &str = "spec.clientTLS.rootCA";
/// Where the client certificate stands.
pub const CERTIFICATE: &str = "spec.clientTLS.certificate";
/// Where its key stands.
pub const PRIVATE_KEY: &str = "spec.clientTLS.privateKey";

/// The definition.
pub static KIND: KindDefinition = KindDefinition {
    kind: "HTTPEndpoint",
    api_versions: &["dapr.io/v1alpha1", "dapr.diagrid.io/v1beta1", "cra.diagrid.io/v1beta1"],
    plural: "httpendpoints",
    short_names: &["httpendpoint"],
    groups: &[Group::Cra, Group::Dapr],
    scope: Scope::Project,
    names: NameRule::Component,
    crud: CrudActions {
        list: &LIST,
        get: &GET,
        read_sensitive: Some(&READ_SECRETS),
        create: Some(&CREATE),
        update: Some(&UPDATE),
        delete: Some(&DELETE),
    },
    actions: &[],
    sensitive: Sensitive::Values {
        lists: &[HEADERS],
        single: &[ROOT_CA, CERTIFICATE, PRIVATE_KEY],
    },
    pointing: &["spec.baseUrl", ROOT_CA, "auth"],
    regional: true,
    normalize: definition::normalize::<HttpEndpointContent>,
    check_update: definition::check_update::<HttpEndpointContent>,
    schemas: definition::schemas::<HttpEndpointContent>,
    example: include_str!("example.yaml"),
};

/// Everything beside the envelope.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpEndpointContent {
    /// What is wanted.
    pub spec: HttpEndpointSpec,
    /// Where `secretKeyRef`s are looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// App IDs that may invoke it; empty = what the project's `componentScopesDefault` says.
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// What is wanted of an HTTP endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpEndpointSpec {
    /// `https://api.example.com:443`
    pub base_url: String,
    /// Sent with every call. Secret, but for such as `Accept`: masked on reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<NameValuePair>,
    /// Certificates, for `https`.
    #[serde(default, rename = "clientTLS", skip_serializing_if = "Option::is_none")]
    pub client_tls: Option<ClientTls>,
}

/// Certificates for calls to an HTTP endpoint. Secret: masked on reads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientTls {
    /// Roots that the endpoint's certificate must lead to; absent = the system's.
    #[serde(default, rename = "rootCA", skip_serializing_if = "Option::is_none")]
    pub root_ca: Option<TlsDocument>,
    /// The client's certificate chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<TlsDocument>,
    /// Its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<TlsDocument>,
    /// Whether the endpoint may begin the handshake anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renegotiation: Option<Renegotiation>,
}

/// Whether the other side may begin the handshake anew; TLS 1.3 knows no such thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Renegotiation {
    /// Never.
    Never,
    /// Once.
    OnceAsClient,
    /// At any time.
    FreelyAsClient,
}

impl HttpEndpointContent {
    /// All documents with the path of each, as used for sealed values.
    pub fn documents(&self) -> impl Iterator<Item = (&'static str, &TlsDocument)> {
        self.spec.client_tls.iter().flat_map(|tls| {
            let all = [
                (ROOT_CA, &tls.root_ca),
                (CERTIFICATE, &tls.certificate),
                (PRIVATE_KEY, &tls.private_key),
            ];
            all.into_iter()
                .filter_map(|(path, document)| Some((path, document.as_ref()?)))
        })
    }

    /// All references to secrets, with the path of the field that each stands in.
    pub fn references(&self) -> Vec<(&SecretKeyRef, String)> {
        let headers = self.spec.headers.iter();
        let headers = headers.filter_map(|header| Some((header.secret_key_ref.as_ref()?, header.field(HEADERS))));
        let documents = self.documents();
        let documents = documents.filter_map(|(path, one)| Some((one.secret_key_ref.as_ref()?, path.to_owned())));
        headers.chain(documents).collect()
    }
}
