//! Rules of tracing and metrics.
//!
//! One idea: exporters are addresses without credentials in them; what else there is has bounds. Must never accept an
//! address that is a file.

use url::Url;

use super::{at_most, is_one_of, is_text};
use crate::configuration::{Metrics, TRACE_HEADERS, Tracing};
use crate::error::FieldErrors;
use crate::{duration, headers};

/// Of all rules of metrics together, as a Dapr Server takes them: each is compiled and asked for every new label.
const EXPRESSIONS_MAX: usize = 128;
/// Labels that say whose metrics these are. A Dapr Server leaves rules for them out.
const IDENTITY: [&str; 2] = ["app_id", "namespace"];

/// Complains about tracing.
pub(super) fn check_tracing(tracing: &Tracing, errors: &mut FieldErrors) {
    let rate = tracing.sampling_rate.parse::<f64>();
    if !tracing.sampling_rate.is_empty() && !rate.is_ok_and(|rate| (0.0..=1.0).contains(&rate)) {
        errors.push(
            "spec.tracing.samplingRate",
            "is not a share",
            "use a number from 0 to 1, such as 0.1",
        );
    }
    if let Some(zipkin) = &tracing.zipkin {
        let field = "spec.tracing.zipkin.endpointAddress";
        if !is_endpoint(&zipkin.endpoint_address, true) {
            errors.push(
                field,
                "is not an address of http or https without credentials",
                "use a URL such as http://zipkin:9411/api/v2/spans",
            );
        }
    }
    if let Some(otel) = &tracing.otel {
        let at = "spec.tracing.otel";
        is_one_of(&format!("{at}.protocol"), &otel.protocol, &["grpc", "http"], errors);
        if !is_endpoint(&otel.endpoint_address, false) {
            errors.push(
                format!("{at}.endpointAddress"),
                "is not an address without credentials",
                "use an address such as collector:4317",
            );
        }
        headers::check(TRACE_HEADERS, &otel.headers, false, errors);
        duration::check(&format!("{at}.timeout"), &otel.timeout, false, errors);
    }
}

/// `host:port`, or a URL of HTTP.
fn is_endpoint(text: &str, url_only: bool) -> bool {
    let plain = text.len() <= 2048 && text.bytes().all(|b| (0x21..0x7f).contains(&b) && !b"@\\".contains(&b));
    let whole = match text.contains("://") {
        true => text.to_owned(),
        false if url_only => return false,
        false => format!("http://{text}"),
    };
    let url = Url::parse(&whole).ok();
    plain
        && url.is_some_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty())
        })
}

/// Complains about metrics.
pub(super) fn check_metrics(at: &str, metrics: &Metrics, errors: &mut FieldErrors) {
    at_most(&format!("{at}.rules"), metrics.rules.len(), errors);
    for (index, rule) in metrics.rules.iter().enumerate() {
        is_text(&format!("{at}.rules[{index}].name"), &rule.name, errors);
        for label in &rule.labels {
            is_text(&format!("{at}.rules[{index}].labels.name"), &label.name, errors);
            if IDENTITY.contains(&label.name.as_str()) {
                errors.push(
                    format!("{at}.rules[{index}].labels.name"),
                    format!(
                        "{:?} says whose metrics these are, and no rule may change that",
                        label.name
                    ),
                    "name another label, such as path",
                );
            }
            for (value, regex) in &label.regex {
                is_text(&format!("{at}.rules[{index}].labels.regex"), value, errors);
                is_text(&format!("{at}.rules[{index}].labels.regex"), regex, errors);
            }
        }
    }
    let labels = metrics.rules.iter().flat_map(|rule| &rule.labels);
    let expressions: usize = labels.clone().map(|label| label.regex.len()).sum();
    if labels.count().max(expressions) > EXPRESSIONS_MAX {
        errors.push(
            format!("{at}.rules"),
            format!("hold more than {EXPRESSIONS_MAX} labels or expressions together"),
            "remove some",
        );
    }
    let paths = metrics.http.iter().flat_map(|http| &http.path_matching);
    at_most(&format!("{at}.http.pathMatching"), paths.clone().count(), errors);
    for path in paths {
        is_text(&format!("{at}.http.pathMatching"), path, errors);
    }
    let buckets = metrics.latency_distribution_buckets.as_deref().unwrap_or_default();
    let grow = buckets.windows(2).all(|pair| pair.first() < pair.last());
    if buckets.len() > 128 || !grow || buckets.first() == Some(&0) {
        errors.push(
            format!("{at}.latencyDistributionBuckets"),
            "are not at most 128 growing bounds above 0",
            "use milliseconds such as [1, 5, 10, 50]",
        );
    }
}
