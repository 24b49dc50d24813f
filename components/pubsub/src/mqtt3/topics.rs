//! Which subscription a message is for.
//!
//! One idea: a client has one subscription for each filter, and the broker does not say by which one a message came: an exact
//! name goes first, then the first filter that fits. What fits none waits for a while, because after a restart the broker
//! sends at once what this client left, before anybody has subscribed again. Must never hold more than so many of those.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use super::Arrived;

/// Messages that wait for their subscription.
const WAITING: usize = 200;
/// Bytes of them: they keep their share of the room, which those need that somebody receives.
const WAITING_BYTES: usize = 8 << 20;

/// The subscriptions of a client.
#[derive(Default)]
pub(super) struct Topics {
    filters: Vec<Filter>,
    waiting: VecDeque<Arrived>,
}

struct Filter {
    /// As the broker knows it.
    whole: String,
    /// Without the group that shares it.
    own: String,
    messages: mpsc::UnboundedSender<Arrived>,
}

/// A filter without the group that shares it: `$share/<group>/<filter>`.
fn own(whole: &str) -> &str {
    let shared = whole.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
    shared.map_or(whole, |(_, own)| own)
}

impl Topics {
    /// Adds a filter; what waits for it goes there. How many messages are on their way is bounded by who hands them in.
    pub(super) fn add(&mut self, whole: &str, messages: mpsc::UnboundedSender<Arrived>) {
        self.remove(whole);
        self.filters.push(Filter {
            whole: whole.to_owned(),
            own: own(whole).to_owned(),
            messages,
        });
        for arrived in std::mem::take(&mut self.waiting) {
            self.give(arrived);
        }
    }

    /// Removes a filter.
    pub(super) fn remove(&mut self, whole: &str) {
        self.filters.retain(|filter| filter.whole != whole);
    }

    /// All filters, as the broker knows them.
    pub(super) fn all(&self) -> Vec<String> {
        self.filters.iter().map(|filter| filter.whole.clone()).collect()
    }

    /// Gives a message to its subscription.
    pub(super) fn give(&mut self, arrived: Arrived) {
        let topic = arrived.message.topic.as_str();
        let mut filters = self.filters.iter();
        let found = filters
            .clone()
            .find(|filter| filter.own == topic)
            .or_else(|| filters.find(|filter| rumqttc::matches(topic, &filter.own)));
        let left = match found {
            Some(filter) => filter.messages.send(arrived).err().map(|unsent| unsent.0),
            None => Some(arrived),
        };
        match left {
            Some(arrived) if self.may_wait(&arrived) => self.waiting.push_back(arrived),
            Some(_) => tracing::warn!("nobody receives a message: the broker keeps it until the next connection"),
            None => {}
        }
    }

    fn may_wait(&self, arrived: &Arrived) -> bool {
        let waiting = self.waiting.iter().chain([arrived]);
        let bytes: usize = waiting.map(|one| one.message.data.len()).sum();
        self.waiting.len() < WAITING && bytes <= WAITING_BYTES
    }

    /// Forgets what waits: the broker sends it again.
    pub(super) fn forget_waiting(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::arrived;
    use super::*;

    fn filter(topics: &mut Topics, whole: &str) -> mpsc::UnboundedReceiver<Arrived> {
        let (sender, receiver) = mpsc::unbounded_channel();
        topics.add(whole, sender);
        receiver
    }

    fn next(messages: &mut mpsc::UnboundedReceiver<Arrived>) -> Option<String> {
        messages.try_recv().ok().map(|arrived| arrived.message.topic)
    }

    #[test]
    fn an_exact_name_goes_first_then_what_fits() {
        let mut topics = Topics::default();
        let mut early = filter(&mut topics, "a/#");
        let mut exact = filter(&mut topics, "a/b");
        let mut one = filter(&mut topics, "+/c");
        let mut shared = filter(&mut topics, "$share/group/s/+");
        for topic in ["a/b", "a", "a/x/y", "z/c", "s/1"] {
            topics.give(arrived(topic));
        }
        assert_eq!(next(&mut exact).as_deref(), Some("a/b"));
        assert_eq!(
            (next(&mut early).as_deref(), next(&mut early).as_deref()),
            (Some("a"), Some("a/x/y"))
        );
        assert_eq!(
            (next(&mut one).as_deref(), next(&mut shared).as_deref()),
            (Some("z/c"), Some("s/1"))
        );
        assert_eq!(topics.all().len(), 4);
    }

    #[test]
    fn what_comes_early_waits_for_its_subscription_but_not_without_end() {
        let mut topics = Topics::default();
        for _ in 0..WAITING + 5 {
            topics.give(arrived("later"));
        }
        let mut other = filter(&mut topics, "other");
        let mut later = filter(&mut topics, "later");
        assert_eq!(next(&mut other), None);
        assert_eq!(std::iter::from_fn(|| next(&mut later)).count(), WAITING);
        topics.remove("later");
        topics.give(arrived("later"));
        topics.forget_waiting();
        assert_eq!(next(&mut filter(&mut topics, "later")), None);
    }
}
