//! One publish/subscribe component as calls see it.
//!
//! One idea: topics are judged under the names that applications use; only what goes to the driver has the namespace
//! before it. Must never let a call through to the driver that scopes refuse, a dead letter among them.

use std::fmt;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use palladium_component::pubsub::{Feature, SubscribeRequest, Subscription};
use palladium_component::{Properties, PubSub, PubsubError};

use crate::scopes::{Direction, Scopes};
use crate::{ApiError, BulkPublishFailure, BulkPublishRequest, Features, PublishRequest, Spec};

/// How many messages of a bulk request go to the broker at a time, when it takes them one by one.
const BULK_PARALLEL: usize = 100;

/// An opened component with the rules of this App ID.
pub struct PubsubComponent {
    name: String,
    app_id: String,
    driver: Arc<dyn PubSub>,
    features: Features,
    scopes: Scopes,
    /// What stands before every topic at the broker.
    namespace: Option<String>,
}

impl PubsubComponent {
    /// `namespace`: given when the component's metadata asks for topics of its own per namespace.
    pub fn new(
        name: &str,
        app_id: &str,
        namespace: Option<&str>,
        properties: &Properties,
        driver: Arc<dyn PubSub>,
    ) -> Self {
        PubsubComponent {
            name: name.into(),
            app_id: app_id.into(),
            features: driver.features(),
            driver,
            scopes: Scopes::read(properties, app_id),
            namespace: namespace.map(str::to_owned),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whose it is.
    pub fn app_id(&self) -> &str {
        &self.app_id
    }

    /// What it can do.
    pub fn features(&self) -> Features {
        self.features
    }

    /// The opened component itself.
    pub fn driver(&self) -> &Arc<dyn PubSub> {
        &self.driver
    }

    /// Whether the broker itself drops what is too old.
    pub fn native_ttl(&self) -> bool {
        self.features.has(Feature::MessageTtl)
    }

    /// Whether this App ID may receive a topic.
    pub fn may_subscribe(&self, topic: &str) -> bool {
        self.scopes.allow(Direction::Subscribe, topic)
    }

    fn may_publish(&self, topic: &str) -> Result<(), ApiError> {
        if self.scopes.allow(Direction::Publish, topic) {
            return Ok(());
        }
        Err(ApiError::Forbidden {
            pubsub: self.name.clone(),
            topic: topic.into(),
            app_id: self.app_id.clone(),
        })
    }

    fn at_broker(&self, topic: String) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}{topic}"),
            None => topic,
        }
    }

    /// A topic of the broker's under the name that applications use.
    pub(crate) fn at_home<'a>(&self, topic: &'a str) -> &'a str {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        topic.strip_prefix(namespace).unwrap_or(topic)
    }

    /// Publishes one message.
    ///
    /// # Errors
    /// [`ApiError::Forbidden`] or [`ApiError::Publish`].
    pub async fn publish(&self, request: PublishRequest) -> Result<(), ApiError> {
        let topic = request.topic.clone();
        let request = self.prepared(request)?;
        let published = self.driver.publish(&request).await;
        published.map_err(|source| self.failed(topic, source))
    }

    /// A request as the driver takes it, for whoever calls the driver more than once.
    ///
    /// # Errors
    /// [`ApiError::Forbidden`].
    pub fn prepared(&self, mut request: PublishRequest) -> Result<PublishRequest, ApiError> {
        self.may_publish(&request.topic)?;
        request.topic = self.at_broker(request.topic);
        Ok(request)
    }

    /// The driver's failure to publish to a topic.
    pub fn failed(&self, topic: String, source: PubsubError) -> ApiError {
        ApiError::Publish {
            pubsub: self.name.clone(),
            topic,
            source,
        }
    }

    /// Publishes many messages and says which failed.
    ///
    /// # Errors
    /// [`ApiError::Forbidden`], or [`ApiError::Publish`] when nothing was published.
    pub async fn bulk_publish(&self, mut request: BulkPublishRequest) -> Result<Vec<BulkPublishFailure>, ApiError> {
        self.may_publish(&request.topic)?;
        let topic = std::mem::take(&mut request.topic);
        request.topic = self.at_broker(topic.clone());
        if self.features.has(Feature::BulkPublish) {
            let published = self.driver.bulk_publish(&request).await;
            return published.map_err(|source| self.failed(topic, source));
        }
        let topic = &request.topic;
        let published = request.entries.into_iter().map(|entry| async move {
            let single = PublishRequest {
                topic: topic.clone(),
                data: entry.event,
                metadata: entry.metadata,
                content_type: Some(entry.content_type).filter(|kind| !kind.is_empty()),
            };
            let error = self.driver.publish(&single).await.err()?;
            Some(BulkPublishFailure {
                entry_id: entry.entry_id,
                error,
            })
        });
        let failures = stream::iter(published).buffer_unordered(BULK_PARALLEL);
        Ok(failures.filter_map(std::future::ready).collect().await)
    }

    /// Begins to receive a topic.
    ///
    /// # Errors
    /// [`ApiError::Forbidden`] or [`ApiError::Subscribe`].
    pub async fn subscribe(&self, spec: &Spec) -> Result<Subscription, ApiError> {
        if !self.may_subscribe(&spec.topic) {
            return Err(ApiError::Forbidden {
                pubsub: self.name.clone(),
                topic: spec.topic.clone(),
                app_id: self.app_id.clone(),
            });
        }
        self.subscribe_own(spec).await
    }

    /// The same for a topic of the Dapr Server's own, of which no scope speaks.
    ///
    /// # Errors
    /// [`ApiError::Subscribe`].
    pub async fn subscribe_own(&self, spec: &Spec) -> Result<Subscription, ApiError> {
        let request = SubscribeRequest {
            topic: self.at_broker(spec.topic.clone()),
            metadata: spec.metadata.clone().into_iter().collect(),
        };
        let subscribed = self.driver.subscribe(request).await;
        subscribed.map_err(|source| ApiError::Subscribe {
            pubsub: self.name.clone(),
            topic: spec.topic.clone(),
            source,
        })
    }
}

impl fmt::Debug for PubsubComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubsubComponent")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
