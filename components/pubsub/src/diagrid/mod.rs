//! `pubsub.diagrid`: the region's managed publish/subscribe.
//!
//! The one idea: as `state.diagrid`, this driver holds no address and no credential: the Dapr Server hands it streams to the
//! store process, already mutually authenticated; the store knows caller and consumer group from certificate and table. A
//! message is acknowledged when the store has it on disk, and delivered until it was handled. Must never dial by itself, nor
//! call a message handled before the application or the dead letter topic has it.

mod bus;
mod late;
mod metadata;
mod publish;
mod receive;

use std::sync::Arc;
use std::time::Duration;

use palladium_component::{ComponentMetadata, Hosted, OpenContext, OpenError, PubSub, PubsubDriver, Status};
use palladium_components_pluggable::stream;

use bus::{Bus, Settings};
use metadata::DiagridMetadata;

/// The driver.
pub const DRIVER: PubsubDriver = PubsubDriver {
    type_name: "pubsub.diagrid",
    aliases: &[],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields: DiagridMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// Greatest number of messages under way at a time, as the store has it.
const MOST_UNDER_WAY: u32 = 1000;
/// A store that answers no ping is away.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_ANSWER: Duration = Duration::from_secs(10);

async fn open(context: OpenContext) -> Result<Arc<dyn PubSub>, OpenError> {
    let metadata = DiagridMetadata::parse(&context.properties)?;
    let Some(connector) = context.managed else {
        let message =
            "pubsub.diagrid needs a region with managed services: create the component in a project of a region";
        return Err(OpenError::NotAllowed(message.into()));
    };
    let component = context.component;
    let header = component
        .parse()
        .map_err(|_| OpenError::NotAllowed(format!("component name {component:?} is not printable ASCII")))?;
    let endpoint = stream::endpoint()
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER);
    let settings = Settings {
        ttl_seconds: metadata.ttl_in_seconds.unwrap_or(0),
        redeliver: metadata.redeliver_interval,
        concurrency: metadata.concurrency.clamp(1, MOST_UNDER_WAY),
        newest: metadata.initial_offset.eq_ignore_ascii_case("newest"),
    };
    let bus = Bus::new(stream::over(endpoint, connector), header, settings);
    let taken = bus.open().await;
    taken.map_err(|error| OpenError::Unavailable(format!("the managed broker did not take the component: {error}")))?;
    Ok(Arc::new(bus))
}
