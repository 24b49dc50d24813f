//! Opens the ports of the drop-in form and says what each worker does on them.
//!
//! One idea: every port is bound before anything is served, so that a taken port ends the start with its name and
//! remedy; the listeners are then handed to the workers, one of each port to each. Must never leave out a port that
//! cannot be bound, nor serve platform mode: TLS is on the internal port only.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper::{Request, Response};
use palladium_http::{Accept, BindError, Limits, Server as HttpServer, TlsListener, Upload, bind_shared, bind_unix};
use palladium_tasks::{Shutdown, Tasks};
use palladium_tls::Acceptor;
use tokio::net::TcpListener;

use crate::config::Listen;
use crate::grpc::{self, Services};
use crate::http::{self, Body, H2cListener, Surface};
use crate::invoke::serve_internal;
use crate::metrics::page;
use crate::server::Server;
use crate::workers::Work;

/// Why the ports could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A port is taken or refused.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// An address that is none.
    #[error("{0:?} is not an address to listen on")]
    Address(String),
}

/// What is served on a listener.
#[derive(Clone, Copy, Debug)]
enum What {
    Http(Surface),
    Grpc,
    Internal,
    Metrics,
    Profile,
}

/// The open ports.
pub struct Ports {
    workers: usize,
    shared: Vec<(What, Vec<std::net::TcpListener>)>,
    unix: Vec<(What, tokio::net::UnixListener)>,
    limits: Limits,
}

impl Ports {
    /// Binds all of them, and waits a moment for those that are taken. `read_buffer`: greatest request head. `drain`: how long requests may finish at a stop.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub async fn open(
        listen: &Listen,
        app_id: &str,
        workers: usize,
        read_buffer: usize,
        drain: Duration,
    ) -> Result<Self, ListenError> {
        let mut ports = Self {
            workers,
            shared: Vec::new(),
            unix: Vec::new(),
            limits: Limits {
                // What the original allows beyond its setting.
                header_bytes: read_buffer.saturating_add(4096),
                // Its one caller is the application beside it, whose rhythm is its own.
                addresses: 1,
                idle: Duration::from_secs(3600),
                unproven_idle: Duration::from_secs(3600),
                body: Duration::from_secs(3600),
                drain,
                ..Limits::default()
            },
        };
        let any = [String::new()];
        let addresses = if listen.addresses.is_empty() {
            &any[..]
        } else {
            &listen.addresses
        };
        if let Some(folder) = &listen.unix_folder {
            ports.unix(What::Http(Surface::Api), folder, &format!("dapr-{app_id}-http.socket"))?;
            ports.unix(What::Grpc, folder, &format!("dapr-{app_id}-grpc.socket"))?;
        } else {
            ports
                .tcp(
                    What::Http(Surface::Api),
                    addresses,
                    listen.http_port,
                    "the HTTP API",
                    "--dapr-http-port",
                )
                .await?;
            ports
                .tcp(
                    What::Grpc,
                    addresses,
                    listen.grpc_port,
                    "the gRPC API",
                    "--dapr-grpc-port",
                )
                .await?;
        }
        let one = |address: &String| [address.clone()];
        let internal = listen.internal_port.unwrap_or(0);
        let address = one(&listen.internal_address);
        ports
            .tcp(
                What::Internal,
                &address,
                internal,
                "the internal port",
                "--dapr-internal-grpc-port",
            )
            .await?;
        if let Some(port) = listen.public_port {
            let what = What::Http(Surface::Public);
            ports
                .tcp(
                    what,
                    &one(&listen.public_address),
                    port,
                    "the public port",
                    "--dapr-public-port",
                )
                .await?;
        }
        if let Some(port) = listen.metrics_port {
            ports
                .tcp(
                    What::Metrics,
                    &one(&listen.metrics_address),
                    port,
                    "metrics",
                    "--metrics-port",
                )
                .await?;
        }
        if let Some(port) = listen.profile_port {
            ports
                .tcp(What::Profile, addresses, port, "profiling", "--profile-port")
                .await?;
        }
        Ok(ports)
    }

    /// The internal port, which may have been chosen by the operating system.
    pub fn internal_port(&self) -> Option<u16> {
        let mut shared = self.shared.iter();
        let (_, listeners) = shared.find(|(what, _)| matches!(what, What::Internal))?;
        Some(listeners.first()?.local_addr().ok()?.port())
    }

    async fn tcp(
        &mut self,
        what: What,
        addresses: &[String],
        port: u16,
        purpose: &'static str,
        remedy: &'static str,
    ) -> Result<(), ListenError> {
        // Only what carries traffic is spread over the workers.
        let count = if matches!(what, What::Http(Surface::Api) | What::Grpc | What::Internal) {
            self.workers
        } else {
            1
        };
        for address in addresses {
            let wanted = parse(address, port)?;
            let bound = in_time(|| bind_shared(purpose, wanted, remedy, count)).await;
            let bound = match bound {
                // No IPv6 on this machine.
                Err(BindError::Refused { .. }) if address.is_empty() => {
                    let wanted = (Ipv4Addr::UNSPECIFIED, port).into();
                    in_time(|| bind_shared(purpose, wanted, remedy, count)).await
                }
                bound => bound,
            };
            self.shared.push((what, bound?));
        }
        Ok(())
    }

    fn unix(&mut self, what: What, folder: &Path, name: &str) -> Result<(), ListenError> {
        self.unix.push((what, bind_unix("the API", &folder.join(name))?));
        Ok(())
    }

    /// What each worker does, the first one first. `internal`: how the internal port is protected.
    pub fn works(self, server: &Arc<Server>, internal: Option<Acceptor>) -> Vec<Work> {
        let mut jobs: Vec<Vec<Job>> = (0..self.workers).map(|_| Vec::new()).collect();
        for (what, listeners) in self.shared {
            let tls = internal.clone().filter(|_| matches!(what, What::Internal));
            for (job, listener) in jobs.iter_mut().zip(listeners) {
                job.push(Job {
                    what,
                    listener: Listener::Tcp(listener),
                    tls: tls.clone(),
                });
            }
        }
        if let Some(first) = jobs.first_mut() {
            let unix = self.unix.into_iter();
            first.extend(unix.map(|(what, listener)| Job {
                what,
                listener: Listener::Unix(listener),
                tls: None,
            }));
        }
        let make = |jobs: Vec<Job>| -> Work { Box::pin(work(server.clone(), jobs, self.limits.clone())) };
        jobs.into_iter().map(make).collect()
    }
}

