//! The rules as a component writes them.
//!
//! One idea: names and numbers are Sentinel's; every field that is not known, and every rule that Sentinel would drop with a
//! line in its log, is an error with the number of the rule and the name of the field. Must never take half a rule.

use std::sync::{Arc, Mutex};

use palladium_component::MetadataError;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::flow::Count;
use crate::path_filter::plain;

/// Longest interval and queueing time: ten minutes.
const LONGEST_MS: u32 = 10 * 60 * 1000;
/// Most rules of a kind.
const MOST: usize = 1000;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct FlowRule {
    id: String,
    pub(super) resource: String,
    pub(super) token_calculate_strategy: u32,
    pub(super) control_behavior: u32,
    pub(super) threshold: f64,
    relation_strategy: u32,
    ref_resource: String,
    pub(super) max_queueing_time_ms: u32,
    pub(super) warm_up_period_sec: u32,
    pub(super) warm_up_cold_factor: u32,
    pub(super) stat_interval_in_ms: u32,
}

impl FlowRule {
    /// The resource whose requests count.
    pub(super) fn counted(&self) -> &str {
        if self.relation_strategy == 1 {
            &self.ref_resource
        } else {
            &self.resource
        }
    }

    /// What counts them. Intervals up to ten seconds in whole halves slide by half a second, as Sentinel's own do.
    pub(super) fn count(&self) -> Arc<Mutex<Count>> {
        let interval = self.interval_ms();
        let buckets = if interval.is_multiple_of(500) && interval <= 10_000 {
            interval / 500
        } else {
            1
        };
        Arc::new(Mutex::new(Count::new(interval, buckets)))
    }

