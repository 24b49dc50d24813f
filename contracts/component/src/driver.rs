//! One driver as a constant: its name, what it may do where, its metadata and how it is opened.
//!
//! The one idea: a registry is a plain `const` slice of these values. Reading it is the list; nothing is registered by
//! side effect, and what is not in the slice does not exist.
//!
//! Must never open anything by itself.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::OpenError;
use crate::metadata::{FieldSpec, Properties};
use crate::reply::BoxFuture;

/// How far a driver may be trusted by its users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// May change or vanish.
    Alpha,
    /// Complete, little proven.
    Beta,
    /// Complete and proven by conformance.
    Stable,
}

impl Status {
    /// Name in the catalog.
    pub const fn name(self) -> &'static str {
        match self {
            Status::Alpha => "alpha",
            Status::Beta => "beta",
            Status::Stable => "stable",
        }
    }
}

/// Whether a driver may run in platform mode, where one machine serves many tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hosted {
    /// Touches nothing of the machine.
    Allowed,
    /// Touches files: confined to the App ID's own folder.
    Confined,
    /// Would hand the machine's own things (environment, files, processes) to a tenant.
    Refused,
}

impl Hosted {
    /// Name in the catalog.
    pub const fn name(self) -> &'static str {
        match self {
            Hosted::Allowed => "allowed",
            Hosted::Confined => "confined",
            Hosted::Refused => "refused",
        }
    }
}

/// Lists the fields of a metadata schema.
pub type Fields = fn() -> Vec<FieldSpec>;

/// A registered driver of one building block; `S` is the block's trait, for instance `dyn StateStore`.
pub struct Driver<S: ?Sized> {
    /// Type as a Component names it, lower case: `state.redis`.
    pub type_name: &'static str,
    /// Other names of the same driver.
    pub aliases: &'static [&'static str],
    /// Accepted versions, first the default one. An empty version in a Component means `v1`.
    pub versions: &'static [&'static str],
    /// How far it may be trusted.
    pub status: Status,
    /// Whether it may run in platform mode.
    pub hosted: Hosted,
    /// The metadata schema.
    pub fields: Fields,
    /// A Component that a user would write (YAML); parsed by a test.
    pub example: &'static str,
    /// Opens a store.
    pub open: fn(OpenContext) -> BoxFuture<'static, Result<Arc<S>, OpenError>>,
}

impl<S: ?Sized> Driver<S> {
    /// Whether a Component of this type and version is meant for this driver. Types compare case-insensitively.
    pub fn matches(&self, type_name: &str, version: &str) -> bool {
        let version = if version.is_empty() { "v1" } else { version };
        let named = self.type_name.eq_ignore_ascii_case(type_name)
            || self.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(type_name));
        named && self.versions.iter().any(|own| own.eq_ignore_ascii_case(version))
    }
}

impl<S: ?Sized> fmt::Debug for Driver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("type", &self.type_name)
            .field("versions", &self.versions)
            .finish_non_exhaustive()
    }
}

/// Where the driver runs.
#[derive(Debug, Clone, Default)]
pub enum Hosting {
    /// The user's own process: everything is allowed.
    #[default]
    SelfHosted,
    /// A tenant's Dapr Server on a shared machine.
    Platform {
        /// The App ID's own folder: the only place where files may be.
        folder: PathBuf,
    },
}

impl Hosting {
    /// Whether tenants say what is opened, on a machine that is not theirs.
    pub fn is_platform(&self) -> bool {
        matches!(self, Self::Platform { .. })
    }
}

/// What a driver is given to open one component.
#[derive(Debug, Clone)]
pub struct OpenContext {
    /// Name of the component.
    pub component: String,
    /// Version of the component; empty means `v1`. For drivers whose versions differ in layout.
    pub version: String,
    /// App ID of the Dapr Server.
    pub app_id: String,
    /// The component's metadata, secrets already resolved.
    pub properties: Properties,
    /// Where the driver runs.
    pub hosting: Hosting,
    /// Way to the region's managed services; `None` where there are none.
    pub managed: Option<Arc<dyn Connector>>,
}

impl OpenContext {
    /// A context of a user's own process with the given metadata.
    pub fn new(component: impl Into<String>, app_id: impl Into<String>, properties: Properties) -> Self {
        OpenContext {
            component: component.into(),
            version: String::new(),
            app_id: app_id.into(),
            properties,
            hosting: Hosting::SelfHosted,
            managed: None,
        }
    }
}

/// A byte stream in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Duplex for T {}

/// Opens authenticated byte streams to another process. Whoever builds one decides about TLS and whom to expect; a
/// driver only speaks its protocol over the stream.
pub trait Connector: fmt::Debug + Send + Sync + 'static {
    /// Opens one stream; the other side is already authenticated.
    fn connect(&self) -> BoxFuture<'static, io::Result<Box<dyn Duplex>>>;
}
