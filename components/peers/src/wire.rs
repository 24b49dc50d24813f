//! A wire between a component and its server that can be cut, held or slowed down.
//!
//! One idea: the server stays whole and the wire is at fault, so that whatever is lost was lost by the component. Must never
//! change a byte that it passes on.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// How the wire is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// As it should be.
    Whole,
    /// Nobody listens, and whatever was connected is reset.
    Cut,
    /// Connections can be had and stay, and not a byte passes: neither side learns that the other is gone.
    Held,
    /// What the server says no longer arrives and its side is closed; what the component says is taken and thrown away.
    HalfClosed,
    /// Whatever is said takes this long, in pieces.
    Slow(Duration),
}

/// A wire to a server on 127.0.0.1; gone when dropped.
#[derive(Debug)]
pub struct FaultyWire {
    at: SocketAddr,
    server: u16,
    state: watch::Sender<Wire>,
    task: JoinHandle<()>,
}

impl FaultyWire {
    /// A whole wire to that port.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        Self::over(listener, server)
    }

    /// A whole wire to the same server that begins at another address, 127.0.0.`last`, under the same port.
    ///
    /// # Panics
    /// When the port is taken there.
    pub async fn again_at(&self, last: u8) -> Self {
        let listener = listen(SocketAddr::from(([127, 0, 0, last], self.at.port()))).await;
        Self::over(listener, self.server)
    }

    /// A whole wire that begins there and leads to that port: for a server that is started with the address at which clients
    /// come to it.
    ///
    /// # Panics
    /// When the listener has no address.
    pub fn over(listener: TcpListener, server: u16) -> Self {
        let at = listener.local_addr().unwrap();
        let (state, seen) = watch::channel(Wire::Whole);
        let task = tokio::spawn(run(listener, at, server, seen));
        Self {
            at,
            server,
            state,
            task,
        }
    }

    /// Where the component finds the server.
    pub fn port(&self) -> u16 {
        self.at.port()
    }

    /// From now on it is like this.
    pub fn set(&self, wire: Wire) {
        self.state.send_replace(wire);
    }
}

impl Drop for FaultyWire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(at: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    // Connections of before may still be remembered.
    socket.set_reuseaddr(true).unwrap();
    socket.bind(at).expect("the port is kept");
    socket.listen(128).unwrap()
}

async fn run(listener: TcpListener, at: SocketAddr, server: u16, mut state: watch::Receiver<Wire>) {
    let mut listener = Some(listener);
    // Dropped with this task, and with them their connections.
    let mut connections = JoinSet::new();
    loop {
        let cut = *state.borrow_and_update() == Wire::Cut;
        if cut {
            listener = None;
            connections.shutdown().await;
        }
        let Some(listening) = &listener else {
            if state.changed().await.is_err() {
                return;
            }
            if *state.borrow() != Wire::Cut {
                listener = Some(listen(at).await);
            }
            continue;
        };
        tokio::select! {
            changed = state.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            accepted = listening.accept() => {
                let Ok((component, _)) = accepted else { continue };
                connections.spawn(connection(component, server, state.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(component: TcpStream, server: u16, state: watch::Receiver<Wire>) {
    // What is dropped while a wire is cut is reset, not ended in order.
    let _ = component.set_zero_linger();
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await else {
        return;
    };
    let ((from_component, to_component), (from_server, to_server)) = (component.into_split(), server.into_split());
    tokio::join!(
        pass(from_component, to_server, state.clone(), false),
        pass(from_server, to_component, state, true),
    );
}

/// One direction, until its end.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<Wire>, answers: bool) {
    let mut piece = vec![0; 16 << 10];
    let mut closed = false;
    loop {
        if *state.borrow_and_update() == Wire::HalfClosed && !closed {
            closed = true;
            if answers {
                let _ = to.shutdown().await;
            }
        }
        let length = tokio::select! {
            read = from.read(&mut piece) => match read {
                Ok(length @ 1..) => length,
                _ => break,
            },
            changed = state.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let wire = *state.borrow();
        match wire {
            Wire::Slow(delay) => tokio::time::sleep(delay).await,
            Wire::Held if state.wait_for(|wire| *wire != Wire::Held).await.is_err() => return,
            _ => {}
        }
        // One that lost something of what was said never speaks again.
        if !closed && to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
    if !closed {
        let _ = to.shutdown().await;
    }
}
