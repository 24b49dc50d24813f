//! How a publish/subscribe call fails, and what its caller is told: Dapr's tags, reasons, codes and words.
//!
//! One idea: both protocols draw from this one place; the words are Dapr's, because programs match them. Must never hold
//! a message's data.

use palladium_component::PubsubError;
use palladium_engine_report::{DOMAIN, Detail, Report, code};
use thiserror::Error;

use crate::envelope::RAW_PAYLOAD;

/// A failed call.
#[derive(Debug, Clone, Error)]
pub enum ApiError {
    /// No component was named.
    #[error("pubsub name is empty")]
    NameEmpty,
    /// There is no such component.
    #[error("pubsub {pubsub} is not found")]
    NotFound {
        /// As it was named.
        pubsub: String,
    },
    /// No topic was named.
    #[error("topic is empty in pubsub {pubsub}")]
    TopicEmpty {
        /// The component.
        pubsub: String,
    },
    /// Metadata of the call cannot be used.
    #[error("failed deserializing metadata. Error: {reason}")]
    Metadata {
        /// The component.
        pubsub: String,
        /// What stands there.
        value: String,
        /// Why.
        reason: String,
    },
    /// An envelope of the caller's own is none.
    #[error("cannot create cloudevent")]
    Envelope {
        /// The component.
        pubsub: String,
        /// Who publishes.
        app_id: String,
        /// Why.
        reason: String,
    },
    /// An event of a bulk request does not fit its content type.
    #[error("error when marshalling cloud event envelope for topic {topic} pubsub {pubsub}: {reason}")]
    Mismatch {
        /// The component.
        pubsub: String,
        /// Topic.
        topic: String,
        /// Who publishes.
        app_id: String,
        /// Why.
        reason: String,
    },
    /// An entry of a bulk request has no id, or another one's.
    #[error("error marshaling events to bytes for topic {topic} pubsub {pubsub}. error: {reason}")]
    Entries {
        /// The component.
        pubsub: String,
        /// Topic.
        topic: String,
        /// Who publishes.
        app_id: String,
        /// Why.
        reason: String,
    },
    /// A bulk request is no list of entries.
    #[error("error when unmarshaling the request for topic {topic} pubsub {pubsub}: {reason}")]
    Unreadable {
        /// The component.
        pubsub: String,
        /// Topic.
        topic: String,
        /// Who publishes.
        app_id: String,
        /// Why.
        reason: String,
    },
    /// The App ID may not use the topic.
    #[error("topic {topic} is not allowed for app id {app_id}")]
    Forbidden {
        /// The component.
        pubsub: String,
        /// Topic.
        topic: String,
        /// Who.
        app_id: String,
    },
    /// The broker did not take the message.
    #[error("error when publishing to topic {topic} in pubsub {pubsub}: {source}")]
    Publish {
        /// The component.
        pubsub: String,
        /// Topic.
        topic: String,
        /// What the driver says.
        source: PubsubError,
    },
    /// A transaction was not carried out, because what it was to publish could not be promised.
    #[error("error while publishing outbox message: {reason}")]
    Outbox {
        /// Who publishes.
        app_id: String,
        /// Why.
        reason: String,
    },
    /// The broker did not take the subscription.
    #[error("failed to subscribe to topic {topic}: {source}")]
    Subscribe {
        /// The component.
        pubsub: String,
        /// Topic.
        topic: String,
        /// What the driver says.
        source: PubsubError,
    },
}

