//! What a Configuration says, ready to be asked.
//!
//! One idea: made once of the resource, read by every call, replaced as a whole: a call sees the rules of before or those
//! of after, never some of each. Must never be half made: a Configuration that cannot be used leaves the rules as they were.

use palladium_engine_secrets::Scopes;

use crate::api_rules::ApiRules;
use crate::invoke::access::{AccessControl, AccessError};
use crate::pipeline::Pipelines;
use crate::resources::{ApiLogging, Configuration};

/// The rules of one moment.
#[derive(Default)]
pub struct Rules {
    /// Who may call what of the application; `None` = whoever reaches it.
    pub access: Option<AccessControl>,
    /// Which secrets the application may read.
    pub secrets: Scopes,
    /// What stands before the API and before the application.
    pub pipelines: Pipelines,
    /// Which APIs are switched off.
    pub api: ApiRules,
    /// What is logged of calls.
    pub api_logging: ApiLogging,
    /// Features that are switched on, for metadata.
    pub features: Vec<String>,
}

impl Rules {
    /// The rules of a Configuration. `http`: whether the application speaks HTTP.
    ///
    /// # Errors
    /// When its access control lacks something.
    pub fn new(configuration: &Configuration, http: bool) -> Result<Self, AccessError> {
        Ok(Self {
            access: AccessControl::new(&configuration.access, http)?,
            secrets: configuration.secrets.clone(),
            pipelines: Pipelines::new(&configuration.http_pipeline, &configuration.app_http_pipeline),
            api: ApiRules::new(configuration.allowed.clone(), configuration.denied.clone()),
            api_logging: configuration.api_logging,
            features: configuration.features.clone(),
        })
    }
}
