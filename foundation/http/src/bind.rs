//! Opening a listener, with an error that says which port is taken, by whom, and what to do.
//!
//! Must never take over a port that another process listens on, even where the kernel would let us.

mod holder;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

const BACKLOG: i32 = 1024;

/// Why a listener could not be opened. Exit code 69.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process listens there.
    #[error("{purpose} cannot listen on {address}: the port is taken{}; stop that program, or choose another port with {remedy}",
        holder.as_ref().map(|name| format!(" by {name}")).unwrap_or_default())]
    Taken {
        /// What we wanted to serve, such as "the gateway".
        purpose: &'static str,
        /// Where.
        address: SocketAddr,
        /// Who has it, such as "nginx (pid 812)", as far as this user may know.
        holder: Option<String>,
        /// The flag or configuration key that moves us elsewhere.
        remedy: &'static str,
    },
    /// The operating system refuses for another reason.
    #[error("{purpose} cannot listen on {address}: {source}; choose another address with {remedy}")]
    Refused {
        /// What we wanted to serve.
        purpose: &'static str,
        /// Where.
        address: SocketAddr,
        /// The flag or configuration key that moves us elsewhere.
        remedy: &'static str,
        /// What the operating system says.
        source: io::Error,
    },
    /// A Unix socket could not be made.
    #[error("{purpose} cannot listen on {}: {source}", path.display())]
    Unix {
        /// What we wanted to serve.
        purpose: &'static str,
        /// Where.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// Opens one TCP listener. `purpose` and `remedy` are for the error ("the gateway", "--port-gateway").
///
/// # Errors
/// See [`BindError`].
pub fn bind(purpose: &'static str, address: SocketAddr, remedy: &'static str) -> Result<TcpListener, BindError> {
    let fail = |source| error(purpose, address, remedy, source);
    let listener = open(address, false).map_err(fail)?;
    TcpListener::from_std(listener).map_err(fail)
}

/// Opens `count` listeners on the same port; the kernel spreads connections over them. One for each worker thread.
///
/// With port 0 all of them share the port that the kernel gave to the first.
///
/// # Errors
/// See [`BindError`].
pub fn bind_shared(
    purpose: &'static str,
    address: SocketAddr,
    remedy: &'static str,
    count: usize,
) -> Result<Vec<std::net::TcpListener>, BindError> {
    let fail = |source| error(purpose, address, remedy, source);
    // Sharing is open to every process of this user: only an exclusive attempt can tell that the port is taken. It does not
    // listen: who connects at this very moment would be lost with it.
    drop(bound(address, false).map_err(fail)?);
    let first = open(address, true).map_err(fail)?;
    let resolved = first.local_addr().map_err(fail)?;
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(open(resolved, true).map_err(fail)?);
    }
    Ok(listeners)
}

/// Opens a Unix socket in place of a stale one.
///
/// # Errors
/// See [`BindError`]; a path that is not a socket is never removed.
pub fn bind_unix(purpose: &'static str, path: &Path) -> Result<UnixListener, BindError> {
    let fail = |source| BindError::Unix {
        purpose,
        path: path.to_owned(),
        source,
    };
    match std::fs::symlink_metadata(path) {
        Ok(found) if std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()) => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(fail(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    "another process serves this socket",
                )));
            }
            std::fs::remove_file(path).map_err(fail)?;
        }
        Ok(_) => {
            return Err(fail(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is a file of that name",
            )));
        }
        Err(_) => {}
    }
    UnixListener::bind(path).map_err(fail)
}

fn open(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = bound(address, shared)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bound(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn error(purpose: &'static str, address: SocketAddr, remedy: &'static str, source: io::Error) -> BindError {
    if source.kind() == io::ErrorKind::AddrInUse {
        BindError::Taken {
            purpose,
            address,
            holder: holder::of_port(address.port()),
            remedy,
        }
    } else {
        BindError::Refused {
            purpose,
            address,
            remedy,
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[tokio::test]
    async fn a_taken_port_is_named_with_holder_and_remedy() {
        let first = bind("the first", loopback(0), "--port-a").expect("any port");
        let address = first.local_addr().expect("bound");
        let message = bind("the gateway", address, "--port-gateway")
            .expect_err("taken")
            .to_string();
        for part in [
            &address.to_string(),
            "--port-gateway",
            &format!("pid {}", std::process::id()),
        ] {
            assert!(message.contains(part), "{part} is missing in: {message}");
        }
        assert!(bind_shared("the gateway", address, "--port-gateway", 2).is_err());
    }

    #[tokio::test]
    async fn a_shared_port_is_still_taken_for_everybody_else() {
        let all = bind_shared("the gateway", loopback(0), "--port-gateway", 3).expect("any port");
        let address = all[0].local_addr().expect("bound");
        assert!(all.iter().all(|one| one.local_addr().expect("bound") == address));
        assert!(matches!(
            bind_shared("again", address, "-", 2),
            Err(BindError::Taken { .. })
        ));
    }

    #[tokio::test]
    async fn a_stale_unix_socket_is_replaced_and_a_file_is_not() {
        let folder = std::env::temp_dir().join(format!("palladium-http-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("temp folder");
        let path = folder.join("s.sock");
        drop(bind_unix("test", &path).expect("new"));
        let live = bind_unix("test", &path).expect("stale one replaced");
        assert!(bind_unix("test", &path).is_err());
        drop(live);
        let file = folder.join("file");
        std::fs::write(&file, "kept").expect("writable");
        assert!(bind_unix("test", &file).is_err());
        assert_eq!(std::fs::read(&file).expect("still there"), b"kept");
        std::fs::remove_dir_all(&folder).expect("cleaned");
    }
}
