//! A route as data.
//!
//! The one idea: a route is either protected by an action or declared public with the reason why; there is no third constructor,
//! so a route without a declared permission does not compile:
//!
//! ```
//! // sec_068: with an action it does, so the next ones fail for the reason that they name.
//! use palladium_control_server::api::route::{Route, Shape};
//! use palladium_kinds::project::GET;
//! Route::protected(http::Method::GET, "/x".to_owned(), &GET, Shape::Nothing, Shape::Nothing, |_, _| todo!());
//! ```
//!
//! ```compile_fail,E0061
//! // sec_068: the action is missing.
//! use palladium_control_server::api::route::{Route, Shape};
//! Route::protected(http::Method::GET, "/x".to_owned(), Shape::Nothing, Shape::Nothing, |_, _| todo!());
//! ```
//!
//! ```compile_fail,E0061
//! // sec_068: nor is a public one without a reason.
//! use palladium_control_server::api::route::{Route, Shape};
//! Route::public("/x", Shape::Any, |_| todo!());
//! ```
//!
//! ```compile_fail,E0451
//! // sec_068: nor can one be put together by hand, its fields are private.
//! use palladium_control_server::api::route::Route;
//! let route = Route { path: "/x".to_owned(), ..unreachable!() };
//! ```
//!
//! Must never carry behaviour beyond naming its handler.

use std::pin::Pin;
use std::sync::Arc;

use http::{Method, StatusCode};
use palladium_kinds::{Action, KindDefinition};
use serde_json::Value;

use super::failure::Failure;
use super::stages::{App, Authenticated};

/// What a handler answers.
#[derive(Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// JSON body.
    pub body: Value,
}

impl Answer {
    /// 200.
    pub fn ok(body: Value) -> Self {
        Self {
            status: StatusCode::OK,
            body,
        }
    }

    /// With another status.
    pub fn with(status: StatusCode, body: Value) -> Self {
        Self { status, body }
    }
}

/// What a handler returns.
pub type Answering = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send>>;
/// Handler of a protected route. It gets a caller, not yet permission: that is the next stage's.
pub type ProtectedHandler = fn(Arc<App>, Authenticated) -> Answering;
/// Handler of a public route. It gets no request at all, so there is nothing that it could trust.
pub type PublicHandler = fn(Arc<App>) -> Answering;

/// Shape of a body, for the OpenAPI document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// No body.
    Nothing,
    /// One object of a kind.
    Object(&'static str),
    /// Some fields of one object of a kind.
    Patch(&'static str),
    /// A list of objects of a kind.
    List(&'static str),
    /// A named schema.
    Named(&'static str),
    /// A list of a named schema.
    Items(&'static str),
    /// Any JSON.
    Any,
}

#[derive(Clone, Copy)]
pub(crate) enum Access {
    Public {
        why: &'static str,
        handler: PublicHandler,
    },
    Protected {
        action: &'static Action,
        handler: ProtectedHandler,
    },
}

/// One method on one path.
#[derive(Clone)]
pub struct Route {
    method: Method,
    path: String,
    kind: Option<&'static KindDefinition>,
    takes: Shape,
    gives: Shape,
    status: u16,
    access: Access,
}

impl Route {
    /// A route for whoever may do `action`.
    pub fn protected(
        method: Method,
        path: String,
        action: &'static Action,
        takes: Shape,
        gives: Shape,
        handler: ProtectedHandler,
    ) -> Self {
        let access = Access::Protected { action, handler };
        Self {
            method,
            path,
            kind: None,
            takes,
            gives,
            status: 200,
            access,
        }
    }

    /// A route for everybody; `why` is for reviewers.
    pub fn public(path: &'static str, why: &'static str, gives: Shape, handler: PublicHandler) -> Self {
        let access = Access::Public { why, handler };
        Self {
            method: Method::GET,
            path: path.to_owned(),
            kind: None,
            takes: Shape::Nothing,
            gives,
            status: 200,
            access,
        }
    }

    /// The kind that it is about.
    pub fn of(mut self, kind: &'static KindDefinition) -> Self {
        self.kind = Some(kind);
        self
    }

    /// The status of a success, for the OpenAPI document.
    pub fn answering(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Path template: `/apis/…/{project}/…`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The action that protects it; `None` = public.
    pub fn action(&self) -> Option<&'static Action> {
        match self.access {
            Access::Protected { action, .. } => Some(action),
            Access::Public { .. } => None,
        }
    }

    /// Why it is public.
    pub fn public_because(&self) -> Option<&'static str> {
        match self.access {
            Access::Public { why, .. } => Some(why),
            Access::Protected { .. } => None,
        }
    }

    /// The kind that it is about.
    pub fn kind(&self) -> Option<&'static KindDefinition> {
        self.kind
    }

    /// Shapes of request and answer, and the status of a success.
    pub fn shapes(&self) -> (Shape, Shape, u16) {
        (self.takes, self.gives, self.status)
    }

    /// True when a success changes something.
    pub fn is_mutating(&self) -> bool {
        self.method != Method::GET
    }

    pub(crate) fn access(&self) -> Access {
        self.access
    }
}
