//! `configuration.redis`: plain keys of a Redis server, in the layout of Dapr's own driver.
//!
//! The one idea: a string is `value` or `value||version`, and changes are the server's keyspace notifications, which are
//! switched on by the first subscription. What is no string, or empty, does not exist. Must never write a key, nor switch off
//! notifications that somebody else has switched on.

mod store;
mod watch;

use std::sync::Arc;

use palladium_component::{
    ComponentMetadata, ConfigurationDriver, ConfigurationStore, Hosted, OpenContext, OpenError, Status,
};
use palladium_components_redis::RedisMetadata;

use store::{Reader, RedisConfiguration};
use watch::Line;

/// The driver.
pub const DRIVER: ConfigurationDriver = ConfigurationDriver {
    type_name: "configuration.redis",
    aliases: &[],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields: RedisMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

async fn open(context: OpenContext) -> Result<Arc<dyn ConfigurationStore>, OpenError> {
    let metadata = RedisMetadata::parse(&context.properties)?;
    let connecting = metadata.connect("redis store: error connecting to redis");
    let (client, connection, unavailable) = connecting.await?;
    let reader = Reader::new(connection);
    reader.ping().await.map_err(unavailable)?;
    Ok(Arc::new(RedisConfiguration::new(reader, Line::new(client, &metadata))))
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
}
