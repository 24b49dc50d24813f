//! Service invocation: from a caller of this Dapr Server to an application, its own or a peer's.
//!
//! One idea: whichever protocol a call came by, it becomes one [`Invocation`]; its method is brought into the one canonical
//! form here, its target found, and who calls whom is stamped on it. Everything before is reading, everything after is
//! sending. Start reading at [`invoke`] for calls that go out, at [`callee::handle`] for calls of peers, at [`proxy`] for
//! services that are not Dapr's, at [`endpoint`] for services outside. Must never pass on an identity that the caller claims,
//! where there is mutual TLS to tell the true one.

pub mod access;
mod callee;
mod caller;
mod chunks;
mod endpoint;
mod local;
pub mod mdns;
mod metadata;
mod method;
mod payload;
pub mod peers;
mod policed;
mod pool;
mod proxy;
mod recorded;
mod reply;
mod seen;
#[cfg(test)]
mod tests;
mod watched;
mod wire;

use std::borrow::Cow;
use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use palladium_engine_resiliency::{BuiltIn, Policy};
use palladium_proto::common::HttpExtension;

#[cfg(test)]
pub(crate) use callee::handle as handle_internal;
pub use callee::{answered, refused, serve as serve_internal};
pub use chunks::Chunks;
pub use endpoint::Endpoints;
use local::Call;
pub use local::verb_of;
use metadata::Parties;
pub use metadata::{APP_ID, Origin, for_grpc, for_http, strip_metadata, wants_events};
use method::canonical;
pub use method::decode;
pub(crate) use method::{PATH, without_dots};
pub use payload::{Messages, Payloads};
use peers::{Peers, split};
pub use pool::{Lease, Pool, SendError};
pub use proxy::{from_caller as proxy, is_for_own_app};
pub use recorded::Recorded;
pub use reply::{InvokeError, Outcome, Reply, external, http_status};
pub use watched::Watched;
pub use wire::{PREFIX, StreamedRequest, StreamedResponse, first_length, framed};

use crate::app_channel::strip_request;
use crate::http::Body;
use crate::metrics::Kind;
use crate::server::Server;

/// What invocation needs to know beside the application itself.
pub struct Invoke {
    /// The other Dapr Servers.
    pub peers: Peers,
    /// Services outside that are called by a name.
    pub endpoints: Endpoints,
    forwarded: Vec<(&'static str, HeaderValue)>,
}

impl Invoke {
    /// `host`: this machine's name and address, told to whoever is called.
    pub fn new(peers: Peers, host: Option<(&str, IpAddr)>) -> Self {
        let mut forwarded = Vec::new();
        if let Some((name, ip)) = host {
            let node = match ip {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => format!("\"[{ip}]\""),
            };
            for (header, value) in [
                ("x-forwarded-for", ip.to_string()),
                ("x-forwarded-host", name.to_owned()),
                ("forwarded", format!("for={node};by={node};host={name}")),
            ] {
                if let Ok(value) = HeaderValue::try_from(value) {
                    forwarded.push((header, value));
                }
            }
        }
        Self {
            endpoints: Endpoints::new(peers.is_table()),
            peers,
            forwarded,
        }
    }

    /// Whether a target, with or without a namespace by whichever name, is the own App ID.
    fn is_own_app(&self, server: &Server, target: &str) -> bool {
        split(target, server.namespace()).is_ok_and(|(id, namespace)| self.is_own(server, id, namespace))
    }

