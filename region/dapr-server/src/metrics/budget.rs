//! How much of the page series may take.
//!
//! One idea: whoever asks for a page takes only so many bytes of it (the agent `METRICS_PAGE` of `contracts/launch`, 16 MiB), so
//! each series is paid for in bytes of text when it is made, by what it may come to at most. Words of callers are long or
//! many, buckets of a Configuration are many; only their sum matters, and that no family takes the room of all others. Must
//! never give room that the page does not have, nor take it twice for one series.
//!
//! The sum: 8 MiB for calls, 5 MiB for components and resiliency, and 512 KiB beyond each for series whose invented words have
//! given way: 14 MiB. Beyond that each family has one series that is always there: of the 17 families of latencies 203 lines (the
//! most buckets that there may be, and three more) of about 250 bytes each, which is 900 KB; the other families have few lines.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher as _;
use std::sync::{Mutex, PoisonError};

/// For what counts calls.
pub const CALLS: usize = 8 << 20;
/// For what counts doings of components and of resiliency policies.
pub const COMPONENTS: usize = 5 << 20;
/// Beyond either, for series whose invented words have given way.
const RESERVE: usize = 512 << 10;
/// One family has no more than the whole divided by this, so that a caller who makes up paths leaves room for what says who
/// was refused.
const SHARES: usize = 4;

/// See the module.
pub struct Budget {
    most: usize,
    /// With keys of this process: callers choose what is hashed.
    hasher: RandomState,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    bytes: usize,
    of_family: HashMap<String, usize>,
    /// Hashes of the series that are paid for.
    known: HashSet<u64>,
}

impl Budget {
    /// Of so many bytes.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            hasher: RandomState::new(),
            taken: Mutex::default(),
        }
    }

    /// Takes room for this series of a family, so many bytes, once; `false` where there is none. `reserved`: it may have what is
    /// kept for series whose invented words have given way.
    pub(super) fn take(&self, family: &str, labels: &[&str], bytes: usize, reserved: bool) -> bool {
        let series = self.hasher.hash_one((family, labels));
        let (most, share) = match reserved {
            true => (self.most + RESERVE, usize::MAX),
            false => (self.most, self.most / SHARES),
        };
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.known.contains(&series) {
            return true;
        }
        let of_family = taken.of_family.get(family).copied().unwrap_or_default();
        if bytes > most.saturating_sub(taken.bytes) || bytes > share.saturating_sub(of_family) {
            return false;
        }
        taken.bytes += bytes;
        taken.of_family.insert(family.to_owned(), of_family + bytes);
        taken.known.insert(series);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Method;
    use palladium_launch::METRICS_PAGE;
    use tonic::Code;

    use super::*;
    use crate::metrics::{Counted, Kind, Metrics, StateOperation};
    use crate::resources::MetricsSettings;

    #[test]
    fn a_series_is_paid_for_once_and_some_room_is_reserved() {
        let budget = Budget::new(40);
        assert!(budget.take("f", &["a"], 6, false) && budget.take("f", &["a"], 6, false));
        assert!(!budget.take("f", &["b"], 6, false), "a quarter is not 12 bytes");
        for family in ["g", "h", "i"] {
            assert!(budget.take(family, &["b"], 10, false), "others have their part");
        }
        assert!(!budget.take("j", &["b"], 5, false), "40 bytes are not 41");
        assert!(budget.take("j", &["b"], 4, false));
        assert!(budget.take("f", &["c"], RESERVE, true));
        assert!(!budget.take("f", &["d"], 1, true));
    }

    /// Everything that callers may name, with words as long as they may be and of letters that are written as two.
    fn fill(metrics: &Metrics) {
        for number in 0..600 {
            let word = format!("/{number:\">255}");
            for status in 200..204 {
                let call = metrics.http(&word);
                call.answered(&Method::GET, status, Duration::ZERO, (0, None));
                metrics.http_client(&Method::POST, &word, Some(1), Some((status, None)), Duration::ZERO);
                metrics.invoked(&word, Kind::Unary).answered(i32::from(status));
                metrics.called(&word).answered(i32::from(status));
            }
            for code in [Code::Ok, Code::NotFound, Code::Internal] {
                metrics.grpc(&word, code, Some(9), Duration::ZERO);
                metrics.grpc_client(&word, code, Some((9, 9)), Duration::ZERO);
            }
            metrics.resiliency().loaded(&word, "n");
            metrics.component("state.redis", &word, false);
            metrics.state(&word).observe(StateOperation::Get, true, Duration::ZERO);
            let (topics, binding) = (metrics.pubsub("p"), metrics.calls(Counted::OutputBinding, &word));
            topics.egress(&word, true, Duration::ZERO);
            topics.ingress(&word, "retry", Duration::ZERO);
            binding.observe(&word, false, Duration::ZERO);
        }
    }

    #[test]
    fn no_page_is_larger_than_the_agent_takes() {
        for latency_buckets in [Vec::new(), (1..=200).map(f64::from).collect()] {
            let settings = MetricsSettings {
                latency_buckets,
                ..MetricsSettings::default()
            };
            let metrics = Metrics::new(&"a".repeat(63), "n", &settings);
            fill(&metrics);
            let text = String::from_utf8(metrics.text()).expect("text");
            let length = text.len();
            assert!((METRICS_PAGE / 2..METRICS_PAGE).contains(&length), "{length}");
            // What has no place of its own is counted all the same.
            for (name, calls) in [
                ("dapr_http_server_request_count{", 2400),
                ("dapr_http_client_completed_count{", 2400),
                ("dapr_http_server_latency_count{", 2400),
                ("dapr_grpc_io_client_completed_rpcs{", 1800),
                ("dapr_component_pubsub_ingress_count{", 600),
                ("dapr_component_state_count{", 600),
                ("dapr_resiliency_loaded{", 600),
            ] {
                let series = text.lines().filter(|line| line.starts_with(name));
                let counts = series.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
                assert_eq!(counts.sum::<u64>(), calls, "{name}");
            }
            assert!(text.contains(r#"method="GET",path="other",status="203""#));
        }
    }
}
