//! `state.redis`: a Redis server, in the layout of Dapr's own driver, so that daprd and this driver can share one.
//!
//! The one idea: every write is one script that checks and writes in one step ([`scripts`]); etags are the hash's
//! `version`. As in Dapr, an explicit last-write ignores an etag, and a write without a TTL keeps the key's. One
//! multiplexed connection, re-made by itself; only calls that certainly never reached the server, and reads, are repeated.

mod keys;
mod scripts;
mod store;

use std::sync::Arc;

use palladium_component::metadata::FieldSpec;
use palladium_component::state::StateStore;
use palladium_component::{ComponentMetadata, Hosted, MetadataError, OpenContext, OpenError, StateDriver, Status};
use palladium_components_redis::RedisMetadata;

use store::{RedisStore, Retry};

/// The driver.
pub const DRIVER: StateDriver = StateDriver {
    type_name: "state.redis",
    aliases: &[],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// What only a state store takes.
#[derive(Debug, ComponentMetadata)]
struct StoreMetadata {
    /// Life of keys whose request does not state one, in seconds; -1 = for ever.
    #[metadata(name = "ttlInSeconds")]
    default_ttl: Option<i32>,
    /// Index schemas for the query API. Not supported.
    query_indexes: Option<String>,
}

fn fields() -> Vec<FieldSpec> {
    [RedisMetadata::fields(), StoreMetadata::fields()].concat()
}

async fn open(context: OpenContext) -> Result<Arc<dyn StateStore>, OpenError> {
    let metadata = RedisMetadata::parse(&context.properties)?;
    let own = StoreMetadata::parse(&context.properties)?;
    if own.query_indexes.is_some() {
        return Err(MetadataError::new("queryIndexes", "the query API is not supported", "leave it away").into());
    }
    let retry = Retry {
        times: metadata.tries(),
        min: metadata.redis_min_retry_interval.0.unwrap_or_default(),
        max: metadata.redis_max_retry_interval.0.unwrap_or_default(),
    };
    let connecting = metadata.connect("redis store: error connecting to redis");
    let (_, connection, unavailable) = connecting.await?;
    let store = RedisStore::new(connection, retry, own.default_ttl)
        .await
        .map_err(unavailable)?;
    Ok(Arc::new(store))
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
        let error = open(OpenContext::new("c", "app", pairs.into_iter().collect()))
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("127.0.0.1:1") && !error.contains("hunter2"), "{error}");
    }
}
