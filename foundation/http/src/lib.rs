//! The one accept loop of every listener that serves HTTP requests: HTTP/1.1 and HTTP/2, over TCP, TLS or a Unix socket.
//! Servers that speak nothing but gRPC to each other (Sentry, agent, store, region stream) use `palladium_tls::incoming`.
//!
//! One idea: limits, framing and draining are decided once, so that no listener can forget one. A service gets the
//! request and a [`Connection`] that says who is at the other end. Start reading at [`Server::serve`].
//! Must never look into a request beyond its framing, and never upgrade a connection to another protocol.

mod addresses;
mod answer;
mod bind;
mod budget;
mod connection;
mod cork;
mod drive;
mod framing;
mod io;
mod limits;
mod serve;
mod upload;

pub use bind::{BindError, bind, bind_shared, bind_unix};
pub use budget::{Budget, Exhausted, Held, Metered, Passing};
pub use connection::{Connection, WithConnection};
pub use limits::Limits;
pub use serve::{Accept, Arrival, Opening, Server, TlsListener};
pub use upload::{Upload, UploadError};

#[cfg(test)]
mod slow_tests;
#[cfg(test)]
mod tests;
