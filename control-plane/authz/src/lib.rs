//! Who may do what. The only place that decides it, and the only user of the policy engine.
//!
//! The one idea: [`Authorizer::authorize`]`(actor, action, resource)`. An action has a class, the policy (`policy.cedar`, one rule
//! per role) maps classes to roles, a grant holds on the organization or on one project, and a project's objects are *in* it.
//! Deny by default; nothing here looks at a request.
//!
//! Must never: know a route, read a database, or have a second way to say yes.

mod authorizer;
mod matrix;

pub use authorizer::{Actor, Authorizer, Error, Target, Visibility};
pub use matrix::role_matrix;

#[cfg(test)]
mod tests;
