//! Asks the application what it wants to receive.
//!
//! One idea: the application is asked once for each way to it, and again only while it cannot be reached: "nothing" is an
//! answer, and so is "I do not know that call". Must never take a broken answer for "nothing": it is said.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use palladium_engine_pubsub::{Batching, Spec};
use palladium_proto::runtime::app_callback_client::AppCallbackClient;
use palladium_proto::runtime::{ListTopicSubscriptionsResponse, TopicSubscription};
use palladium_tasks::Backoff;
use serde::Deserialize;
use tokio::time::{sleep, timeout};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use crate::app_channel::AppChannel;
use crate::http::Body;

/// Bytes of the longest list.
const LONGEST: usize = 4 << 20;
/// How often it is asked again, and how long one question may take.
const TRIES: u32 = 3;
const DEADLINE: Duration = Duration::from_secs(10);

/// What the application says; `None` = no answer that can be used.
pub(super) async fn ask(app: &AppChannel) -> Option<Vec<Spec>> {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
    let mut reason = String::new();
    for attempt in 0..=TRIES {
        if attempt > 0 {
            sleep(backoff.next_delay()).await;
        }
        let asked = async {
            if app.speaks_grpc() {
                by_grpc(app).await
            } else {
                by_http(app).await
            }
        };
        match timeout(DEADLINE, asked).await {
            Ok(Ok(specs)) => return Some(told(specs)),
            Ok(Err(Failure::Final(words))) => {
                tracing::error!("error getting topics from app: {words}");
                return None;
            }
            Ok(Err(Failure::Again(words))) => reason = words,
            Err(_) => reason = format!("no answer within {DEADLINE:?}"),
        }
    }
    tracing::error!("error getting topic list from app: {reason}");
    None
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

enum Failure {
    /// Asking again may help.
    Again(String),
    /// It cannot.
    Final(String),
}

async fn by_http(app: &AppChannel) -> Result<Vec<Spec>, Failure> {
    let again = |error: &dyn std::fmt::Display| Failure::Again(error.to_string());
    let answer = app
        .call(Method::GET, "/dapr/subscribe", HeaderMap::new(), Body::Empty)
        .await;
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
    let bulk = listed.bulk_subscribe.filter(|bulk| bulk.enabled);
    Spec {
        pubsub: listed.pubsub_name,
        topic: listed.topic,
        metadata: listed.metadata.into_iter().collect(),
        rules,
        dead_letter_topic: listed.dead_letter_topic,
        bulk: bulk.map(|bulk| batching(bulk.max_messages_count.into(), bulk.max_await_duration_ms.into())),
    }
}

/// Numbers below zero count as not given.
pub(crate) fn batching(max_messages: i64, max_await_ms: i64) -> Batching {
    Batching {
        max_messages: usize::try_from(max_messages).unwrap_or_default(),
        max_await_ms: u64::try_from(max_await_ms).unwrap_or_default(),
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

#[derive(Default, Deserialize)]
#[serde(default)]
struct Routes {
    rules: Option<Vec<Rule>>,
    #[serde(rename = "default")]
    otherwise: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Rule {
    #[serde(rename = "match")]
    condition: String,
    path: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Bulk {
    enabled: bool,
    max_messages_count: i64,
    max_await_duration_ms: i64,
}

impl From<Listed> for Spec {
    fn from(listed: Listed) -> Self {
        let routes = listed.routes.unwrap_or_default();
        let rules = routes.rules.unwrap_or_default().into_iter();
        let mut rules: Vec<_> = rules.map(|rule| (rule.condition, rule.path)).collect();
        let otherwise = [routes.otherwise, listed.route]
            .into_iter()
            .find(|path| !path.is_empty());
        rules.extend(otherwise.map(|path| (String::new(), path)));
        let bulk = listed.bulk.filter(|bulk| bulk.enabled);
        Spec {
            pubsub: listed.pubsubname,
            topic: listed.topic,
            metadata: listed.metadata.unwrap_or_default(),
            rules,
            dead_letter_topic: listed.dead_letter_topic,
            bulk: bulk.map(|bulk| batching(bulk.max_messages_count, bulk.max_await_duration_ms)),
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
        assert!(specs[0].bulk == Some(batching(0, 0)) && specs[1].bulk.is_none());
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
