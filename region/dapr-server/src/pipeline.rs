//! What stands before the API and before the application: pipelines of middleware, as a Configuration orders them.
//!
//! One idea: a pipeline is a list of component names; the components are looked up for each request, so one that comes,
//! changes or goes takes effect at once, and a name without a component is passed over, as in Dapr. Without a list nothing
//! is done at all. Must never read a body unless a piece rewrites bodies.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use palladium_component::Middleware;
use palladium_component::middleware::Verdict;

use crate::resources::Handler;
use crate::server::{Components, Server};

/// The lists.
#[derive(Debug, Default)]
pub struct Pipelines {
    api: Option<Arc<[Handler]>>,
    app: Option<Arc<[Handler]>>,
}

/// A loaded piece.
pub struct Piece {
    /// The component's name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// Its driver.
    pub driver: Arc<dyn Middleware>,
}

/// A request that may go on.
#[derive(Default)]
pub struct Passed {
    /// For the answer to it.
    pub headers: HeaderMap,
    /// Those that rewrite its body, in order.
    rewriting: Vec<Arc<dyn Middleware>>,
}

impl Passed {
    /// Whether the body has to be read.
    pub fn rewrites(&self) -> bool {
        !self.rewriting.is_empty()
    }

    /// The body that the request is to have.
    pub fn rewrite(&self, body: Bytes, headers: &mut HeaderMap) -> Bytes {
        let body = self.rewriting.iter().fold(body, |body, piece| piece.rewrite(body));
        if headers.contains_key(CONTENT_LENGTH) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        body
    }
}

impl Pipelines {
    /// These lists.
    pub fn new(api: &[Handler], app: &[Handler]) -> Self {
        let list = |handlers: &[Handler]| (!handlers.is_empty()).then(|| handlers.into());
        Self {
            api: list(api),
            app: list(app),
        }
    }

    /// What stands before the API; `None` = nothing.
    pub fn api(&self) -> Option<Arc<[Handler]>> {
        self.api.clone()
    }

    /// What stands before the application; `None` = nothing.
    pub fn app(&self) -> Option<Arc<[Handler]>> {
        self.app.clone()
    }
}

fn find(components: &Components, handler: &Handler) -> Option<Arc<dyn Middleware>> {
    let found = components
        .middleware(&handler.name)
        .filter(|piece| piece.kind.eq_ignore_ascii_case(&handler.kind));
    if found.is_none() {
        tracing::debug!(
            handler = handler.name,
            "a pipeline names a component that is not loaded"
        );
    }
    Some(found?.driver.clone())
}

/// Takes a request's head through a list.
///
/// # Errors
/// The answer of the piece that did not let it pass.
pub async fn pass(server: &Server, list: &[Handler], head: &mut Parts) -> Result<Passed, Response<Bytes>> {
    let mut passed = Passed::default();
    for handler in list {
        // The components are not held while a piece works.
        let Some(piece) = find(&server.components.load(), handler) else {
            continue;
        };
        match piece.judge(head).await {
            Ok(Verdict::Pass(headers)) => passed.headers.extend(headers),
            Ok(Verdict::Answer(answer)) => return Err(answer),
            Err(error) => {
                tracing::warn!(handler = handler.name, %error, "a piece of a pipeline failed");
                let mut answer = Response::new(Bytes::from_static(b"middleware failed\n"));
                *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                return Err(answer);
            }
        }
        if piece.rewrites() {
            passed.rewriting.push(piece);
        }
    }
    Ok(passed)
}

#[cfg(test)]
mod tests {
    use palladium_component::{CallError, Reply};

    use super::*;

    struct Doubles;

    impl Middleware for Doubles {
        fn judge<'a>(&'a self, _: &'a mut Parts) -> Reply<'a, Verdict, CallError> {
            Reply::ready(Ok(Verdict::pass()))
        }
        fn rewrites(&self) -> bool {
            true
        }
        fn rewrite(&self, body: Bytes) -> Bytes {
            [&body[..], &body[..]].concat().into()
        }
    }

    #[test]
    fn the_length_follows_a_rewritten_body() {
        let passed = Passed {
            rewriting: vec![Arc::new(Doubles), Arc::new(Doubles)],
            ..Passed::default()
        };
        let mut headers = HeaderMap::new();
        assert_eq!(passed.rewrite("ab".into(), &mut headers), "abababab");
        assert!(headers.is_empty(), "a streamed body gets no length");
        headers.insert(CONTENT_LENGTH, 2.into());
        passed.rewrite("ab".into(), &mut headers);
        assert_eq!(headers[CONTENT_LENGTH], "8");
    }
}
