//! Calls of an application's gRPC callback services.
//!
//! One idea: whoever calls brings the client and the message; permit and token are added here, as for every call to the
//! application. Must never wait for a connection longer than its deadline.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use super::counted::Counted;
use super::{AppChannel, CallError, ChannelError};

const CONNECT: Duration = Duration::from_secs(10);

/// A channel that connects when it is first used, and again when the connection is lost.
pub(super) fn channel(authority: &str) -> Result<Channel, ChannelError> {
    let endpoint = Endpoint::from_shared(format!("http://{authority}"));
    let endpoint = endpoint.map_err(|_| ChannelError::Address(authority.to_owned()))?;
    Ok(endpoint.connect_timeout(CONNECT).tcp_nodelay(true).connect_lazy())
}

impl AppChannel {
    /// Whether the application is called by gRPC.
    pub fn speaks_grpc(&self) -> bool {
        self.callbacks.is_some()
    }

    /// One call of a callback service.
    ///
    /// # Errors
    /// The application's status, or that of the way to it; UNIMPLEMENTED when it does not speak gRPC.
    pub async fn callback<M, T, F>(
        &self,
        metadata: MetadataMap,
        message: M,
        call: impl FnOnce(Counted, Request<M>) -> F,
    ) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let Some(channel) = &self.callbacks else {
            return Err(Status::unimplemented("the application does not speak gRPC"));
        };
        let _permit = self.permit().await.map_err(Status::from)?;
        let mut request = Request::from_parts(metadata, Default::default(), message);
        if let Some((name, token)) = &self.token
            && let Ok(name) = MetadataKey::from_bytes(name.as_str().as_bytes())
        {
            let value = MetadataValue::try_from(token.expose_secret());
            let mut value = value.map_err(|_| Status::internal("the application's token cannot be sent"))?;
            value.set_sensitive(true);
            request.metadata_mut().insert(name, value);
        }
        let channel = Counted::new(channel.clone(), self.budget.hold(), self.behind.clone());
        self.in_time(call(channel, request)).await.map(Response::into_inner)
    }
}

impl From<CallError> for Status {
    fn from(error: CallError) -> Self {
        let code = match error {
            CallError::Busy(_) | CallError::NoRoom(_) => Code::ResourceExhausted,
            CallError::Timeout(_) | CallError::Stalled => Code::DeadlineExceeded,
            CallError::Transport(_) => Code::Unavailable,
            _ => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}