impl ApiError {
    /// What a caller of either protocol is told.
    pub fn report(&self) -> Report {
        let message = self.to_string();
        let about_app = |app_id: &String, reason: &str| vec![("appID", app_id.clone()), ("error", reason.to_owned())];
        let about_topic = |topic: &String, reason: String| vec![("topic", topic.clone()), ("error", reason)];
        let (codes, tag, reason, pubsub, metadata) = match self {
            Self::NameEmpty => (
                (404, code::INVALID_ARGUMENT),
                "ERR_PUBSUB_EMPTY",
                "NAME_EMPTY",
                "",
                vec![],
            ),
            Self::NotFound { .. } => {
                // The only one without its resource.
                let info = error_info("NOT_FOUND", vec![]);
                return report(
                    (404, code::INVALID_ARGUMENT),
                    "ERR_PUBSUB_NOT_FOUND",
                    message,
                    vec![info],
                );
            }
            Self::TopicEmpty { pubsub } => (
                (404, code::INVALID_ARGUMENT),
                "ERR_TOPIC_NAME_EMPTY",
                "TOPIC_NAME_EMPTY",
                pubsub.as_str(),
                vec![],
            ),
            Self::Metadata { pubsub, value, .. } => (
                (400, code::INVALID_ARGUMENT),
                "ERR_PUBSUB_REQUEST_METADATA",
                "METADATA_DESERIALIZATION",
                pubsub.as_str(),
                vec![(RAW_PAYLOAD, value.clone())],
            ),
            Self::Envelope { pubsub, app_id, reason } => (
                (500, code::INVALID_ARGUMENT),
                "ERR_PUBSUB_CLOUD_EVENTS_SER",
                "CLOUD_EVENT_CREATION",
                pubsub.as_str(),
                about_app(app_id, reason),
            ),
            Self::Mismatch {
                pubsub, app_id, reason, ..
            } => (
                (400, code::INVALID_ARGUMENT),
                "ERR_PUBSUB_EVENTS_SER",
                "MARSHAL_ENVELOPE",
                pubsub.as_str(),
                about_app(app_id, reason),
            ),
            Self::Entries {
                pubsub, app_id, reason, ..
            } => (
                (400, code::INVALID_ARGUMENT),
                "ERR_PUBSUB_EVENTS_SER",
                "MARSHAL_EVENTS",
                pubsub.as_str(),
                about_app(app_id, reason),
            ),
            Self::Unreadable { pubsub, app_id, .. } => (
                (400, code::INVALID_ARGUMENT),
                "ERR_PUBSUB_EVENTS_SER",
                "UNMARSHAL_EVENTS",
                pubsub.as_str(),
                vec![("appID", app_id.clone())],
            ),
            Self::Forbidden { pubsub, topic, .. } => (
                (403, code::PERMISSION_DENIED),
                "ERR_PUBSUB_FORBIDDEN",
                "FORBIDDEN",
                pubsub.as_str(),
                about_topic(topic, message.clone()),
            ),
            Self::Outbox { app_id, reason } => {
                // Without its resource, too: the caller named none.
                let info = error_info("OUTBOX", about_app(app_id, reason));
                let codes = (500, code::INTERNAL);
                return report(codes, "ERR_PUBLISH_OUTBOX", message, vec![info]);
            }
            Self::Publish { pubsub, topic, source } | Self::Subscribe { pubsub, topic, source } => (
                (500, code::INTERNAL),
                "ERR_PUBSUB_PUBLISH_MESSAGE",
                "PUBLISH_MESSAGE",
                pubsub.as_str(),
                about_topic(topic, source.to_string()),
            ),
        };
        let resource = Detail::ResourceInfo {
            resource_type: "pubsub",
            resource_name: pubsub.to_owned(),
            description: message.clone(),
        };
        report(codes, tag, message, vec![resource, error_info(reason, metadata)])
    }
}

fn error_info(reason: &str, metadata: Vec<(&'static str, String)>) -> Detail {
    Detail::ErrorInfo {
        reason: format!("DAPR_PUBSUB_{reason}"),
        domain: DOMAIN.into(),
        metadata,
    }
}

fn report((http_status, grpc_code): (u16, u32), tag: &str, message: String, details: Vec<Detail>) -> Report {
    Report {
        http_status,
        grpc_code,
        tag: tag.into(),
        message,
        details,
    }
}