    pub(super) fn interval_ms(&self) -> u32 {
        if self.stat_interval_in_ms == 0 {
            1000
        } else {
            self.stat_interval_in_ms
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct IsolationRule {
    id: String,
    pub(super) resource: String,
    metric_type: u32,
    pub(super) threshold: u32,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct BreakerRule {
    id: String,
    pub(super) resource: String,
    pub(super) strategy: u32,
    pub(super) retry_timeout_ms: u32,
    pub(super) min_request_amount: u64,
    pub(super) stat_interval_ms: u32,
    stat_sliding_window_bucket_count: u32,
    pub(super) max_allowed_rt_ms: u64,
    pub(super) threshold: f64,
    pub(super) probe_num: u64,
}

impl BreakerRule {
    pub(super) fn buckets(&self) -> u32 {
        self.stat_sliding_window_bucket_count.max(1)
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct SystemRule {
    id: String,
    pub(super) metric_type: u32,
    pub(super) trigger_count: f64,
    strategy: i32,
}

type Found<T> = Result<T, MetadataError>;

/// The rules of one kind, each of which is judged by `check`: the name of its field that is wrong, and why.
fn read<T: DeserializeOwned>(
    field: &str,
    text: Option<&str>,
    check: impl Fn(&mut T) -> Result<(), Wrong>,
) -> Found<Vec<T>> {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
        return Ok(Vec::new());
    };
    let wrong = |reason: String| MetadataError::new(field, reason, "write a JSON array of Sentinel's rules");
    let mut rules: Vec<T> = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    if rules.len() > MOST {
        return Err(wrong(format!("there are more than {MOST} rules")));
    }
    for (index, rule) in rules.iter_mut().enumerate() {
        check(rule).map_err(|(name, why)| {
            MetadataError::new(format!("{field}[{index}].{name}"), why, "correct or remove the rule")
        })?;
    }
    Ok(rules)
}

/// Why a rule is none: the name of its field, and what is wrong with it.
type Wrong = (&'static str, &'static str);

/// The first of these that holds.
fn first<const N: usize>(cases: [(bool, &'static str, &'static str); N]) -> Result<(), Wrong> {
    match cases.into_iter().find(|(holds, _, _)| *holds) {
        Some((_, field, why)) => Err((field, why)),
        None => Ok(()),
    }
}

/// `METHOD:/path` with the path in its plain form.
fn resource(field: &'static str, said: &mut String) -> Result<(), Wrong> {
    let named = said
        .split_once(':')
        .filter(|(method, path)| !method.is_empty() && path.starts_with('/'));
    let (method, path) = named.ok_or((field, "it must be 'METHOD:/path', or nothing ever fits"))?;
    *said = format!("{method}:{}", plain(path));
    Ok(())
}

fn is_amount(number: f64) -> bool {
    (0.0..=1e9).contains(&number)
}

pub(super) fn flow(text: Option<&str>) -> Found<Vec<FlowRule>> {
    read("flowRules", text, |rule: &mut FlowRule| {
        resource("resource", &mut rule.resource)?;
        if rule.relation_strategy == 1 {
            resource("refResource", &mut rule.ref_resource)?;
        }
        let warms_up = rule.token_calculate_strategy == 1;
        let other = !rule.ref_resource.is_empty() && rule.relation_strategy != 1;
        let memory = "only 0 (direct) and 1 (warm up) are done here: no threshold follows the memory in use";
        first([
            (!is_amount(rule.threshold), "threshold", "it must be 0 or more"),
            (rule.token_calculate_strategy > 1, "tokenCalculateStrategy", memory),
            (
                rule.control_behavior > 1,
                "controlBehavior",
                "it is 0 (reject) or 1 (throttling)",
            ),
            (
                rule.relation_strategy > 1,
                "relationStrategy",
                "it is 0 (its own) or 1 (another resource)",
            ),
            (other, "refResource", "it needs relationStrategy 1"),
            (
                warms_up && rule.warm_up_period_sec == 0,
                "warmUpPeriodSec",
                "warming up needs a time",
            ),
            (
                warms_up && rule.threshold <= 0.0,
                "threshold",
                "warming up needs more than 0",
            ),
            (
                warms_up && rule.warm_up_cold_factor == 1,
                "warmUpColdFactor",
                "it must be greater than 1",
            ),
            (
                rule.max_queueing_time_ms > LONGEST_MS,
                "maxQueueingTimeMs",
                "it must be 600000 at most",
            ),
            (
                rule.stat_interval_in_ms > LONGEST_MS,
                "statIntervalInMs",
                "it must be 600000 at most",
            ),
        ])
    })
}

pub(super) fn isolation(text: Option<&str>) -> Found<Vec<IsolationRule>> {
    read("isolationRules", text, |rule: &mut IsolationRule| {
        resource("resource", &mut rule.resource)?;
        first([
            (rule.metric_type != 0, "metricType", "it is 0 (concurrency)"),
            (rule.threshold == 0, "threshold", "it must be 1 or more"),
        ])
    })
}

pub(super) fn breakers(text: Option<&str>) -> Found<Vec<BreakerRule>> {
    read("circuitBreakerRules", text, |rule: &mut BreakerRule| {
        resource("resource", &mut rule.resource)?;
        let (interval, buckets) = (rule.stat_interval_ms, rule.buckets());
        let divides = buckets <= 1000 && interval % buckets == 0;
        let (strategies, ratio) = (
            "it is 0 (slow ratio), 1 (error ratio) or 2 (error count)",
            "a ratio is 1 at most",
        );
        let divide = "it must divide statIntervalMs and be 1000 at most";
        first([
            (rule.strategy > 2, "strategy", strategies),
            (
                interval == 0 || interval > LONGEST_MS,
                "statIntervalMs",
                "it must be from 1 to 600000",
            ),
            (rule.retry_timeout_ms == 0, "retryTimeoutMs", "it must be 1 or more"),
            (!is_amount(rule.threshold), "threshold", "it must be 0 or more"),
            (rule.strategy < 2 && rule.threshold > 1.0, "threshold", ratio),
            (!divides, "statSlidingWindowBucketCount", divide),
        ])
    })
}

pub(super) fn system(text: Option<&str>) -> Found<Vec<SystemRule>> {
    let known = "only 1 (mean time), 2 (at a time) and 3 (in a second) are done here: load and processor time are the machine's";
    read("systemRules", text, |rule: &mut SystemRule| {
        first([
            (!(1..=3).contains(&rule.metric_type), "metricType", known),
            (!is_amount(rule.trigger_count), "triggerCount", "it must be 0 or more"),
        ])
    })
}

/// Only an empty list.
pub(super) fn none(field: &str, text: Option<&str>) -> Found<()> {
    let rules: Vec<serde::de::IgnoredAny> = read(field, text, |_| Ok(()))?;
    if rules.is_empty() {
        return Ok(());
    }
    let reason = "requests have no parameters that such a rule could count by";
    Err(MetadataError::new(field, reason, "remove it, or use flowRules"))
}
