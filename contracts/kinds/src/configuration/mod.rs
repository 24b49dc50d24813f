//! Configuration: how the Dapr Servers of the App IDs that name it behave, in Dapr's own shape.
//!
//! One idea: an App ID has at most one, by `spec.appConfig`; what belongs to the platform (mutual TLS, name resolution) is
//! refused by name, so that nobody believes to have set it. Must never let a tenant loosen the platform.

mod access;
mod rules;
mod spec;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::action::CrudActions;
use crate::definition::{self, Group, KindDefinition, Scope, Sensitive};
use crate::names::NameRule;
use crate::secret_ref::SecretKeyRef;

pub use access::{CREATE, DELETE, GET, LIST, READ_SECRETS, UPDATE};
pub use spec::*;

/// Where the headers for the trace exporter stand.
pub const TRACE_HEADERS: &str = "spec.tracing.otel.headers";

/// The definition.
pub static KIND: KindDefinition = KindDefinition {
    kind: "Configuration",
    api_versions: &["dapr.io/v1alpha1", "dapr.diagrid.io/v1beta1", "cra.diagrid.io/v1beta1"],
    plural: "configurations",
    short_names: &["configuration"],
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
        lists: &[TRACE_HEADERS],
        single: &[],
    },
    pointing: &[
        "spec.tracing.otel.endpointAddress",
        "spec.tracing.otel.protocol",
        "spec.tracing.otel.isSecure",
    ],
    regional: true,
    normalize: definition::normalize::<ConfigurationContent>,
    check_update: definition::check_update::<ConfigurationContent>,
    schemas: definition::schemas::<ConfigurationContent>,
    example: include_str!("example.yaml"),
};

/// Everything beside the envelope.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigurationContent {
    /// What is wanted.
    #[serde(default)]
    pub spec: ConfigurationSpec,
}

impl ConfigurationContent {
    /// All references to secrets, with the path of the field that each stands in.
    pub fn references(&self) -> Vec<(&SecretKeyRef, String)> {
        let otel = self.spec.tracing.as_ref().and_then(|tracing| tracing.otel.as_ref());
        let headers = otel.into_iter().flat_map(|otel| &otel.headers);
        headers
            .filter_map(|header| Some((header.secret_key_ref.as_ref()?, header.field(TRACE_HEADERS))))
            .collect()
    }
}
