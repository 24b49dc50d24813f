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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{Request, StatusCode};
    use palladium_http::Upload;
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::auth::{Auth, Digest256};
    use crate::http::{Surface, handle};
    use crate::resources::ApiRule;
    use crate::testing;

    /// By its own path, in any spelling, and by the header that makes a call of any path.
    #[tokio::test]
    async fn sec_071_invocation_that_is_denied_is_not_reached_by_another_way() {
        let server = testing::server();
        let Auth::Digests(digests) = &server.auth else {
            panic!("tokens are told by digests");
        };
        let token = Digest256 {
            sha256: Sha256::digest("token").into(),
            not_after: None,
        };
        digests.store(Arc::new([token].into_iter().collect()));
        let status = async |path: &str, rules: Configuration| {
            server.rules.store(Arc::new(Rules::new(&rules, true).expect("sound")));
            let request = Request::get(path)
                .header("dapr-api-token", "token")
                .header("dapr-app-id", "nobody");
            let request = request.body(Upload::whole(Default::default())).expect("sound");
            handle(&server, Surface::Api, request).await.status()
        };
        let rule = |name: &str| ApiRule {
            name: name.to_owned(),
            ..ApiRule::default()
        };
        for path in [
            "/v1.0/invoke/nobody/method/x",
            "/v1.0//x/../invoke/nobody/method/x",
            // Routed as state, and with state denied a call of the path as it came.
            "/v1.0/invoke/nobody/method/../../../state/store/key",
            "/any/path",
            "/v1.0/state/store/key",
        ] {
            let denied = Configuration {
                denied: vec![rule("invoke"), rule("state")],
                ..Configuration::default()
            };
            assert_eq!(status(path, denied).await, StatusCode::NOT_FOUND, "{path}");
            let others = Configuration {
                allowed: vec![rule("metadata")],
                ..Configuration::default()
            };
            assert_eq!(status(path, others).await, StatusCode::NOT_FOUND, "{path}");
        }
        let open = status("/v1.0/invoke/nobody/method/x", Configuration::default()).await;
        assert_ne!(open, StatusCode::NOT_FOUND, "the call is tried");
    }
}
