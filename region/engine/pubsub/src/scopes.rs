//! Which topics an App ID may publish to and receive.
//!
//! One idea: three sets decide: the only topics there are, the protected ones, and what a scope gives to this App ID.
//! Must never take an App ID that a scope names with no topics at all for one that it does not name.

use std::collections::BTreeSet;

use palladium_component::Properties;

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the broker.
    Publish,
    /// From the broker.
    Subscribe,
}

/// The rules of one component for one App ID.
#[derive(Debug, Default)]
pub struct Scopes {
    allowed: BTreeSet<String>,
    protected: BTreeSet<String>,
    publish: BTreeSet<String>,
    subscribe: BTreeSet<String>,
}

impl Scopes {
    /// As the component's metadata says.
    pub fn read(properties: &Properties, app_id: &str) -> Self {
        let text = |name: &str| properties.get(name).unwrap_or_default().replace(' ', "");
        Scopes {
            allowed: topics(&text("allowedTopics")),
            protected: topics(&text("protectedTopics")),
            publish: of_app(&text("publishingScopes"), app_id),
            subscribe: of_app(&text("subscriptionScopes"), app_id),
        }
    }

    /// Whether a topic may be used.
    pub fn allow(&self, direction: Direction, topic: &str) -> bool {
        if !self.allowed.is_empty() && !self.allowed.contains(topic) {
            return false;
        }
        let own = match direction {
            Direction::Publish => &self.publish,
            Direction::Subscribe => &self.subscribe,
        };
        own.contains(topic) || (own.is_empty() && !self.protected.contains(topic))
    }
}

fn topics(list: &str) -> BTreeSet<String> {
    if list.is_empty() {
        return BTreeSet::new();
    }
    list.split(',').map(str::to_owned).collect()
}

/// The topics of one App ID in `app1=t1,t2;app2=`. Named with nothing, it has the empty topic: that is, none.
fn of_app(scopes: &str, app_id: &str) -> BTreeSet<String> {
    let parts = scopes.split(';').filter_map(|part| part.split_once('='));
    let own = parts.filter(|(app, _)| *app == app_id);
    // Dapr leaves out what stands behind a second equals sign.
    own.flat_map(|(_, list)| list.split('=').next().unwrap_or_default().split(','))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Publish, Subscribe};

    fn scopes(pairs: &[(&str, &str)]) -> Scopes {
        Scopes::read(&pairs.iter().copied().collect(), "me")
    }

    #[test]
    fn without_rules_everything_is_allowed() {
        assert!(scopes(&[]).allow(Publish, "t") && scopes(&[]).allow(Subscribe, "t"));
    }

    #[test]
    fn a_scope_is_complete_and_an_empty_one_allows_nothing() {
        let some = scopes(&[("PublishingScopes", "you=a; me = b, c"), ("subscriptionScopes", "me=")]);
        assert!(some.allow(Publish, "b") && some.allow(Publish, "c") && !some.allow(Publish, "a"));
        assert!(!some.allow(Subscribe, "a"));
        assert!(
            scopes(&[("publishingScopes", "you=a")]).allow(Publish, "z"),
            "not named: not limited"
        );
    }

    #[test]
    fn protected_topics_need_a_scope_and_allowed_ones_are_all_there_are() {
        let rules = scopes(&[
            ("allowedTopics", "a,b,c"),
            ("protectedTopics", "b,c"),
            ("subscriptionScopes", "me=c"),
        ]);
        assert!(rules.allow(Publish, "a") && !rules.allow(Publish, "b") && !rules.allow(Publish, "z"));
        assert!(rules.allow(Subscribe, "c") && !rules.allow(Subscribe, "a"));
    }
}
