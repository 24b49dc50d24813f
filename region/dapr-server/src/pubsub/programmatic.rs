//! Asks the application what it wants to receive.
//!
//! One idea: the application is asked once for each way to it, and again only while it cannot be reached, as the policy for
//! initialization says: "nothing" is an answer, and so is "I do not know that call". Must never take a broken answer for "nothing": it is said.

use std::time::Duration;

use http::StatusCode;
use palladium_engine_pubsub::Spec;
use palladium_engine_resiliency::BuiltIn;
use palladium_proto::runtime::app_callback_client::AppCallbackClient;
use palladium_proto::runtime::{ListTopicSubscriptionsResponse, TopicSubscription};
use serde::Deserialize;
use tokio::time::timeout;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use crate::app_channel::AppChannel;
use crate::resiliency::Policies;
use crate::resources::{Bulk, Routes, rules};

/// Bytes of the longest list.
const LONGEST: usize = 4 << 20;
/// How long one question may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// What the application says; `None` = no answer that can be used.
pub(super) async fn ask(app: &AppChannel, policies: &Policies) -> Option<Vec<Spec>> {
    let policy = policies.now().built_in(BuiltIn::Initialization);
    let asked = policy.run(|_| async {
        let asked = async {
            if app.speaks_grpc() {
                by_grpc(app).await
            } else {
                by_http(app).await
            }
        };
        let late = |_| Err(Failure::Again(format!("no answer within {DEADLINE:?}")));
        timeout(DEADLINE, asked).await.unwrap_or_else(late)
    });
    match asked.await {
        Ok(specs) => Some(told(specs)),
        Err(failed) => {
            tracing::error!("error getting topic list from app: {failed}");
            None
        }
    }
}

fn told(specs: Vec<Spec>) -> Vec<Spec> {
    for spec in &specs {
        tracing::info!(
            "app is subscribed to the following topics: [{}] through pubsub={}",
            spec.topic,
            spec.pubsub
        );
    }
    specs
}

#[derive(Debug)]
enum Failure {
    /// Asking again may help.
    Again(String),
    /// It cannot.
    Final(String),
}

impl palladium_engine_resiliency::Failure for Failure {
    fn is_permanent(&self) -> bool {
        matches!(self, Self::Final(_))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Again(words) | Self::Final(words)) = self;
        f.write_str(words)
    }
}

async fn by_http(app: &AppChannel) -> Result<Vec<Spec>, Failure> {
    let again = |error: &dyn std::fmt::Display| Failure::Again(error.to_string());
    let answer = app.ask("/dapr/subscribe").await;
    let answer = answer.map_err(|error| again(&error))?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(Vec::new()),
        status => {
            tracing::error!(
                "app returned http status code {} from subscription endpoint",
                status.as_u16()
            );
            return Ok(Vec::new());
        }
    }
    let bytes = app
        .read(answer.into_body(), LONGEST)
        .await
        .map_err(|fault| Failure::Final(fault.report.message))?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Vec::new());
    }
    let listed: Option<Vec<Listed>> =
        serde_json::from_slice(&bytes).map_err(|error| Failure::Final(error.to_string()))?;
    let specs = listed.unwrap_or_default().into_iter().map(Spec::from);
    Ok(specs.filter(has_rules).collect())
}

fn has_rules(spec: &Spec) -> bool {
    if spec.rules.is_empty() {
        tracing::warn!(
            "topic {} has an empty routes. removing from subscriptions list",
            spec.topic
        );
    }
    !spec.rules.is_empty()
}

async fn by_grpc(app: &AppChannel) -> Result<Vec<Spec>, Failure> {
    let answer: Result<ListTopicSubscriptionsResponse, Status> = app
        .callback(MetadataMap::new(), (), |channel, request| async move {
            let mut client = AppCallbackClient::new(channel).max_decoding_message_size(LONGEST);
            client.list_topic_subscriptions(request).await
        })
        .await;
    match answer {
        Ok(listed) => Ok(listed.subscriptions.into_iter().map(from_grpc).collect()),
        Err(status) if status.code() == Code::Unimplemented => Ok(Vec::new()),
        Err(status) => Err(Failure::Again(status.to_string())),
    }
}

fn from_grpc(listed: TopicSubscription) -> Spec {
    let mut rules = Vec::new();
    if let Some(routes) = listed.routes {
        rules.extend(routes.rules.into_iter().map(|rule| (rule.r#match, rule.path)));
        if !routes.default.is_empty() {
            rules.push((String::new(), routes.default));
        }
    }
    // Without a route an application is called all the same, with an empty path.
    if rules.is_empty() {
        rules.push(Default::default());
    }
    let bulk = listed.bulk_subscribe.map(|bulk| Bulk {
        enabled: bulk.enabled,
        max_messages_count: bulk.max_messages_count.into(),
        max_await_duration_ms: bulk.max_await_duration_ms.into(),
    });
    Spec {
        pubsub: listed.pubsub_name,
        topic: listed.topic,
        metadata: listed.metadata.into_iter().collect(),
        rules,
        dead_letter_topic: listed.dead_letter_topic,
        bulk: bulk.and_then(Bulk::batching),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Listed {
    pubsubname: String,
    topic: String,
    #[serde(rename = "deadLetterTopic")]
    dead_letter_topic: String,
    metadata: Option<std::collections::BTreeMap<String, String>>,
    route: String,
    routes: Option<Routes>,
    #[serde(rename = "bulkSubscribe")]
    bulk: Option<Bulk>,
}

impl From<Listed> for Spec {
    fn from(listed: Listed) -> Self {
        Spec {
            pubsub: listed.pubsubname,
            topic: listed.topic,
            metadata: listed.metadata.unwrap_or_default(),
            rules: rules(listed.routes, listed.route),
            dead_letter_topic: listed.dead_letter_topic,
            bulk: listed.bulk.and_then(Bulk::batching),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_route_are_read() {
        let text = r#"[{"pubsubname":"ps","topic":"a","route":"/a","bulkSubscribe":{"enabled":true,"maxMessagesCount":-1}},
            {"pubsubname":"ps","topic":"b","route":"/no","metadata":null,"bulkSubscribe":{"enabled":false},
             "routes":{"rules":[{"match":"event.x","path":"/x"}],"default":"/d"}}]"#;
        let specs: Vec<Spec> = serde_json::from_str::<Vec<Listed>>(text)
            .unwrap()
            .into_iter()
            .map(Spec::from)
            .collect();
        assert_eq!(specs[0].rules, [(String::new(), "/a".to_owned())]);
        let none = palladium_engine_pubsub::Batching {
            max_messages: 0,
            max_await_ms: 0,
        };
        assert!(
            specs[0].bulk == Some(none) && specs[1].bulk.is_none(),
            "numbers below zero are not given"
        );
        assert_eq!(
            specs[1].rules,
            [
                ("event.x".to_owned(), "/x".to_owned()),
                (String::new(), "/d".to_owned())
            ]
        );
    }

    #[test]
    fn over_grpc_a_path_may_be_missing() {
        assert_eq!(
            from_grpc(TopicSubscription::default()).rules,
            [(String::new(), String::new())]
        );
    }
}
