//! Calls of applications through a policy of the user's.
//!
//! One idea: an answer that says failure is a failure that holds the answer, and the last one is given back as it is. A body
//! that is not here whole is sent once. Must never repeat a call whose answer has begun to be passed on.

use palladium_engine_resiliency::{BuiltIn, Failed, Failure, Policy, Resiliency};

use super::{Invocation, InvokeError, Origin, Outcome, Reply, once};
use crate::http::Body;
use crate::server::Server;

/// A call that failed, perhaps by an answer.
enum Unwell {
    Answer(Box<Reply>, u16),
    Error(InvokeError),
}

impl Failure for Unwell {
    fn status_code(&self) -> Option<u16> {
        match self {
            Self::Answer(_, code) => Some(*code),
            Self::Error(_) => None,
        }
    }

    fn is_permanent(&self) -> bool {
        // What is wrong with the call itself, or with the endpoint that it means, stays wrong.
        match self {
            Self::Error(InvokeError::Endpoint(error)) => error.is_final(),
            _ => matches!(self, Self::Error(InvokeError::Method(_))),
        }
    }
}

/// Carries out a call as the policies say.
pub(super) async fn invoke(server: &Server, all: &Resiliency, call: Invocation) -> Result<Reply, InvokeError> {
    let guarded = server.invoke.endpoints.guarded(&call.target, &call.method);
    let policy = all.app(&call.target, &guarded);
    // A policy of the user's stands in place of the built-in one.
    let built_in = if all.speaks_of_app(&call.target) {
        Policy::default()
    } else {
        all.built_in(BuiltIn::Service)
    };
    if policy.is_empty() {
        return once(server, call, &built_in).await;
    }
    let kept = copy(&call);
    let policy = if kept.is_some() { policy } else { policy.once() };
    let mut first = Some(call);
    let built_in = &built_in;
    // The kept call goes into what is repeated: it may not be looked at from elsewhere meanwhile.
    let outcome = policy.run(move |_| {
        let call = first.take().or_else(|| kept.as_ref().and_then(copy));
        // An attempt is large, and would stand in the state of everything that waits for it.
        Box::pin(async move {
            let Some(call) = call else {
                return Err(Unwell::Error(InvokeError::Other("the request is gone".to_owned())));
            };
            let origin = call.origin;
            let reply = once(server, call, built_in).await.map_err(Unwell::Error)?;
            match failure(&reply, origin) {
                Some(code) => Err(Unwell::Answer(Box::new(reply), code)),
                None => Ok(reply),
            }
        })
    });
    match outcome.await {
        Ok(reply) => Ok(reply),
        Err(Failed::Operation(Unwell::Answer(reply, _))) => Ok(*reply),
        Err(Failed::Operation(Unwell::Error(error))) => Err(error),
        Err(Failed::Cut(cut)) => Err(cut.into()),
    }
}

/// The code of an answer that says failure. What an application answers by gRPC is its own word to a caller by HTTP.
fn failure(reply: &Reply, origin: Origin) -> Option<u16> {
    match &reply.outcome {
        Outcome::Http(status) if !(200..400).contains(&status.as_u16()) => Some(status.as_u16()),
        Outcome::Grpc(status) if status.code != 0 && matches!(origin, Origin::Grpc) => u16::try_from(status.code).ok(),
        _ => None,
    }
}

/// The same call once more, if all of it is here.
fn copy(call: &Invocation) -> Option<Invocation> {
    let body = match &call.body {
        Body::Empty => Body::Empty,
        body => body.copy()?,
    };
    Some(Invocation {
        target: call.target.clone(),
        method: call.method.clone(),
        http: call.http.clone(),
        headers: call.headers.clone(),
        origin: call.origin,
        content_type: call.content_type.clone(),
        type_url: call.type_url.clone(),
        body,
        length: call.length,
    })
}

#[cfg(test)]
mod tests;
