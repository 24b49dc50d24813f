//! The desired state: verified, kept on disk, admitted object by object.
//!
//! The one idea: three separate questions. [`verify`]: is it the next thing that our control plane said? [`disk`]: is it
//! durable? [`admit`]: may and can this region do it? A "no" to the last concerns one object and never stops another; the
//! object's last admitted generation stays in force.

pub(crate) mod admit;
pub(crate) mod disk;
pub(crate) mod hosts;
pub(crate) mod objects;
mod rails;
pub(crate) mod verify;

pub(crate) use admit::{Admitted, Content};
pub(crate) use hosts::{canonical, points};
pub(crate) use objects::{Desired, Judgement, Rules};
pub(crate) use verify::{LogKey, Position, Refusal};
