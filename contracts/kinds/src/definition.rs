//! What a kind is, as data: [`KindDefinition`].
//!
//! One idea: typed specs ([`Content`]) stay typed inside of their folder; the generic machinery (storage, REST, audit) sees function
//! pointers over JSON, so that it exists once and not once per kind.
//!
//! Must never: contain behaviour that needs stored state; that belongs to the control plane.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::action::{Action, CrudActions};
use crate::decode;
use crate::error::FieldErrors;
use crate::names::NameRule;

/// The finalizer of everything that a region is told about; the region releases it by reporting that the object is gone.
pub const REGION_FINALIZER: &str = "cra.diagrid.io/region";

/// Where objects of a kind live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Directly in the organization.
    Organization,
    /// In a project.
    Project,
}

/// A group of the REST API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// `/apis/cra.diagrid.io/v1beta1`
    Cra,
    /// `/apis/dapr.diagrid.io/v1beta1`
    Dapr,
}

impl Group {
    /// The path before the plural.
    pub const fn prefix(self) -> &'static str {
        match self {
            Group::Cra => "/apis/cra.diagrid.io/v1beta1",
            Group::Dapr => "/apis/dapr.diagrid.io/v1beta1",
        }
    }
}

/// Which fields of a kind hold secrets.
#[derive(Clone, Copy, Debug)]
pub enum Sensitive {
    /// None.
    Nothing,
    /// String fields at these paths.
    Fields(&'static [&'static str]),
    /// Entries of `spec.metadata`, as the component catalog says.
    ComponentMetadata,
    /// Every value (`value` or `secretKeyRef`) in the lists of headers, but for those that never hold one, and at the single places.
    Values {
        /// Paths of lists of headers.
        lists: &'static [&'static str],
        /// Paths of single ones.
        single: &'static [&'static str],
    },
}

/// Body beside the envelope → canonical content.
pub type NormalizeFn = fn(Value) -> Result<Map<String, Value>, FieldErrors>;
/// (stored content, wanted content) → whether the step is allowed.
pub type CheckUpdateFn = fn(&Map<String, Value>, &Map<String, Value>) -> Result<(), FieldErrors>;

/// Everything that the generic machinery needs to know about a kind.
#[derive(Clone, Copy)]
pub struct KindDefinition {
    /// `AppIdentity`
    pub kind: &'static str,
    /// Written into objects and accepted in bodies; the first one is written.
    pub api_versions: &'static [&'static str],
    /// Path segment: `appids`.
    pub plural: &'static str,
    /// Short names for the CLI.
    pub short_names: &'static [&'static str],
    /// API groups that serve it.
    pub groups: &'static [Group],
    /// Where its objects live.
    pub scope: Scope,
    /// How its objects are named.
    pub names: NameRule,
    /// The verbs.
    pub crud: CrudActions,
    /// Further actions.
    pub actions: &'static [&'static Action],
    /// Secret-bearing fields.
    pub sensitive: Sensitive,
    /// Fields that decide where secrets are sent: changing one requires the secrets again from whoever may not read them.
    pub pointing: &'static [&'static str],
    /// True when the region must be told.
    pub regional: bool,
    /// Strict decoding, defaults and validation of everything beside the envelope.
    pub normalize: NormalizeFn,
    /// Rules about a change: (stored, wanted).
    pub check_update: CheckUpdateFn,
    /// Schema of the content, and the schemas that it refers to.
    pub schemas: fn() -> KindSchemas,
    /// The canonical example, YAML.
    pub example: &'static str,
}

/// OpenAPI schemas of a kind.
pub struct KindSchemas {
    /// Properties beside the envelope.
    pub content: RefOr<Schema>,
    /// Schema of the status.
    pub status: RefOr<Schema>,
    /// Named schemas that these refer to.
    pub referenced: Vec<(String, RefOr<Schema>)>,
}

/// The typed content of a kind: `spec` and whatever stands beside it.
pub trait Content: Serialize + DeserializeOwned + ToSchema + 'static {
    /// The kind's own status fields.
    type Status: ToSchema;

    /// Fills in what was left out and brings values into their canonical form.
    fn set_defaults(&mut self);

    /// Complains about everything that is wrong in itself.
    fn validate(&self, errors: &mut FieldErrors);

    /// Complains about changes that are not allowed.
    fn validate_update(old: &Self, new: &Self, errors: &mut FieldErrors);
}

/// [`KindDefinition::normalize`] for a typed content.
pub fn normalize<C: Content>(value: Value) -> Result<Map<String, Value>, FieldErrors> {
    let mut content: C = decode::strict("", value)?;
    content.set_defaults();
    let mut errors = FieldErrors::default();
    content.validate(&mut errors);
    errors.into_result()?;
    match serde_json::to_value(content) {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err(FieldErrors::one("", "cannot be represented", "")),
    }
}

/// [`KindDefinition::check_update`] for a typed content.
pub fn check_update<C: Content>(old: &Map<String, Value>, new: &Map<String, Value>) -> Result<(), FieldErrors> {
    let old: C = decode::strict("", Value::Object(old.clone()))?;
    let new: C = decode::strict("", Value::Object(new.clone()))?;
    let mut errors = FieldErrors::default();
    C::validate_update(&old, &new, &mut errors);
    errors.into_result()
}

/// [`KindDefinition::schemas`] for a typed content.
pub fn schemas<C: Content>() -> KindSchemas {
    let mut referenced = Vec::new();
    C::schemas(&mut referenced);
    C::Status::schemas(&mut referenced);
    KindSchemas {
        content: C::schema(),
        status: C::Status::schema(),
        referenced,
    }
}

impl std::fmt::Debug for KindDefinition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind)
    }
}
