//! The contract of a binding driver: a way out to some service, a way in for its events, or both.
//!
//! The one idea: an event is handed to whoever asked for events, one call for each, and what that call answers goes back
//! to the service; an operation is a name with data and metadata. A driver must never know of applications, nor look into
//! data that is not its own service's.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use crate::error::CallError;
use crate::reply::BoxFuture;
use crate::{Driver, Reply};

/// Metadata of an operation, an event or an answer.
pub type Metadata = HashMap<String, String>;

/// A registered binding driver.
pub type BindingDriver = Driver<dyn Binding>;

/// Which ways a binding has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ways {
    /// It can be called.
    pub out: bool,
    /// It has events.
    pub into: bool,
}

/// One operation of a binding.
#[derive(Clone, Default)]
pub struct Operation {
    /// Its name, such as `create` or `get`.
    pub name: String,
    /// What it works on.
    pub data: Bytes,
    /// How.
    pub metadata: Metadata,
}

/// What an operation answered.
#[derive(Clone, Default)]
pub struct Answer {
    /// Data; `None` = none.
    pub data: Option<Bytes>,
    /// About it.
    pub metadata: Metadata,
}

/// An operation that failed. Some services say more than words.
#[derive(Debug, Clone, Error)]
#[error("{error}")]
pub struct BindingError {
    /// Why.
    pub error: CallError,
    /// What the service said about it, such as a status code.
    pub metadata: Metadata,
}

impl From<CallError> for BindingError {
    fn from(error: CallError) -> Self {
        let metadata = Metadata::new();
        BindingError { error, metadata }
    }
}

/// One event of a service.
#[derive(Clone, Default)]
pub struct Event {
    /// What happened.
    pub data: Bytes,
    /// About it.
    pub metadata: Metadata,
    /// Content type of the data; empty = not known.
    pub content_type: String,
}

/// Values are the application's: `Debug` shows lengths and names only.
macro_rules! debug_lengths {
    ($($type:ident),*) => {$(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type)).field("metadata", &self.metadata.keys()).finish_non_exhaustive()
            }
        }
    )*};
}
debug_lengths!(Operation, Answer, Event);

/// Takes events. What it answers goes back to the service; an error means that the event was not handled, in words.
pub trait Listener: Send + Sync + 'static {
    /// Handles one event.
    fn event(&self, event: Event) -> BoxFuture<'static, Result<Option<Bytes>, String>>;
}

/// Keeps events coming: they end when it is dropped. An event that is being handled may still be settled.
pub type Listening = Box<dyn Send + Sync>;

/// One opened binding. All calls may run side by side.
pub trait Binding: Send + Sync + 'static {
    /// Which ways it has. Constant for the life of the component.
    fn ways(&self) -> Ways;

    /// The names of its operations.
    fn operations(&self) -> Vec<String> {
        Vec::new()
    }

    /// Carries out one operation. Called only when there is a way out.
    fn invoke<'a>(&'a self, _: &'a Operation) -> Reply<'a, Answer, BindingError> {
        Reply::ready(Err(
            CallError::NotSupported("this binding cannot be called".into()).into()
        ))
    }

    /// Begins to hand events to a listener. Called only when there is a way in, and again after its last [`Listening`] was
    /// dropped.
    fn listen(&self, _: Arc<dyn Listener>) -> Reply<'_, Listening, CallError> {
        Reply::ready(Err(CallError::NotSupported("this binding has no events".into())))
    }

    /// Ends connections and tasks. No call follows.
    fn close(&self) -> Reply<'_, (), CallError> {
        Reply::ready(Ok(()))
    }
}
