//! Byte streams to the servers that components name, in clear or by TLS.
//!
//! One idea: libraries of brokers get their streams from here instead of opening their own, so that TLS is set up in one way,
//! every connection has a deadline, and what is called is the host that the component names. Must never give out a stream in
//! clear where TLS was asked for, or drop a certificate without a word.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use palladium_component::{MetadataError, OpenError};
use palladium_tls::{ClientConfig, Connector, PublicCert, TlsIo, WebRoots, web_client_config};
use rustls_pki_types::ServerName;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::either::Either;

/// How long connecting may take, the handshake of TLS included.
const CONNECTING: Duration = Duration::from_secs(10);

/// Texts of certificates as a component gives them; empty ones count as absent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Certificates<'a> {
    /// PEM text of the authority that the server must be under; the system's authorities when absent.
    pub authority: Option<&'a str>,
    /// PEM text of the client's certificate.
    pub client: Option<&'a SecretString>,
    /// PEM text of its key.
    pub key: Option<&'a SecretString>,
}

/// A stream to a server.
pub type Stream = Either<TcpStream, TlsIo>;

/// A server.
#[derive(Clone)]
pub struct Target {
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    shows_certificate: bool,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Target {
    /// One in clear. `host`: without brackets.
    pub fn plain(host: &str, port: u16) -> Self {
        Target {
            host: host.to_owned(),
            port,
            tls: None,
            shows_certificate: false,
        }
    }

    /// One by TLS, or in clear when `by_tls` is not set: then certificates are refused, because they would count for nothing.
    ///
    /// # Errors
    /// Names the setting of a certificate that cannot be used.
    pub async fn new(host: &str, port: u16, by_tls: bool, certificates: Certificates<'_>) -> Result<Self, OpenError> {
        let plain = Self::plain(host, port);
        let wrong =
            |field: &str, reason: &str, remedy: &str| OpenError::from(MetadataError::new(field, reason, remedy));
        let text = |secret: Option<&SecretString>| secret.map(|secret| secret.expose_secret().to_owned());
        let authority = certificates
            .authority
            .filter(|text| !text.is_empty())
            .map(str::to_owned);
        let client = text(certificates.client).filter(|text| !text.is_empty());
        let key = text(certificates.key).filter(|text| !text.is_empty());
        let own =
            match (client, key) {
                (Some(client), Some(key)) => {
                    let own = PublicCert::from_pem(client.as_bytes(), key.as_bytes());
                    Some(own.map_err(|error| {
                        wrong("clientCert", &error.to_string(), "give PEM texts that belong together")
                    })?)
                }
                (None, None) => None,
                _ => {
                    return Err(wrong(
                        "clientKey",
                        "clientCert and clientKey belong together",
                        "give both or none",
                    ));
                }
            };
        if !by_tls {
            return match authority.is_some() || own.is_some() {
                true => {
                    let reason = "certificates are for TLS, which the address does not ask for";
                    Err(wrong("caCert", reason, "write an address of TLS, or remove them"))
                }
                false => Ok(plain),
            };
        }
        let shows_certificate = own.is_some();
        // The system's roots are files.
        let made = tokio::task::spawn_blocking(move || {
            let roots = authority
                .as_deref()
                .map_or(WebRoots::System, |pem| WebRoots::Pem(pem.as_bytes()));
            web_client_config(roots, own.as_ref(), &[])
        });
        let made = made
            .await
            .map_err(|_| OpenError::Unavailable("TLS cannot be set up".into()))?;
        let config = made.map_err(|error| wrong("caCert", &error.to_string(), "give a PEM text"))?;
        Ok(Target {
            tls: Some(config),
            shows_certificate,
            ..plain
        })
    }

    /// Its host, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is called by TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether it is shown a certificate of ours.
    pub fn shows_certificate(&self) -> bool {
        self.shows_certificate
    }

    /// Connects.
    ///
    /// # Errors
    /// When the server cannot be reached in time, or is another one.
    pub async fn connect(&self) -> io::Result<Stream> {
        let place = (self.host.as_str(), self.port);
        let Some(config) = &self.tls else {
            let stream = timeout(CONNECTING, TcpStream::connect(place)).await??;
            let _ = stream.set_nodelay(true);
            return Ok(Either::Left(stream));
        };
        let name = ServerName::try_from(self.host.clone());
        let name = name.map_err(|_| io::Error::other("the host is no name that a certificate could hold"))?;
        Ok(Either::Right(
            Connector::named(config.clone(), name, CONNECTING)
                .connect(place)
                .await?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn certificates_that_would_count_for_nothing_are_refused() {
        let key = SecretString::from("hunter2");
        let refused = async |by_tls, certificates| {
            let error = Target::new("h", 1, by_tls, certificates).await.unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
            match error {
                OpenError::Metadata(error) => error.field,
                other => panic!("{other}"),
            }
        };
        let none = Certificates::default();
        let authority = Certificates {
            authority: Some("x"),
            ..none
        };
        let half = Certificates {
            key: Some(&key),
            ..none
        };
        let both = Certificates {
            client: Some(&key),
            ..half
        };
        assert_eq!(refused(false, authority).await, "caCert");
        assert_eq!(refused(true, authority).await, "caCert");
        assert_eq!(refused(true, half).await, "clientKey");
        assert_eq!(refused(true, both).await, "clientCert");
        assert!(!Target::new("h", 1, false, none).await.unwrap().is_tls());
        assert_eq!(Target::plain("::1", 7).to_string(), "[::1]:7");
    }
}
