//! Who is at the other end of a Unix socket, as the kernel noted it when the connection was made.
//!
//! A pid alone proves nothing: the reader must hold a pidfd of the process that it expects, opened earlier, and see that
//! it still runs *after* asking here.

use std::io;
use std::os::fd::AsFd;

/// The process that connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its pid.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
}

/// The peer of a connected Unix socket.
///
/// # Errors
/// What the kernel says, for instance when it is not such a socket.
pub fn peer(socket: impl AsFd) -> io::Result<Peer> {
    let credentials = rustix::net::sockopt::socket_peercred(socket)?;
    Ok(Peer {
        pid: credentials.pid.as_raw_nonzero().get().unsigned_abs(),
        uid: credentials.uid.as_raw(),
    })
}
