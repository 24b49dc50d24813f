//! What the series of one family may look like.
//!
//! One idea: where a series is made, rules of the Configuration rewrite the values of its labels, each is cut, and the page's
//! bytes are paid for; without room words of callers give way to "other". Must never let more than one series of a family pass
//! that is not paid for: the one whose words are all "other".

use std::borrow::Cow;
use std::sync::Arc;

use regex::Regex;

use super::budget::Budget;
use super::words::{LONGEST, OTHER, cut};
use crate::resources::{MetricsRule, expression};

/// Labels that give way first: words that callers choose, and names that are told by another label as well. `component` and
/// `namespace`, of which there may be many too, stay as long as the reserve lasts.
const INVENTED: [&str; 12] = [
    "componentName",
    "dst_app_id",
    "error_code",
    "grpc_client_method",
    "grpc_server_method",
    "name",
    "operation",
    "path",
    "src_app_id",
    "target",
    "topic",
    "trustDomain",
];
/// Beside a metric's name and labels in one line: what is put behind the name, `le`, a number, what stands between them.
const LINE: usize = 40;
/// The same for a label: what stands around its value.
const QUOTES: usize = 4;

/// One label's rewrite: which label, what is looked for, what comes in its place.
type Rewrite = (usize, Regex, String);

/// What all series of one name share.
pub struct Shape {
    name: String,
    labels: Vec<String>,
    rewrites: Vec<Rewrite>,
    /// Of each series: lines of the page, and bytes that no label adds.
    lines: usize,
    bounds: usize,
    budget: Arc<Budget>,
}

impl Shape {
    /// Of a family whose series have so many lines each, and so many bytes in them beside names and labels. `rules`: all of the
    /// Configuration; those of other families are passed over.
    pub fn new(
        name: &str,
        labels: &[&str],
        (lines, bounds): (usize, usize),
        rules: &[MetricsRule],
        budget: Arc<Budget>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            rewrites: rewrites(name, labels, rules),
            lines,
            bounds,
            budget,
        }
    }

    /// Makes what has these labels, or as many of them as there is room for.
    pub fn series<T>(&self, labels: &[&str], make: impl FnOnce(&[&str]) -> T) -> T {
        let values = labels.iter().enumerate();
        let values: Vec<Cow<'_, str>> = values.map(|(at, value)| self.value(at, value)).collect();
        let mut values: Vec<&str> = values.iter().map(|value| cut(value)).collect();
        if self.pay(&values, false) {
            return make(&values);
        }
        for (label, value) in self.labels.iter().zip(&mut values) {
            if INVENTED.contains(&label.as_str()) && !value.is_empty() {
                *value = OTHER;
            }
        }
        if self.pay(&values, true) {
            return make(&values);
        }
        for (label, value) in self.labels.iter().zip(&mut values) {
            if label != "app_id" && !value.is_empty() {
                *value = OTHER;
            }
        }
        // One for each family, which the page has room for beside the budget.
        make(&values)
    }

    /// Whether there is room, which is taken then.
    fn pay(&self, values: &[&str], reserved: bool) -> bool {
        // So many letters are written as two.
        let escaped = |value: &str| value.bytes().filter(|byte| b"\\\"\n".contains(byte)).count();
        let labels = self.labels.iter().zip(values);
        let bytes = labels.map(|(label, value)| label.len() + value.len() + escaped(value) + QUOTES);
        let line = self.name.len() + bytes.sum::<usize>() + LINE;
        let bytes = self.lines * line + self.bounds;
        self.budget.take(&self.name, values, bytes, reserved)
    }

    /// What the rules make of one label's value.
    pub fn value<'a>(&self, label: usize, value: &'a str) -> Cow<'a, str> {
        let mut value = Cow::Borrowed(cut(value));
        // What is empty says that there is no such label.
        if value.is_empty() {
            return value;
        }
        for (_, expression, by) in self.rewrites.iter().filter(|(at, ..)| *at == label) {
            if let Some(other) = replaced(expression, &value, by) {
                value = Cow::Owned(other);
            }
        }
        value
    }
}

/// As `Regex::replace_all`, but no longer than a label may be. `None` = nothing matches.
fn replaced(expression: &Regex, value: &str, by: &str) -> Option<String> {
    let mut matches = expression.captures_iter(value).peekable();
    matches.peek()?;
    let (mut made, mut end) = (String::new(), 0);
    for captures in matches {
        let Some(whole) = captures.get(0) else { continue };
        made.push_str(&value[end..whole.start()]);
        captures.expand(by, &mut made);
        end = whole.end();
        if made.len() > LONGEST {
            break;
        }
    }
    if made.len() <= LONGEST {
        made.push_str(&value[end..]);
    }
    made.truncate(cut(&made).len());
    Some(made)
}

