//! What metrics and traces see of calls that peers make of the own application, and how calls of peers say where they stand.
//!
//! One idea: beside a call, in gRPC's own metadata, stands the caller's span; among the headers of the call itself stands
//! what its client said, which is older. So what stands beside goes first. Must never end a call that it watches.

use http::{HeaderMap, HeaderValue};

use super::local::Call;
use super::metadata::CALLER;
use super::reply::{InvokeError, Reply};
use super::wire;
use crate::metrics::Received;
use crate::server::Server;
use crate::trace::{self, About, Kind, Span, TRACE_BIN, TRACEPARENT, TRACESTATE};

/// Where a peer says beside a call that it stands.
#[derive(Default)]
pub(super) struct Stands(Option<(HeaderValue, Option<HeaderValue>)>);

impl Stands {
    /// Reads the metadata of a request.
    pub(super) fn beside(headers: &mut HeaderMap) -> Self {
        trace::unify(headers);
        let state = headers.get(TRACESTATE).cloned();
        Self(headers.get(TRACEPARENT).cloned().map(|parent| (parent, state)))
    }
}

/// Says beside a call of a peer where it stands, if its headers do.
pub(super) fn say_beside(call: &HeaderMap, metadata: &mut HeaderMap) {
    let Some(parent) = call.get(TRACEPARENT) else { return };
    let binary = parent
        .to_str()
        .ok()
        .and_then(trace::valid)
        .and_then(trace::binary_header);
    let Some(binary) = binary else { return };
    metadata.insert(TRACEPARENT, parent.clone());
    metadata.insert(TRACE_BIN, binary);
    if let Some(state) = call.get(TRACESTATE) {
        metadata.insert(TRACESTATE, state.clone());
    }
}

/// A peer's call under way.
pub(super) struct Seen {
    counted: Received,
    span: Option<Span>,
    about: Option<About>,
}

impl Seen {
    /// Begins. `api`: the call of the protocol between peers.
    pub(super) fn begin(server: &Server, api: &str, stands: Stands, call: &mut Call) -> Self {
        if let Some((parent, state)) = stands.0 {
            call.headers.insert(TRACEPARENT, parent);
            if let Some(state) = state {
                call.headers.insert(TRACESTATE, state);
            }
        }
        let caller = call.headers.get(CALLER).and_then(|caller| caller.to_str().ok());
        let counted = server.metrics.called(caller.unwrap_or_default());
        let span = server.tracing.now().map(|tracer| {
            let name = format!("CallLocal/{}/{}", server.app_id, call.method);
            tracer.enter(name, Kind::Server, &mut call.headers)
        });
        let about = span.as_ref().and_then(|span| span.about(&call.headers));
        if let Some(about) = &about {
            about.say_all(&[
                ("rpc.service", "ServiceInvocation"),
                ("dapr.invoke_method", &call.method),
                ("dapr.protocol", "grpc"),
                ("dapr.api", &format!("{}{api}", wire::SERVICE)),
            ]);
        }
        Self { counted, span, about }
    }

    /// Ends.
    pub(super) fn end(self, outcome: &Result<Reply, InvokeError>) {
        let code = match outcome {
            Ok(reply) => reply.outcome.code(),
            Err(_) => tonic::Code::Internal as i32,
        };
        self.counted.answered(code);
        let Some(mut span) = self.span else { return };
        span.tell(self.about.as_ref());
        if let Err(error) = outcome {
            span.failed(&error.to_string());
        }
    }
}
