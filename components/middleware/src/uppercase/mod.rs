//! `middleware.http.uppercase`: request bodies in capital letters. For trying pipelines out.
//!
//! Must never fail: what is no text stays as it is.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use palladium_component::middleware::{Middleware, MiddlewareDriver, Verdict};
use palladium_component::{CallError, Hosted, Reply, Status};

/// The driver.
pub const DRIVER: MiddlewareDriver = MiddlewareDriver {
    type_name: "middleware.http.uppercase",
    aliases: &[],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields: Vec::new,
    example: include_str!("example.yaml"),
    open: |_| Box::pin(async { Ok(Arc::new(Uppercase) as Arc<dyn Middleware>) }),
};

struct Uppercase;

impl Middleware for Uppercase {
    fn judge<'a>(&'a self, _: &'a mut Parts) -> Reply<'a, Verdict, CallError> {
        Reply::ready(Ok(Verdict::pass()))
    }

    fn rewrites(&self) -> bool {
        true
    }

    fn rewrite(&self, body: Bytes) -> Bytes {
        match std::str::from_utf8(&body) {
            Ok(text) => text.to_uppercase().into(),
            Err(_) => body,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_grows_and_bytes_stay() {
        assert_eq!(Uppercase.rewrite("héllo ß".into()), "HÉLLO SS");
        assert_eq!(Uppercase.rewrite(Bytes::from_static(b"a\xff")), &b"a\xff"[..]);
    }
}
