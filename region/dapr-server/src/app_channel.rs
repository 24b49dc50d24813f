//! The way to the application: HTTP calls to its port, as many at a time as it allows, only while it is healthy.
//!
//! One idea: a request goes through as it came (streaming, no buffer), minus what belongs to one connection only and plus
//! the application's own token. Must never call another address than the application's.

mod behind;
mod body;
mod callback;
mod config;
mod counted;
mod grpc;
mod headers;
mod health;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version};
use http_body::Body as _;
use http_body_util::{LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use palladium_http::{Budget, Exhausted, Held, UploadError};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tonic::transport::Channel;

pub use body::AppBody;
pub use config::ask as ask_config;
pub use grpc::{GrpcApp, ON_INVOKE};
pub use headers::{is_hop_by_hop, is_reserved, strip_request, strip_response};
pub use health::{wait_for_port, watch};

use crate::auth::TOKEN_HEADER;
use crate::config::{AppProtocol, AppSettings};
use crate::errors::Fault;
use crate::http::{Body, joined, read};
use crate::invoke::APP_ID;
use crate::server::Server;

/// How long a call waits for its turn, where the application allows only so many at a time and names no deadline.
const TURN: Duration = Duration::from_secs(60);

/// Calls one application.
pub struct AppChannel {
    authority: Authority,
    /// Path of the endpoint, without a slash at its end.
    base_path: String,
    client: Client<HttpConnector, Body>,
    /// In place of `client`, if it speaks gRPC.
    grpc: Option<GrpcApp>,
    version: Version,
    token: Option<(HeaderName, SecretString)>,
    permits: Option<Arc<Semaphore>>,
    timeout: Option<Duration>,
    healthy: AtomicBool,
    /// Rung when `healthy` changes.
    health: Notify,
    /// What stands before it.
    behind: Weak<Server>,
    /// What its answers count against when they are held.
    budget: Budget,
    /// Given when the application speaks gRPC.
    callbacks: Option<Channel>,
}

/// Why a call did not reach the application.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Its health probes fail.
    #[error("rpc error: code = Internal desc = app is not in a healthy state")]
    Unhealthy,
    /// The request cannot be put as HTTP.
    #[error("the request cannot be forwarded: {0}")]
    Request(#[from] http::Error),
    /// It could not be reached, or ended the connection.
    #[error("error invoking app channel: {0}")]
    Transport(String),
    /// All its places were taken for too long.
    #[error("error invoking app channel: the application was busy for {0:?}")]
    Busy(Duration),
    /// The process holds too much data of other calls.
    #[error(transparent)]
    NoRoom(#[from] Exhausted),
    /// The rest of the request did not come in time.
    #[error("the request body stalled")]
    Stalled,
    /// The request turned out too large.
    #[error("request body too large")]
    TooLarge,
    /// It did not answer in time.
    #[error("error invoking app channel: no answer within {0:?}")]
    Timeout(Duration),
}

/// Why there can be no channel.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// Not spoken yet.
    #[error("app protocol {0} is not available yet; use http or h2c")]
    Protocol(&'static str),
    /// Not an address.
    #[error("the application's address {0:?} is not valid")]
    Address(String),
}

impl AppChannel {
    /// To an application on this machine, by the flags.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn local(settings: &AppSettings, port: u16) -> Result<Self, ChannelError> {
        let token = settings
            .token
            .clone()
            .map(|token| (HeaderName::from_static(TOKEN_HEADER), token));
        let host = if settings.address.contains(':') {
            format!("[{}]", settings.address)
        } else {
            settings.address.clone()
        };
        let mut channel = Self::new(&format!("{host}:{port}"), "", settings.protocol, token)?;
        channel.permits = settings.max_concurrency.map(|most| Arc::new(Semaphore::new(most)));
        channel.healthy = AtomicBool::new(settings.health.is_none());
        Ok(channel)
    }

    /// To an application anywhere, by its endpoint. `timeout`: for the answer's head.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn endpoint(
        url: &str,
        protocol: AppProtocol,
        token: Option<(HeaderName, SecretString)>,
        timeout: Option<Duration>,
        probed: bool,
    ) -> Result<Self, ChannelError> {
        let invalid = || ChannelError::Address(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| invalid())?;
        match uri.scheme_str() {
            Some("http" | "grpc") => {}
            Some("https" | "grpcs") => return Err(ChannelError::Protocol("https")),
            _ => return Err(invalid()),
        }
        let authority = uri.authority().ok_or_else(invalid)?.as_str();
        let mut channel = Self::new(authority, uri.path().trim_end_matches('/'), protocol, token)?;
        channel.timeout = timeout;
        channel.healthy = AtomicBool::new(!probed);
        Ok(channel)
    }

    fn new(
        authority: &str,
        base_path: &str,
        protocol: AppProtocol,
        token: Option<(HeaderName, SecretString)>,
    ) -> Result<Self, ChannelError> {
        let http2 = match protocol {
            AppProtocol::Http => false,
            AppProtocol::H2c | AppProtocol::Grpc => true,
            other => return Err(ChannelError::Protocol(other.name())),
        };
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(10)));
        Ok(Self {
            authority: authority
                .parse()
                .map_err(|_| ChannelError::Address(authority.to_owned()))?,
            base_path: base_path.to_owned(),
            grpc: match protocol {
                AppProtocol::Grpc => Some(GrpcApp::new(authority, token.clone())?),
                _ => None,
            },
            client: Client::builder(TokioExecutor::new())
                .pool_idle_timeout(Duration::from_secs(60))
                .http2_only(http2)
                .build(connector),
            version: if http2 { Version::HTTP_2 } else { Version::HTTP_11 },
            token,
            permits: None,
            timeout: None,
            behind: Weak::new(),
            budget: Budget::new(usize::MAX),
            healthy: AtomicBool::new(true),
            health: Notify::new(),
            callbacks: match protocol {
                AppProtocol::Grpc => Some(callback::channel(authority)?),
                _ => None,
            },
        })
    }

    /// Whether calls are passed on.
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }

    /// Returns when health has changed since the last call of this; for one who waits.
    pub async fn health_changed(&self) {
        self.health.notified().await;
    }

    /// The way to an application that speaks gRPC.
    pub fn grpc(&self) -> Option<&GrpcApp> {
        self.grpc.as_ref()
    }

    /// A place among the calls at a time; it is free again when what is returned is dropped.
    ///
    /// # Errors
    /// When none was free in time.
    pub async fn permit(&self) -> Result<Option<OwnedSemaphorePermit>, CallError> {
        let Some(permits) = &self.permits else {
            return Ok(None);
        };
        let turn = self.timeout.unwrap_or(TURN);
        let permit = timeout(turn, permits.clone().acquire_owned()).await;
        // Never closed, so a permit always comes.
        Ok(permit.map_err(|_| CallError::Busy(turn))?.ok())
    }

    /// Waits for the head of an answer as long as this application may take.
    ///
    /// # Errors
    /// The call's own, or that it took too long.
    pub async fn in_time<T, E: From<CallError>>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        match self.timeout {
            Some(most) => timeout(most, call).await.map_err(|_| CallError::Timeout(most))?,
            None => call.await,
        }
    }

    /// A body that the application says is short, whole, so that whoever gets it learns its true length; others as they are.
    ///
    /// # Errors
    /// When it breaks or does not come in time.
    pub async fn whole_if_short(&self, body: Body) -> Result<Body, CallError> {
        match body {
            Body::Answer(answer) if answer.is_short() => {
                let whole = joined(Body::Answer(answer));
                let whole = self.in_time(async { whole.await.map_err(|error| failure(&*error)) });
                Ok(Body::from(whole.await?))
            }
            body => Ok(body),
        }
    }

    /// Reads an answer of the application's whole.
    ///
    /// # Errors
    /// When it is longer than `limit` bytes or ends early, or when there is no room for it.
    pub async fn read(&self, body: Body, limit: usize) -> Result<Bytes, Fault> {
        let bytes = read(self.budget.hold().meter(body), limit).await?;
        self.budget.tie(bytes).map_err(|_| Fault::busy())
    }

    /// One call. `path`: percent-encoded, with its slash and its query. Answers as soon as the head of the answer is there;
    /// the call is over, for who waits for its place, when the answer's body is.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        body: Body,
    ) -> Result<Response<Body>, CallError> {
        strip_request(&mut headers);
        self.pass(method, path, headers, body).await
    }

    async fn pass(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Response<Body>, CallError> {
        if !self.is_healthy() {
            return Err(CallError::Unhealthy);
        }
        let permit = self.permit().await?;
        if let Some((server, list)) = self.pipeline() {
            // Apart: it is seldom there, and large.
            let behind = self.call_behind(&server, &list, method, path, headers, body, permit);
            return Box::pin(behind).await;
        }
        let answer = self.send(method, path, headers, body).await?;
        Ok(answer.map(|body| Body::Answer(AppBody::new(body, permit))))
    }

    /// Asks the application one of Dapr's own questions, and says for which App ID.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn ask(&self, path: &str) -> Result<Response<Body>, CallError> {
        let mut headers = HeaderMap::new();
        let own = self.behind.upgrade();
        if let Some(Ok(id)) = own.map(|server| HeaderValue::from_str(&server.app_id)) {
            headers.insert(APP_ID, id);
        }
        self.pass(Method::GET, path, headers, Body::Empty).await
    }

    /// One call, counted.
    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Response<Incoming>, CallError> {
        let (start, sent) = (Instant::now(), body.size_hint().exact());
        let answer = self.exchange(method.clone(), path, headers, body).await;
        if let Some(server) = self.behind.upgrade() {
            let answered = answer.as_ref().ok();
            let answered = answered.map(|answer| (answer.status().as_u16(), answer.body().size_hint().exact()));
            server
                .metrics
                .http_client(&method, path, sent, answered, start.elapsed());
        }
        answer
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        body: Body,
    ) -> Result<Response<Incoming>, CallError> {
        if let Some((name, token)) = &self.token {
            let mut value = HeaderValue::from_str(token.expose_secret()).map_err(http::Error::from)?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let path: PathAndQuery = format!("{}{path}", self.base_path).parse().map_err(http::Error::from)?;
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()?;
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.version_mut() = self.version;
        *request.headers_mut() = headers;
        let answer = self.client.request(request);
        self.in_time(async { answer.await.map_err(|error| failure(&error)) })
            .await
    }
}

/// A request's body whole, for a call that cannot stream it. One that is here already was counted where it came from.
///
/// # Errors
/// When it breaks, is longer than `limit` bytes, or there is no room for it.
pub(crate) async fn collected(body: Body, held: &Held, limit: usize) -> Result<Bytes, CallError> {
    match body {
        Body::Full(Some(bytes)) if bytes.len() > limit => Err(CallError::TooLarge),
        Body::Full(Some(bytes)) => Ok(bytes),
        body => joined(Limited::new(held.meter(body), limit))
            .await
            .map_err(|error| failure(&*error)),
    }
}

/// The reason behind a chain of errors: the outer ones only say "client error", whoever is to blame.
pub(crate) fn failure(error: &(dyn std::error::Error + 'static)) -> CallError {
    let mut error = error;
    loop {
        if let Some(exhausted) = error.downcast_ref::<Exhausted>() {
            return CallError::NoRoom(*exhausted);
        }
        if error.is::<LengthLimitError>() {
            return CallError::TooLarge;
        }
        if matches!(error.downcast_ref(), Some(UploadError::Stalled)) {
            return CallError::Stalled;
        }
        match error.source() {
            Some(source) => error = source,
            None => return CallError::Transport(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
