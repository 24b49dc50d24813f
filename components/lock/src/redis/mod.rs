//! `lock.redis`: keys of one Redis server, in the layout of Dapr's own driver, so that both can share locks.
//!
//! The one idea: a lock is a key that only its first owner can set, with a time to live; giving it back is one script that
//! looks at the owner and deletes in one step. A server with replicas is refused: a lock that a replica has not got yet is
//! lost with the server. Must never repeat a call that may have reached the server: the second time it would be told that
//! the lock is taken, by itself.

use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::ConnectionManager;
use ::redis::{RedisError, Script, cmd};
use palladium_component::lock::{LockDriver, LockStore, Unlocked};
use palladium_component::{CallError, ComponentMetadata, Hosted, MetadataError, OpenContext, OpenError, Reply, Status};
use palladium_components_redis::RedisMetadata;

/// The driver.
pub const DRIVER: LockDriver = LockDriver {
    type_name: "lock.redis",
    aliases: &[],
    versions: &["v1"],
    status: Status::Alpha,
    hosted: Hosted::Allowed,
    fields: RedisMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// Answers what it did: 1 and 0 = it is free, -1 = nobody had it, -2 = somebody else has it.
const UNLOCK: &str = "
local owner = redis.call('GET', KEYS[1])
if not owner then return -1 end
if owner ~= ARGV[1] then return -2 end
return redis.call('DEL', KEYS[1])
";

async fn open(context: OpenContext) -> Result<Arc<dyn LockStore>, OpenError> {
    let metadata = RedisMetadata::parse(&context.properties)?;
    let (_, mut connection, unavailable) = metadata.connect("error connecting to Redis").await?;
    cmd("PING")
        .query_async::<()>(&mut connection)
        .await
        .map_err(unavailable)?;
    // Not every server tells.
    let about: Result<String, _> = cmd("INFO").arg("replication").query_async(&mut connection).await;
    if replicas(&about.unwrap_or_default()) > 0 {
        let reason = "replication is not supported";
        return Err(MetadataError::new("redisHost", reason, "name a server without replicas").into());
    }
    Ok(Arc::new(RedisLock {
        connection,
        unlock: Script::new(UNLOCK),
    }))
}

fn replicas(about: &str) -> u64 {
    let mut lines = about.lines();
    lines
        .find_map(|line| line.strip_prefix("connected_slaves:")?.trim().parse().ok())
        .unwrap_or(0)
}

struct RedisLock {
    connection: ConnectionManager,
    unlock: Script,
}

impl RedisLock {
    async fn take(&self, resource: &str, owner: &str, expiry: Duration) -> Result<bool, RedisError> {
        let mut set = cmd("SET");
        set.arg(resource).arg(owner).arg("NX").arg("PX").arg(millis(expiry));
        let set: Option<String> = set.query_async(&mut self.connection.clone()).await?;
        Ok(set.is_some())
    }
}

/// Redis takes no life of zero.
fn millis(expiry: Duration) -> u64 {
    u64::try_from(expiry.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn failed(error: RedisError) -> CallError {
    if error.is_io_error() || error.is_timeout() {
        return CallError::Unavailable(error.to_string());
    }
    CallError::Other(error.to_string())
}

impl LockStore for RedisLock {
    fn try_lock<'a>(&'a self, resource: &'a str, owner: &'a str, expiry: Duration) -> Reply<'a, bool, CallError> {
        Reply::wait(async move { self.take(resource, owner, expiry).await.map_err(failed) })
    }

    fn unlock<'a>(&'a self, resource: &'a str, owner: &'a str) -> Reply<'a, Unlocked, CallError> {
        Reply::wait(async move {
            let mut call = self.unlock.key(resource);
            let call = call.arg(owner).invoke_async(&mut self.connection.clone()).await;
            Ok(match call.map_err(failed)? {
                -1 => Unlocked::DoesNotExist,
                -2 => Unlocked::BelongsToOthers,
                0_i64.. => Unlocked::Success,
                other => return Err(CallError::Other(format!("the server answered {other}"))),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_server_is_a_clear_error_without_secrets() {
        let pairs = [
            ("redisHost", "127.0.0.1:1"),
            ("redisPassword", "hunter2"),
            ("redisMaxRetries", "0"),
        ];
        let context = OpenContext::new("c", "app", pairs.into_iter().collect());
        let error = open(context).await.err().unwrap().to_string();
        assert!(error.contains("127.0.0.1:1") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn replicas_are_counted() {
        assert_eq!(replicas("# Replication\r\nrole:master\r\nconnected_slaves:2\r\n"), 2);
        assert_eq!(replicas(""), 0);
    }
}
