//! Puts one App ID's settings into effect: tokens, limits, the application's endpoint.
//!
//! One idea: each message is the whole state; only what differs from the last one is acted on, so that repeating it
//! disturbs no call. Must never keep a digest that the newest message leaves out, nor log the application's token.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::HeaderName;
use palladium_proto::region::{AppEndpoint, AppServerState, LoadResult};
use palladium_tasks::{Shutdown, Tasks};
use secrecy::SecretString;

use super::{APP_IDENTITY, GRPC};
use crate::app_channel::{AppChannel, ChannelError, watch};
use crate::auth::{Auth, Digest256, TOKEN_HEADER};
use crate::config::{AppProtocol, AppSettings, HealthSettings};
use crate::platform::{MAX_BODY, nowhere};
use crate::server::Server;

/// What is in effect, so that only changes are acted on.
pub(super) struct Apply {
    server: Arc<Server>,
    endpoint: Option<AppEndpoint>,
    /// Why the endpoint cannot be used, if it cannot.
    fault: Option<String>,
    /// Ends the probes of the current endpoint.
    probes: Option<(Shutdown, Tasks)>,
}

impl Apply {
    pub(super) fn new(server: Arc<Server>) -> Self {
        Self {
            server,
            endpoint: None,
            fault: None,
            probes: None,
        }
    }

    /// Puts settings into effect. What cannot be used of them comes back, to be reported.
    pub(super) fn state(&mut self, state: &AppServerState) -> Option<LoadResult> {
        if let Auth::Digests(digests) = &self.server.auth {
            let accepted = state.tokens.iter().filter_map(|token| {
                let sha256 = <[u8; 32]>::try_from(&token.sha256[..]).ok()?;
                Some(Digest256 {
                    sha256,
                    not_after: (token.not_after_unix_s != 0).then_some(token.not_after_unix_s),
                })
            });
            digests.store(Arc::new(accepted.collect()));
        }
        let limit = usize::try_from(state.max_body_bytes).ok().filter(|limit| *limit > 0);
        // One call alone must always find room.
        let limit = limit.unwrap_or(MAX_BODY).min(self.server.budget.bytes());
        self.server.max_body.store(limit, Ordering::Relaxed);
        if self.endpoint != state.endpoint {
            self.endpoint.clone_from(&state.endpoint);
            self.fault = self.replace_endpoint().err().map(|error| error.to_string());
        }
        self.fault.clone().map(|message| LoadResult {
            kind: APP_IDENTITY.to_owned(),
            name: state.app_id.clone(),
            message,
            ..LoadResult::default()
        })
    }

    fn replace_endpoint(&mut self) -> Result<(), ChannelError> {
        if let Some((stop, _)) = self.probes.take() {
            stop.trigger();
        }
        self.server.app.store(None);
        self.server.subscriptions.ring();
        self.server.app_settings.store(Arc::new(nowhere()));
        let Some(endpoint) = self.endpoint.as_ref().filter(|endpoint| !endpoint.url.is_empty()) else {
            return Ok(());
        };
        let protocol = if endpoint.protocol == GRPC {
            AppProtocol::Grpc
        } else {
            AppProtocol::Http
        };
        let health = endpoint
            .health_check
            .as_ref()
            .filter(|check| check.enabled)
            .map(|check| HealthSettings {
                path: check.path.clone(),
                interval: Duration::from_secs(check.interval_seconds.max(1).into()),
                timeout: Duration::from_millis(check.timeout_ms.max(1).into()),
                threshold: check.failure_threshold.max(1),
            });
        let header = if endpoint.token_header.is_empty() {
            TOKEN_HEADER
        } else {
            &endpoint.token_header
        };
        let token = HeaderName::try_from(header)
            .ok()
            .filter(|_| !endpoint.token.is_empty())
            .map(|name| (name, SecretString::from(endpoint.token.clone())));
        let timeout = (endpoint.timeout_seconds > 0).then(|| Duration::from_secs(endpoint.timeout_seconds.into()));
        let channel = AppChannel::endpoint(&endpoint.url, protocol, token, timeout, health.is_some())
            .inspect_err(|error| tracing::warn!(%error, "the application's endpoint cannot be used"))?;
        let channel = Arc::new(channel.behind(&self.server));
        self.server
            .app_settings
            .store(Arc::new(about(endpoint, protocol, health.clone())));
        if let Some(health) = health {
            let (stop, mut tasks) = (self.server.shutdown.child(), Tasks::new());
            // Nobody waits for the first probe here: this process has served before it had an application.
            let (probed, _) = tokio::sync::oneshot::channel();
            tasks.spawn("app-health", watch(channel.clone(), health, probed, stop.clone()));
            self.probes = Some((stop, tasks));
        }
        self.server.app.store(Some(channel));
        self.server.bindings.ring();
        self.server.subscriptions.ring();
        Ok(())
    }
}

fn about(endpoint: &AppEndpoint, protocol: AppProtocol, health: Option<HealthSettings>) -> AppSettings {
    let url = url::Url::parse(&endpoint.url).ok();
    AppSettings {
        port: url.as_ref().and_then(url::Url::port_or_known_default),
        protocol,
        address: url
            .and_then(|url| url.host_str().map(str::to_owned))
            .unwrap_or_default(),
        max_concurrency: None,
        health,
        token: None,
    }
}
