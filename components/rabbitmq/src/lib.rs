//! The way to a RabbitMQ server, for the drivers of all building blocks.
//!
//! One idea: a [`Link`] is a connection that is made again when it is lost; an [`Outlet`] sends over one and knows when the
//! server has a message, an [`Intake`] receives over one and settles each message once. What is on the server (exchanges,
//! queues, names) is a driver's affair. The byte streams are those of `components/dial`: the library is built without TLS, and
//! would speak `amqps` in clear by itself. Must never settle a message that its driver said nothing about.

mod address;
mod fault;
mod intake;
mod link;
mod outlet;
mod properties;
mod wire;

pub use address::Address;
pub use fault::Fault;
pub use intake::{Ending, Intake, Taker};
pub use link::{Link, Reach};
pub use outlet::Outlet;
pub use properties::{number, properties, said};

use lapin::types::ShortString;

/// A name on the server; `what` it is, for the message about one that is too long.
///
/// # Errors
/// When it has more than 255 bytes.
pub fn name(text: &str, what: &str) -> Result<ShortString, Fault> {
    ShortString::try_new(text).map_err(|_| Fault::Invalid(format!("{what} has more than 255 bytes: make it shorter")))
}
