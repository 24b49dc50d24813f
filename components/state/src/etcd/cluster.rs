//! The members of a cluster: connected when they are first used, asked in turn.
//!
//! The one idea: a call that certainly never reached a member, and any read, goes on to the next one; the member that
//! answered is asked first from then on. A write that may have arrived is never sent twice.

use std::error::Error as _;
use std::net::Ipv6Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use palladium_component::{MetadataError, OpenError, StateError};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, ConnectError, Status};

use super::wire::{self, Method};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Of one call, whatever number of members it takes.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// `name:port`, `1.2.3.4:port` or `[::1]:port` and nothing else, so that whoever judges the setting sees the same host.
fn is_address(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let named = !host.is_empty() && host.bytes().all(plain);
        port.parse::<u16>().is_ok() && v6.map_or(named, |host| host.parse::<Ipv6Addr>().is_ok())
    })
}

#[derive(Debug)]
pub(super) struct Cluster {
    members: Vec<Channel>,
    /// Index of the member that answered last.
    first: AtomicUsize,
}

impl Cluster {
    /// From addresses separated by commas. Nothing is dialled yet.
    pub(super) fn new(endpoints: &str) -> Result<Self, OpenError> {
        let wrong = |reason: String| MetadataError::new("endpoints", reason, "use host:port, separated by commas");
        let mut members = Vec::new();
        let texts = endpoints.split(',').map(str::trim).filter(|text| !text.is_empty());
        for (number, text) in texts.enumerate() {
            let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
            // Never quoted: people write passwords into addresses.
            let endpoint = is_address(address)
                .then(|| Endpoint::from_shared(format!("http://{address}")).ok())
                .flatten()
                .ok_or_else(|| wrong(format!("address {} of it is none", number + 1)))?;
            members.push(endpoint.connect_timeout(CONNECT_TIMEOUT).connect_lazy());
        }
        if members.is_empty() {
            return Err(wrong("it is empty".into()).into());
        }
        Ok(Self {
            members,
            first: AtomicUsize::new(0),
        })
    }

    /// One call, within [`CALL_TIMEOUT`].
    pub(super) async fn call<M, R>(&self, method: Method, message: M) -> Result<R, StateError>
    where
        M: prost::Message + Clone + 'static,
        R: prost::Message + Default + 'static,
    {
        match timeout(CALL_TIMEOUT, self.in_turn(method, message)).await {
            Ok(answer) => answer.map_err(|status| failure(&status)),
            Err(_) => Err(StateError::Unavailable(format!(
                "etcd did not answer within {CALL_TIMEOUT:?}"
            ))),
        }
    }

    async fn in_turn<M, R>(&self, method: Method, message: M) -> Result<R, Status>
    where
        M: prost::Message + Clone + 'static,
        R: prost::Message + Default + 'static,
    {
        let first = self.first.load(Ordering::Relaxed);
        let mut last = Status::unavailable("no member");
        for turn in 0..self.members.len() {
            let index = (first + turn) % self.members.len();
            match wire::call(&self.members[index], method.path, message.clone()).await {
                Ok(answer) => {
                    self.first.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(status) if never_arrived(&status) || (method.reads && status.code() == Code::Unavailable) => {
                    last = status;
                }
                Err(status) => return Err(status),
            }
        }
        Err(last)
    }
}

/// There was no connection to send it on.
fn never_arrived(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn failure(status: &Status) -> StateError {
    let message = format!("etcd: {}", status.message());
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => StateError::Unavailable(message),
        Code::InvalidArgument => StateError::Invalid(message),
        _ => StateError::Other(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses() {
        for good in ["localhost:2379", "a:1,b:2", " http://a:1 , b:2,", "[::1]:2379"] {
            assert!(Cluster::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            " , ",
            "hunter2",
            "https://a:1",
            "a:1/hunter2",
            "a:x",
            ":1",
            "http://user:hunter2@a:1",
            "host=good.example;x=hunter2@a:1",
            "[::hunter2]:1",
        ] {
            let error = Cluster::new(bad).unwrap_err().to_string();
            assert!(error.contains("endpoints"), "{bad}: {error}");
            assert!(!error.contains("hunter2"), "a password may stand in it: {error}");
        }
    }

    #[tokio::test]
    async fn nobody_listens() {
        // Port 1 of this machine: nothing of ours is ever there.
        let cluster = Cluster::new("127.0.0.1:1,127.0.0.1:1").unwrap();
        let asked = wire::RangeRequest::default();
        let answer: Result<wire::RangeResponse, _> = cluster.call(wire::RANGE, asked).await;
        assert!(matches!(answer, Err(StateError::Unavailable(_))), "{answer:?}");
        let status =
            wire::call::<_, wire::RangeResponse>(&cluster.members[0], wire::RANGE.path, wire::RangeRequest::default())
                .await
                .unwrap_err();
        assert!(never_arrived(&status), "{status:?}");
    }
}
