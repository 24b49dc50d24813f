//! Health and shutdown.
//!
//! Must never ask a store or the application: a probe costs nothing and tells of this process only.

use http::Response;
use tonic::Code;

use super::{Answer, Body, Head, empty};
use crate::errors::Fault;
use crate::ready::Target;
use crate::server::Server;

pub(super) fn ready(server: &Server, head: &Head) -> Answer {
    let missing = server.ready.missing();
    if !missing.is_empty() {
        return Err(fault(
            "ERR_HEALTH_NOT_READY",
            format!("dapr is not ready: [{}]", missing.join(" ")),
        ));
    }
    // Resolvers ask whether the process behind an address is still the same one.
    match head.parameter("appid") {
        Some(asked) if asked != server.app_id => Err(fault("ERR_HEALTH_APPID_NOT_MATCH", "dapr app-id does not match")),
        _ => Ok(empty()),
    }
}

pub(super) fn outbound(server: &Server) -> Answer {
    if server.ready.has(Target::Outbound) {
        return Ok(empty());
    }
    Err(fault("ERR_OUTBOUND_HEALTH_NOT_READY", "dapr outbound is not ready"))
}

pub(super) fn shutdown(server: &Server, head: &Head) -> Answer {
    server
        .end(&head.headers)
        .map_err(|words| Fault::plain(403, Code::PermissionDenied, "ERR_PERMISSION_DENIED", "common", words))?;
    Ok::<Response<Body>, _>(empty())
}

fn fault(tag: &str, message: impl Into<String>) -> Fault {
    Fault::plain(500, Code::Internal, tag, "health", message)
}