    fn is_own(&self, server: &Server, id: &str, namespace: &str) -> bool {
        id == server.app_id && (namespace == server.namespace() || self.peers.is_own_namespace(namespace))
    }
}

/// One call of an application, whichever protocol it came by.
#[derive(Debug)]
pub struct Invocation {
    /// The App ID as the caller wrote it, with or without its namespace.
    pub target: String,
    /// The path at the application, decoded.
    pub method: String,
    /// Verb and query; a gRPC caller may leave them out.
    pub http: Option<HttpExtension>,
    /// The caller's headers or metadata.
    pub headers: HeaderMap,
    /// Which of the two.
    pub origin: Origin,
    /// What the body is; empty = not said.
    pub content_type: String,
    /// Type of a protobuf body; empty = not said.
    pub type_url: String,
    /// The body.
    pub body: Body,
    /// Its length, if known.
    pub length: Option<u64>,
}

/// Carries out a call, through whatever policy there is for its target.
///
/// # Errors
/// See [`InvokeError`].
pub async fn invoke(server: &Server, mut call: Invocation) -> Result<Reply, InvokeError> {
    // Before anything is named after it: a breaker, a span.
    if let Cow::Owned(clean) = canonical(&call.method)? {
        call.method = clean;
    }
    let resiliency = server.resiliency.now();
    if resiliency.is_plain() {
        return once(server, call, &resiliency.built_in(BuiltIn::Service)).await;
    }
    // Apart, so that the state of a call without a policy stays small.
    Box::pin(policed::invoke(server, &resiliency, call)).await
}

/// One attempt. `built_in`: how a peer that cannot be reached is tried again.
async fn once(server: &Server, call: Invocation, built_in: &Policy) -> Result<Reply, InvokeError> {
    let mut headers = call.headers;
    // Before stamping: a header that the caller's `Connection` names would take a stamp along at the next hop.
    strip_request(&mut headers);
    let mut sent = Call {
        method: call.method,
        http: call.http,
        headers,
        origin: call.origin,
        content_type: call.content_type,
        type_url: call.type_url,
        body: call.body,
    };
    let (peers, endpoints) = (&server.invoke.peers, &server.invoke.endpoints);
    if let Some(place) = endpoints.find(&call.target, peers, server.namespace())? {
        return Box::pin(endpoint::call(server, &place, sent)).await;
    }
    let (id, namespace) = split(&call.target, server.namespace())?;
    let parties = Parties {
        caller: &server.app_id,
        namespace: server.namespace(),
        callee: id,
    };
    metadata::stamp(&mut sent.headers, &parties);
    if server.invoke.is_own(server, id, namespace) {
        return local::call(server, sent).await;
    }
    for (name, value) in &server.invoke.forwarded {
        sent.headers.append(*name, value.clone());
    }
    remote(server, &call.target, sent, call.length, built_in).await
}

async fn remote(
    server: &Server,
    target: &str,
    mut call: Call,
    length: Option<u64>,
    built_in: &Policy,
) -> Result<Reply, InvokeError> {
    let limit = server.max_body().saturating_add(caller::HEAD_ROOM);
    let mut peer = server.invoke.peers.find(target).await?;
    let counted = server.metrics.invoked(&peer.id, Kind::Unary);
    let mut pauses = built_in.pauses();
    let mut tries = 0;
    loop {
        let Some(pool) = peer.pool() else {
            return Err(peers::ResolveError::NotFound(peer.id.clone()).into());
        };
        let failed = match caller::call(&pool, &peer.id, &mut call, length, limit, &server.budget).await {
            Ok(reply) => {
                counted.answered(reply.outcome.code());
                return Ok(reply);
            }
            Err(failed) => failed,
        };
        if let Some(error) = failed.broken {
            return Err(error.into());
        }
        let passing = matches!(
            failed.status.code(),
            tonic::Code::Unavailable | tonic::Code::Unauthenticated
        );
        let again = if passing && failed.body.is_some() {
            pauses.next()
        } else {
            None
        };
        match (failed.body, again) {
            (Some(body), Some(pause)) => {
                call.body = body;
                tries += 1;
                tokio::time::sleep(pause).await;
            }
            _ if passing => {
                return Err(InvokeError::Unreachable {
                    target: peer.id.clone(),
                    tries,
                    status: Box::new(failed.status),
                });
            }
            _ => return Err(InvokeError::Peer(Box::new(failed.status))),
        }
        server.invoke.peers.failed(&peer, pool.address());
        // Nobody else may be there: then the same address is tried again.
        if let Ok(found) = server.invoke.peers.find(target).await {
            peer = found;
        }
    }
}
