//! `state.memcached`: values in memcached servers, as Dapr keeps them there.
//!
//! One idea: a cache and nothing more. It has no etags and no transactions, as Dapr's has none, and whatever the servers
//! would cut or lose without a word is refused here: long keys, keys with blanks, values that do not fit. Must never claim
//! a feature that the servers do not keep.

mod connection;
mod servers;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use palladium_component::metadata::Millis;
use palladium_component::state::{
    BulkGetItem, BulkOptions, DeleteRequest, Feature, Features, GetRequest, GetResponse, SetRequest, StateStore,
    TransactRequest,
};
use palladium_component::{
    ComponentMetadata, Hosted, MetadataError, OpenContext, OpenError, Reply, StateDriver, StateError, Status,
};

use crate::{bulk, ttl};
use servers::Servers;

/// The driver.
pub const DRIVER: StateDriver = StateDriver {
    type_name: "state.memcached",
    aliases: &[],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields: MemcachedMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// Metadata of `state.memcached`, under Dapr's names.
#[derive(Debug, ComponentMetadata)]
struct MemcachedMetadata {
    /// Addresses of the servers, separated by commas; a key lives on one of them.
    #[metadata(required)]
    hosts: String,
    /// Most connections to a server that are kept when nobody uses them.
    #[metadata(default = "2")]
    max_idle_connections: u32,
    /// How long one request may take, in milliseconds; 1000 when negative.
    #[metadata(default = "1000")]
    timeout: Millis,
}

/// memcached takes a life from here on for a moment since 1970.
const LONGEST_LIFE: u32 = 30 * 24 * 60 * 60;
const LAST_SECOND: i64 = 2_147_483_647;
const LONGEST_KEY: usize = 250;
const FEATURES: Features = Features::NONE.with(Feature::Ttl);

async fn open(context: OpenContext) -> Result<Arc<dyn StateStore>, OpenError> {
    let metadata = MemcachedMetadata::parse(&context.properties)?;
    let timeout = metadata.timeout.0.unwrap_or(Duration::from_secs(1));
    if timeout.is_zero() {
        return Err(MetadataError::new("timeout", "it is 0", "use 1 (millisecond) or more").into());
    }
    let idle = usize::try_from(metadata.max_idle_connections).unwrap_or(2).min(1024);
    let servers = Servers::new(&metadata.hosts, idle, timeout)?;
    let reached = servers.ask_limits().await;
    reached.map_err(|error| OpenError::Unavailable(format!("failed to reach memcached: {error}")))?;
    Ok(Arc::new(Memcached(servers)))
}

struct Memcached(Servers);

impl Memcached {
    async fn read(&self, key: &str) -> Result<GetResponse, StateError> {
        check_key(key)?;
        let value = self.0.get(key).await?;
        Ok(GetResponse {
            value,
            ..GetResponse::default()
        })
    }

    async fn write(&self, request: &SetRequest) -> Result<(), StateError> {
        check_key(&request.key)?;
        let expires = expires(request)?;
        self.0.set(&request.key, expires, &request.value).await
    }

    async fn remove(&self, request: &DeleteRequest) -> Result<(), StateError> {
        check_key(&request.key)?;
        self.0.delete(&request.key).await
    }
}

fn check_key(key: &str) -> Result<(), StateError> {
    if key.is_empty() {
        return Err(StateError::Invalid("missing key".into()));
    }
    if key.len() > LONGEST_KEY || key.bytes().any(|byte| byte <= b' ' || byte == 0x7F) {
        let message = "memcached takes keys of up to 250 bytes, prefix included, without blanks and control characters";
        return Err(StateError::Invalid(message.into()));
    }
    Ok(())
}

/// The life as memcached counts it; 0 = for ever.
fn expires(request: &SetRequest) -> Result<i64, StateError> {
    let life = ttl::parse(&request.metadata)?.unwrap_or(0);
    if life < LONGEST_LIFE {
        return Ok(life.into());
    }
    let at = ttl::now_unix_s() + i64::from(life);
    if at > LAST_SECOND {
        let message = "incorrect value for metadata 'ttlInSeconds': memcached counts time until January 2038 only";
        return Err(StateError::Invalid(message.into()));
    }
    Ok(at)
}

impl StateStore for Memcached {
    fn features(&self) -> Features {
        FEATURES
    }

    fn get<'a>(&'a self, request: &'a GetRequest) -> Reply<'a, GetResponse> {
        Reply::wait(self.read(&request.key))
    }

    fn set<'a>(&'a self, request: &'a SetRequest) -> Reply<'a, ()> {
        Reply::wait(self.write(request))
    }

    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> Reply<'a, ()> {
        Reply::wait(self.remove(request))
    }

    fn bulk_get<'a>(&'a self, requests: &'a [GetRequest], options: BulkOptions) -> Reply<'a, Vec<BulkGetItem>> {
        let calls = requests
            .iter()
            .map(|request| bulk::call(&request.key, self.read(&request.key)));
        let calls = calls.collect();
        Reply::wait(async move { Ok(bulk::read(calls, options).await) })
    }

    fn bulk_set<'a>(&'a self, requests: &'a [SetRequest], options: BulkOptions) -> Reply<'a, ()> {
        let calls = requests
            .iter()
            .map(|request| bulk::call(&request.key, self.write(request)));
        Reply::wait(bulk::run(calls.collect(), options))
    }

    fn bulk_delete<'a>(&'a self, requests: &'a [DeleteRequest], options: BulkOptions) -> Reply<'a, ()> {
        let calls = requests
            .iter()
            .map(|request| bulk::call(&request.key, self.remove(request)));
        Reply::wait(bulk::run(calls.collect(), options))
    }

    fn transact<'a>(&'a self, _: &'a TransactRequest) -> Reply<'a, ()> {
        Reply::ready(Err(StateError::NotSupported("memcached has no transactions".into())))
    }

    fn ping(&self) -> Reply<'_, ()> {
        Reply::wait(self.0.ask_limits())
    }

    fn close(&self) -> Reply<'_, ()> {
        self.0.forget();
        Reply::ready(Ok(()))
    }
}
