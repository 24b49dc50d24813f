//! The way to an application that speaks gRPC.
//!
//! One idea: the same connections for callbacks, probes and proxied calls; the application's own token goes with each.
//! Must never let a caller's token through in its place.

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version};
use hyper::body::Incoming;
use palladium_http::Budget;
use palladium_proto::common::{InvokeRequest, InvokeResponse};
use secrecy::{ExposeSecret, SecretString};
use tonic::{Code, Status};

use super::{CallError, ChannelError};
use crate::auth::TOKEN_HEADER;
use crate::http::Body;
use crate::invoke::{Lease, Messages, Pool, SendError, framed};

/// The call of an application's method.
pub const ON_INVOKE: &str = "/dapr.proto.runtime.v1.AppCallback/OnInvoke";
/// Bytes of the longest answer to a probe.
const PROBE: usize = 1 << 20;
const HEALTH: &str = "/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck";

/// Calls one application by gRPC.
pub struct GrpcApp {
    pool: Pool,
    authority: Authority,
    token: Option<(HeaderName, SecretString)>,
}

/// What an application answered to `OnInvoke`.
pub struct Invoked {
    /// How the call ended.
    pub status: Status,
    /// Headers of the answer.
    pub headers: HeaderMap,
    /// Trailers of the answer.
    pub trailers: HeaderMap,
    /// The answer; empty when the call failed.
    pub message: InvokeResponse,
}

impl GrpcApp {
    pub(super) fn new(authority: &str, token: Option<(HeaderName, SecretString)>) -> Result<Self, ChannelError> {
        let invalid = |_| ChannelError::Address(authority.to_owned());
        Ok(Self {
            pool: Pool::new(authority.to_owned(), None),
            authority: authority.parse().map_err(invalid)?,
            token,
        })
    }

    /// Sends a call on, whatever its service. `headers`: its metadata. The answer lives with the lease.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn proxy(
        &self,
        path: &str,
        mut headers: HeaderMap,
        body: Body,
    ) -> Result<(Response<Incoming>, Lease), CallError> {
        headers.remove(TOKEN_HEADER);
        if let Some((name, token)) = &self.token {
            let mut value = HeaderValue::from_str(token.expose_secret()).map_err(http::Error::from)?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        headers.insert(http::header::TE, HeaderValue::from_static("trailers"));
        let path: PathAndQuery = path.parse().map_err(http::Error::from)?;
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()?;
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = headers;
        self.pool.send(request).await.map_err(|error| match error {
            SendError::Connect(error, _) => CallError::Transport(error.to_string()),
            SendError::Lost(error) => super::failure(&error),
            SendError::Body(error) => error,
        })
    }

    /// `AppCallback.OnInvoke`. `limit`: greatest answer in bytes. What is held meanwhile counts against `budget`.
    ///
    /// # Errors
    /// See [`CallError`]: only when the application did not answer; a status of its own is an answer.
    pub async fn invoke(
        &self,
        request: InvokeRequest,
        headers: HeaderMap,
        limit: usize,
        budget: &Budget,
    ) -> Result<Invoked, CallError> {
        let message = framed(&request);
        drop(request);
        let body = Body::from(budget.tie(message)?);
        let (answer, _lease) = self.unary(ON_INVOKE, headers, body).await?;
        let (parts, body) = answer.into_parts();
        let mut headers = parts.headers;
        // A call that failed without an answer says so in its head.
        if let Some(status) = Status::from_header_map(&headers) {
            strip(&mut headers);
            return Ok(Invoked {
                status,
                headers: HeaderMap::new(),
                trailers: headers,
                message: InvokeResponse::default(),
            });
        }
        let mut messages = Messages::new(body, limit, budget);
        let message = messages.only::<InvokeResponse>().await;
        let message = message.map_err(|error| super::failure(&error))?;
        let status = messages.status();
        let mut trailers = messages.trailers().unwrap_or_default();
        strip(&mut headers);
        strip(&mut trailers);
        let message = match (message, status.code()) {
            (Some(message), Code::Ok) => message,
            (None, Code::Ok) => return Err(CallError::Transport("the application answered nothing".to_owned())),
            _ => InvokeResponse::default(),
        };
        Ok(Invoked {
            status,
            headers,
            trailers,
            message,
        })
    }

    /// What the application says to whether it is healthy.
    pub(super) async fn health(&self) -> Code {
        let body = Body::from(Bytes::from_static(&[0; 5]));
        let Ok((answer, _lease)) = self.unary(HEALTH, HeaderMap::new(), body).await else {
            return Code::Unavailable;
        };
        let (parts, body) = answer.into_parts();
        if let Some(status) = Status::from_header_map(&parts.headers) {
            return status.code();
        }
        let mut messages = Messages::new(body, PROBE, &Budget::new(PROBE));
        match messages.only::<()>().await {
            Ok(_) => messages.status().code(),
            Err(_) => Code::Internal,
        }
    }

    async fn unary(
        &self,
        path: &str,
        mut headers: HeaderMap,
        body: Body,
    ) -> Result<(Response<Incoming>, Lease), CallError> {
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        self.proxy(path, headers, body).await
    }
}

/// Removes what the transport put among the metadata.
fn strip(headers: &mut HeaderMap) {
    for name in [
        "content-type",
        "date",
        "grpc-status",
        "grpc-message",
        "grpc-status-details-bin",
        "grpc-encoding",
        "grpc-accept-encoding",
        "trailer",
    ] {
        headers.remove(name);
    }
}
