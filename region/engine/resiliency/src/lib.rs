//! Dapr's resiliency policies: timeouts, retries, circuit breakers, and which of them a call gets. Free of any protocol.
//!
//! One idea: a call gets a [`Policy`] from the [`Resiliency`] of the process by what it is about to do, and runs through it:
//! the timeout is innermost, then the circuit breaker, then the retries. A policy without anything is a plain call: it
//! costs a lookup and no allocation. What counts as a failure is the caller's word ([`Failure`]): an answer that is to be
//! retried is an error that holds the answer, and the last one is given back ([`Failed::Operation`]).
//!
//! How it is used by whoever calls applications:
//!
//! ```ignore
//! let policy = resiliency.app(target, &format!("{target}:{method}"));
//! // A body that cannot be sent twice: `policy.once().run(…)`.
//! let outcome = policy.run(|attempt| send(request.clone())).await;
//! match outcome {
//!     Ok(answer) => answer,
//!     Err(Failed::Operation(error)) => /* the last attempt's own failure, perhaps the application's answer */,
//!     Err(Failed::Cut(cut)) => /* its words: deadline, open circuit breaker */,
//! }
//! // Without a policy of the user's, remote calls have the built-in one:
//! let policy = if policy.retries() { policy } else { resiliency.built_in(BuiltIn::Service) };
//! ```
//!
//! Must never retry what [`Failure::is_permanent`] says is final, nor hold an answer that it does not give back.

mod breaker;
mod codes;
mod policy;
mod resource;
mod retry;
mod table;

pub use breaker::{Breaker, State};
pub use policy::{Cut, Failed, Failure, Policy};
pub use resource::ResourceError;
pub use table::{About, BuiltIn, ComponentKind, Direction, Observer, PolicyKind, Resiliency};
