//! `pubsub.redis`: Redis streams, in the layout of Dapr's own driver, so that daprd and this driver can share one server.
//!
//! The one idea: a topic is a stream, its subscribers of one name are a consumer group; a message is acknowledged when it
//! was handled, and otherwise stays in the group's list of pending ones, from where it is taken again. As in Dapr, group and
//! consumer have the same name, so that who starts again finds what was left. Unlike Dapr 1.18, a message that failed is not
//! acknowledged: it comes again after `redeliverInterval`, as Dapr's documentation says. Needs Redis 6.2 or later. Must
//! never give consumers of one group different names: what one of them leaves behind would wait for it alone.

mod bus;
mod receive;

use std::sync::Arc;
use std::time::Duration;

use palladium_component::metadata::{FieldSpec, Millis};
use palladium_component::{ComponentMetadata, Hosted, OpenContext, OpenError, PubSub, PubsubDriver, Status};
use palladium_components_redis::RedisMetadata;

use bus::{Bus, Trim};

/// The driver.
pub const DRIVER: PubsubDriver = PubsubDriver {
    type_name: "pubsub.redis",
    aliases: &[],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// What only publish/subscribe takes.
#[derive(Debug, ComponentMetadata)]
struct StreamsMetadata {
    /// How long a message may be under way before somebody else may take it; 0 = nobody ever does.
    #[metadata(default = "15s")]
    processing_timeout: Millis,
    /// How often it is looked for messages that nobody has acknowledged; 0 = never.
    #[metadata(default = "60s")]
    redeliver_interval: Millis,
    /// How many messages are read ahead.
    #[metadata(default = "100")]
    queue_depth: u32,
    /// How many messages are under way at a time.
    #[metadata(default = "10")]
    concurrency: u32,
    /// About how many messages a stream keeps; all when absent.
    pub max_len_approx: Option<u64>,
    /// How long a stream keeps messages; for ever when absent. Not together with maxLenApprox.
    #[metadata(name = "streamTTL")]
    pub stream_ttl: Option<Duration>,
}

fn fields() -> Vec<FieldSpec> {
    [RedisMetadata::fields(), StreamsMetadata::fields()].concat()
}

/// How this component receives.
struct Settings {
    group: String,
    processing_timeout: Duration,
    redeliver_interval: Duration,
    queue_depth: usize,
    concurrency: usize,
}

async fn open(context: OpenContext) -> Result<Arc<dyn PubSub>, OpenError> {
    let metadata = RedisMetadata::parse(&context.properties)?;
    let own = StreamsMetadata::parse(&context.properties)?;
    let consumer = context.properties.get("consumerID").unwrap_or_default().trim();
    let settings = Settings {
        group: if consumer.is_empty() {
            context.app_id.clone()
        } else {
            consumer.to_owned()
        },
        processing_timeout: own.processing_timeout.0.unwrap_or_default(),
        redeliver_interval: own.redeliver_interval.0.unwrap_or_default(),
        queue_depth: own.queue_depth.clamp(1, 10_000) as usize,
        concurrency: own.concurrency.clamp(1, 10_000) as usize,
    };
    let trim = match (own.max_len_approx, own.stream_ttl) {
        (Some(length), _) if length > 0 => Trim::Length(length),
        (_, Some(age)) if !age.is_zero() => Trim::Age(age),
        _ => Trim::Never,
    };
    let connecting = metadata.connect("redis streams: error connecting to redis");
    let (client, connection, _) = connecting.await?;
    // Reading waits at the server, for as long as it is asked to; only then a silent network is one that is lost.
    let answer = metadata.read_timeout.0.unwrap_or(Duration::from_secs(3));
    let waiting = metadata
        .connection()
        .set_response_timeout(Some(receive::BLOCK + answer));
    Ok(Arc::new(Bus::new(connection, client, waiting, settings, trim)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_numbers_have_daprs_defaults() {
        let own = StreamsMetadata::parse(&[("processingTimeout", "250")].into_iter().collect()).unwrap();
        assert_eq!(own.processing_timeout.0, Some(Duration::from_millis(250)));
        assert_eq!(own.redeliver_interval.0, Some(Duration::from_secs(60)));
        assert_eq!((own.queue_depth, own.concurrency, own.max_len_approx), (100, 10, None));
    }

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