/// How long a port may be taken. Whoever chose it may have held it until a moment ago; then it is still open in what that
/// one is starting at the same time, until each of these runs its own program.
const TAKEN: Duration = Duration::from_secs(1);

async fn in_time<T>(bind: impl Fn() -> Result<T, BindError>) -> Result<T, BindError> {
    let begun = tokio::time::Instant::now();
    loop {
        match bind() {
            Err(BindError::Taken { .. }) if begun.elapsed() < TAKEN => tokio::time::sleep(TAKEN / 50).await,
            ended => return ended,
        }
    }
}

enum Listener {
    Tcp(std::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

struct Job {
    what: What,
    listener: Listener,
    tls: Option<Acceptor>,
}

async fn work(server: Arc<Server>, jobs: Vec<Job>, limits: Limits) {
    let mut tasks = Tasks::new();
    for Job { what, listener, tls } in jobs {
        let (server, limits) = (server.clone(), limits.clone());
        let listener = match listener {
            Listener::Unix(listener) => {
                tasks.spawn("api", serve(server, what, HttpServer::new(listener, limits)));
                continue;
            }
            Listener::Tcp(listener) => match TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => {
                    tracing::error!(%error, "a listener cannot be used");
                    continue;
                }
            },
        };
        match (what, tls) {
            (What::Http(_), _) => {
                tasks.spawn(
                    "api",
                    serve(server, what, HttpServer::new(H2cListener::new(listener), limits)),
                );
            }
            (_, Some(tls)) => {
                tasks.spawn(
                    "api",
                    serve(server, what, HttpServer::new(TlsListener::new(listener, tls), limits)),
                );
            }
            (_, None) => tasks.spawn("api", serve(server, what, HttpServer::new(listener, limits))),
        }
    }
    while tasks.any_ended().await.is_some() {}
}

async fn serve<L: Accept + 'static>(server: Arc<Server>, what: What, listener: HttpServer<L>) {
    let shutdown = server.shutdown.clone();
    match what {
        What::Http(surface) => serve_http(server, surface, listener, &shutdown).await,
        What::Grpc => {
            let services = Services::new(&server);
            let make = move |_| {
                let (server, services) = (server.clone(), services.clone());
                service_fn(move |request: Request<Upload>| {
                    let (server, services) = (server.clone(), services.clone());
                    async move { Ok::<_, Infallible>(grpc::handle(&server, &services, request).await) }
                })
            };
            listener.serve(make, &shutdown).await;
        }
        What::Internal => serve_internal(server, listener).await,
        What::Metrics => page::serve(server, listener).await,
        // Go's profiles have no counterpart here; the port is there because scripts wait for it.
        What::Profile => {
            let make = |_| {
                service_fn(async |_: Request<Upload>| {
                    let mut answer = Response::new(Body::from("no profiles: this is not a Go program\n"));
                    *answer.status_mut() = hyper::StatusCode::NOT_FOUND;
                    plain(answer)
                })
            };
            listener.serve(make, &shutdown).await;
        }
    }
}

async fn serve_http<L: Accept>(server: Arc<Server>, surface: Surface, listener: HttpServer<L>, shutdown: &Shutdown) {
    let make = move |_| {
        let server = server.clone();
        service_fn(move |request: Request<Upload>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(http::handle(&server, surface, request).await) }
        })
    };
    listener.serve(make, shutdown).await;
}

fn plain(answer: Response<Body>) -> Result<Response<Body>, Infallible> {
    Ok(answer)
}

fn parse(address: &str, port: u16) -> Result<SocketAddr, ListenError> {
    let ip = match address.trim_start_matches('[').trim_end_matches(']') {
        "" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        text => text.parse().map_err(|_| ListenError::Address(address.to_owned()))?,
    };
    Ok(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_port_that_is_given_back_in_time_is_had() {
        let held = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = held.local_addr().unwrap();
        let bind = || bind_shared("the HTTP API", address, "--dapr-http-port", 1);
        let begun = tokio::time::Instant::now();
        let error = in_time(bind).await.unwrap_err();
        assert!(matches!(error, BindError::Taken { .. }) && begun.elapsed() >= TAKEN);
        let giving = tokio::spawn(async move {
            tokio::time::sleep(TAKEN / 2).await;
            drop(held);
        });
        assert!(in_time(bind).await.is_ok());
        giving.await.unwrap();
    }
}
