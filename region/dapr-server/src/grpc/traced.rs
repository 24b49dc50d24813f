//! What traces say of a call of the gRPC API, or of one that is passed on.
//!
//! One idea: the span is found by whoever looks into the message, beside the request. Must never do anything for a call that
//! nobody will see.

use http::{HeaderMap, Request, Response};
use palladium_http::Upload;
use tonic::Code;

use crate::http::Body;
use crate::server::Server;
use crate::trace::{self, About, Kind, Span};

/// Invocation answers with metadata of the application's.
const INVOKE: &str = "/dapr.proto.runtime.v1.Dapr/InvokeService";

/// A call under way, as traces see it. Nothing of it is there where calls are not traced.
pub(super) struct Traced {
    span: Option<Span>,
    about: Option<About>,
    /// Whether the answer says where the call stood.
    says: bool,
    baggage: Option<http::HeaderValue>,
}

impl Traced {
    /// Begins. The metadata then say where the call stands.
    pub(super) fn begin(server: &Server, kind: impl FnOnce(&HeaderMap) -> Kind, request: &mut Request<Upload>) -> Self {
        let baggage = trace::joined_baggage(request.headers());
        let path = request.uri().path();
        let is_api = path.starts_with(super::DAPR);
        let mut traced = Self {
            span: None,
            about: None,
            says: is_api && path != INVOKE,
            baggage,
        };
        let Some(tracer) = server.tracing.now() else {
            return traced;
        };
        let (path, kind) = (path.to_owned(), kind(request.headers()));
        let span = tracer.enter(path.clone(), kind, request.headers_mut());
        traced.about = span.about(request.headers());
        if let (Some(about), true) = (&traced.about, is_api) {
            about.say_all(&[("dapr.protocol", "grpc"), ("dapr.api", &path)]);
            request.extensions_mut().insert(about.clone());
        }
        traced.span = Some(span);
        traced
    }

    /// Ends.
    pub(super) fn end(self, answer: &mut Response<Body>, code: Code) {
        if let Some(baggage) = self.baggage {
            answer.headers_mut().entry(trace::BAGGAGE).or_insert(baggage);
        }
        let Some(mut span) = self.span else { return };
        if let Some(binary) = span.binary().filter(|_| self.says) {
            answer.headers_mut().insert(trace::TRACE_BIN, binary);
        }
        span.tell(self.about.as_ref());
        if code != Code::Ok {
            let words = answer
                .headers()
                .get("grpc-message")
                .and_then(|words| words.to_str().ok());
            let words = percent_encoding::percent_decode_str(words.unwrap_or_default()).decode_utf8_lossy();
            span.failed(&words);
        }
    }
}

/// Says what a call is about, if anybody will see it.
pub(super) fn about<T>(request: &tonic::Request<T>, say: impl FnOnce(&About, &T)) {
    if let Some(about) = request.extensions().get::<About>() {
        say(about, request.get_ref());
    }
}

/// A call of a component that holds or takes something.
pub(super) fn stored<T>(
    request: &tonic::Request<T>,
    block: &'static str,
    method: &str,
    component: impl Fn(&T) -> &str,
) {
    about(request, |about, message| {
        about.say("rpc.service", "Dapr");
        about.stored(block, component(message), &format!("{}{method}", super::DAPR));
    });
}