/// What the rules say of these labels.
fn rewrites(name: &str, labels: &[&str], rules: &[MetricsRule]) -> Vec<Rewrite> {
    let name = plain(name);
    let rules = rules.iter().filter(|rule| plain(&rule.name) == name);
    let labels = rules.flat_map(|rule| &rule.labels).filter_map(|label| {
        let at = labels.iter().position(|known| *known == label.name)?;
        Some((at, &label.regex))
    });
    let rewrites = labels.flat_map(|(at, expressions)| {
        // One that is none was refused when the Configuration was read.
        let made = move |(by, text): (&String, &String)| Some((at, expression(text).ok()?, by.clone()));
        expressions.iter().filter_map(made)
    });
    rewrites.collect()
}

/// A metric's name as rules may spell it: as it is exported, or as Dapr's own views are called.
fn plain(name: &str) -> String {
    let name = name.strip_prefix("dapr_").unwrap_or(name);
    name.replace(['/', '.'], "_")
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use serde_json::json;

    use super::*;
    use crate::metrics::budget::CALLS;
    use crate::metrics::family::Maker;
    use crate::resources::MetricsSettings;

    #[test]
    fn rules_rewrite_the_labels_they_name() {
        let rule = |name: &str| {
            json!({ "name": name, "labels": [
                { "name": "path", "regex": { "/orders/_$1": "/orders/[0-9]+(x?)" } },
                { "name": "none", "regex": { "x": ".*" } } ] })
        };
        for name in ["dapr_http_server_request_count", "http/server/request_count"] {
            let rules = vec![serde_json::from_value(rule(name)).expect("sound")];
            let settings = MetricsSettings {
                rules,
                ..MetricsSettings::default()
            };
            let registry = Registry::new();
            let maker = Maker::new(&registry, &settings, CALLS);
            let counts = maker.counts("dapr_http_server_request_count", "h", &["app_id", "path"]);
            counts.with(&["a", "/orders/1x"]).inc();
            counts.with(&["a", "/orders/2x"]).inc();
            counts.with(&["a", ""]).inc();
            assert_eq!(counts.with(&["a", "/orders/3x"]).get(), 2);
            assert_eq!(counts.value(1, "/orders/77"), "/orders/_");
            let other = maker.counts("dapr_http_server_latency", "h", &["app_id", "path"]);
            assert_eq!(other.value(1, "/orders/77"), "/orders/77");
        }
    }

    #[test]
    fn no_value_is_long_whoever_makes_it() {
        let rules = json!([{ "name": "m", "labels": [{ "name": "path", "regex": { "$0$0é": "[0-9]+x?" } }] }]);
        let settings = MetricsSettings {
            rules: serde_json::from_value(rules).expect("sound"),
            ..MetricsSettings::default()
        };
        let registry = Registry::new();
        let maker = Maker::new(&registry, &settings, CALLS);
        let counts = maker.counts("m", "h", &["app_id", "path", "topic"]);
        assert_eq!(counts.value(1, "/1/2x/"), "/11é/2x2xé/", "as Dapr replaces");
        assert_eq!(counts.value(1, &"1".repeat(1000)).len(), LONGEST);
        let grown = counts.value(1, &"1/".repeat(1000)).into_owned();
        assert_eq!(grown.len(), LONGEST, "{grown}");
        assert!(grown.starts_with("11é/11é/"), "{grown}");
        counts.with(&["a", "", &"é".repeat(LONGEST)]).inc();
        assert_eq!(counts.with(&["a", "", &"é".repeat(LONGEST / 2)]).get(), 1);
    }

    #[test]
    fn without_room_words_of_callers_are_left_out_first() {
        let (registry, settings) = (Registry::new(), MetricsSettings::default());
        // One series has about 90 bytes, and the family a quarter.
        let maker = Maker::new(&registry, &settings, 400);
        let few = maker.counts("m", "h", &["app_id", "path", "status", "topic"]);
        few.with(&["a", "/1", "200", ""]).inc();
        few.with(&["a", "/2", "200", ""]).inc();
        few.with(&["a", "/3", "404", ""]).inc();
        assert_eq!(few.with(&["a", "/1", "200", ""]).get(), 1, "it has its place");
        assert_eq!(few.with(&["a", OTHER, "200", ""]).get(), 1);
        assert_eq!(few.with(&["a", OTHER, "404", ""]).get(), 1);
        // Statuses, too, come to an end.
        for status in 0..20_000 {
            few.with(&["a", "/4", &status.to_string(), ""]).inc();
        }
        assert!(few.with(&["a", OTHER, OTHER, ""]).get() > 10_000);
    }
}
