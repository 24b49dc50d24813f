//! The five steps of every change, as types; and the two of every read.
//!
//! ```text
//! Authenticated ──validate──▶ Validated ──authorize──▶ Authorized ──extract──▶ Extracted ──commit──▶ Answer
//!       └────────permit─────▶ Permitted ──read──▶ Answer
//! ```
//!
//! The one idea: each of these types has private fields and is made by exactly one function, which takes the one before by value;
//! and the store is a private field of [`App`], visible to these modules only. So a handler cannot write without all five steps, and
//! cannot read without permission.
//!
//! Must never offer a second way to make any of them.

mod app;
mod authenticated;
mod authorized;
mod committed;
mod complete;
mod credentials;
mod extracted;
mod keys;
mod permitted;
mod scopes;
mod sensitive;
mod validated;

pub use app::{App, AppParts, RegionPort};
pub use authenticated::{Authenticated, RequestParts, Source};
pub use authorized::Authorized;
pub use extracted::Extracted;
pub use permitted::Permitted;
pub use validated::Validated;
