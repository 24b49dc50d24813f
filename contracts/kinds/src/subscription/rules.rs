//! Defaults and rules of subscriptions.
//!
//! One idea: a route is a path that the application is called with, so it must be one that means the same to everybody on
//! the way. Must never look whether the component exists: files may name it first.

use super::{SubscriptionContent, SubscriptionRule};
use crate::component::ComponentStatus;
use crate::definition::Content;
use crate::error::FieldErrors;
use crate::names::NameRule;
use crate::{expression, scopes};

const RULES_MAX: usize = 256;
const METADATA_MAX: usize = 64;
const TOPIC_MAX: usize = 512;
const PATH_MAX: usize = 1024;
const VALUE_MAX: usize = 4096;

impl Content for SubscriptionContent {
    type Status = ComponentStatus;

    fn set_defaults(&mut self) {
        scopes::canonical(&mut self.scopes);
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let spec = &self.spec;
        if NameRule::Component.canonical(&spec.pubsubname).is_err() {
            errors.push(
                "spec.pubsubname",
                "is not the name of a component",
                "name a pub/sub component of this project",
            );
        }
        if spec.topic.is_empty() {
            errors.push("spec.topic", "is empty", "name the topic");
        }
        for (field, topic) in [
            ("spec.topic", &spec.topic),
            ("spec.deadLetterTopic", &spec.dead_letter_topic),
        ] {
            if topic.len() > TOPIC_MAX || topic.chars().any(char::is_control) {
                errors.push(
                    field,
                    "is not a topic",
                    "use at most 512 bytes without control characters",
                );
            }
        }
        self.check_routes(errors);
        if spec.metadata.len() > METADATA_MAX {
            errors.push(
                "spec.metadata",
                format!("holds more than {METADATA_MAX} settings"),
                "remove some",
            );
        }
        for (name, value) in &spec.metadata {
            if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
                errors.push("spec.metadata", "holds a name that is none", "use letters and digits");
            } else if value.len() > VALUE_MAX {
                errors.push(
                    format!("spec.metadata.{name}"),
                    format!("is longer than {VALUE_MAX} bytes"),
                    "shorten it",
                );
            }
        }
        if let Some(bulk) = &spec.bulk_subscribe {
            for (field, value) in [
                ("maxMessagesCount", bulk.max_messages_count),
                ("maxAwaitDurationMs", bulk.max_await_duration_ms),
            ] {
                if !(0..=1_000_000).contains(&value) {
                    errors.push(
                        format!("spec.bulkSubscribe.{field}"),
                        "is out of range",
                        "use 0 to 1000000; 0 is the component's default",
                    );
                }
            }
        }
        if spec.dynamic {
            errors.push(
                "spec.dynamic",
                "is not supported",
                "leave it out: applications open streaming subscriptions by themselves",
            );
        }
        scopes::check(&self.scopes, errors);
    }

    fn validate_update(_: &Self, _: &Self, _: &mut FieldErrors) {}
}

impl SubscriptionContent {
    fn check_routes(&self, errors: &mut FieldErrors) {
        let routes = &self.spec.routes;
        if routes.rules.is_empty() && routes.default.is_empty() {
            errors.push("spec.routes", "leads nowhere", "give a default path or a rule");
        }
        if routes.rules.len() > RULES_MAX {
            errors.push(
                "spec.routes.rules",
                format!("holds more than {RULES_MAX} rules"),
                "remove some",
            );
        }
        for (index, SubscriptionRule { condition, path }) in routes.rules.iter().enumerate() {
            expression::check(&format!("spec.routes.rules[{index}].match"), condition, errors);
            check_path(&format!("spec.routes.rules[{index}].path"), path, errors);
        }
        if !routes.default.is_empty() {
            check_path("spec.routes.default", &routes.default, errors);
        }
    }
}

/// Absolute, and nothing in it that anybody on the way could read as another path.
fn check_path(field: &str, path: &str, errors: &mut FieldErrors) {
    let inside = path.strip_prefix('/');
    let clean = inside.is_some_and(|inside| {
        inside.is_empty()
            || inside
                .trim_end_matches('/')
                .split('/')
                .all(|part| !matches!(part, "" | "." | ".."))
    });
    let plain = |b: u8| (0x21..0x7f).contains(&b) && !matches!(b, b'?' | b'#' | b'\\' | b'%');
    if !clean || path.ends_with("//") || path.len() > PATH_MAX || !path.bytes().all(plain) {
        errors.push(
            field,
            "is not an absolute, clean path",
            "use a path such as /orders, without '..', '//', '?', '#', '%' and blanks",
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::KIND;

    fn complaint(spec: Value) -> String {
        (KIND.normalize)(json!({ "spec": spec })).map_or_else(|errors| errors.to_string(), |_| String::new())
    }

    fn with(routes: Value) -> String {
        complaint(json!({ "pubsubname": "pubsub", "topic": "orders", "routes": routes }))
    }

    #[test]
    fn paths_are_absolute_and_clean() {
        for path in ["/", "/orders", "/orders/new", "/orders/", "/a.b/c-d_e~f"] {
            assert_eq!(with(json!({ "default": path })), "", "{path}");
        }
        for path in [
            "orders", "/../x", "/a/./b", "/a//b", "//", "/a?b", "/a#b", "/a%2e", "/a b", "/ä", "/a\\b", "/a\n",
        ] {
            let said = with(json!({ "default": path }));
            assert!(
                said.starts_with("spec.routes.default: is not an absolute"),
                "{path}: {said}"
            );
            let said = with(json!({ "rules": [{ "match": "true", "path": path }] }));
            assert!(said.starts_with("spec.routes.rules[0].path"), "{path}: {said}");
        }
    }

    #[test]
    fn what_leads_nowhere_or_cannot_be_read_is_refused() {
        assert!(with(json!({})).contains("spec.routes: leads nowhere"));
        assert!(with(json!({ "rules": [{ "match": "event.type == 'a", "path": "/a" }] })).contains("rules[0].match"));
        let bulk = json!({ "pubsubname": "p", "topic": "t", "routes": { "default": "/" },
                           "bulkSubscribe": { "enabled": true, "maxMessagesCount": -1 } });
        assert!(complaint(bulk).contains("spec.bulkSubscribe.maxMessagesCount"));
        assert!(complaint(json!({ "pubsubname": "../p", "topic": "t", "routes": {} })).contains("spec.pubsubname"));
        assert!(complaint(json!({ "pubsubname": "p", "topic": "t", "route": "/x" })).contains("route: unknown field"));
    }
}
