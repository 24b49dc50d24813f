//! Where a load goes: an address, what to call it, and what lets the client in.
//!
//! One idea: behind the connection the same bytes are sent to every destination, but for the token. A token is a secret:
//! it must never be shown.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use palladium_tls::Connector;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// Bytes in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Of the handshake.
const CONNECT: Duration = Duration::from_secs(10);

/// See the module.
pub struct Destination {
    address: SocketAddr,
    /// For the `Host` header.
    pub authority: String,
    /// More header lines, each with its end.
    pub headers: String,
    tls: Option<Connector>,
}

impl Destination {
    /// A port of this machine without TLS.
    pub fn plain(address: SocketAddr) -> Self {
        Self {
            address,
            authority: address.to_string(),
            headers: String::new(),
            tls: None,
        }
    }

    /// A gateway on this machine, by the name that its certificate must have; the roots are PEM text.
    pub fn gateway(address: SocketAddr, host: &str, roots: &[u8], token: &str) -> Result<Self> {
        let config = palladium_tls::pem_roots_client_config(roots, &[b"http/1.1"])?;
        Ok(Self {
            address,
            authority: format!("{host}:{}", address.port()),
            headers: format!("dapr-api-token: {token}\r\n"),
            tls: Some(Connector::named(config, host.to_owned().try_into()?, CONNECT)),
        })
    }

    /// A new connection.
    pub async fn connect(&self) -> Result<Box<dyn Stream>> {
        if let Some(tls) = &self.tls {
            return Ok(Box::new(tls.connect(self.address).await?));
        }
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}
