//! The metrics of Dapr's sentry, under its names.
//!
//! The exporter appends `_total` to counters by itself. One idea: dashboards made for Dapr must find what they look
//! for. Must never get a label that a caller can choose (IDs, namespaces): the number of series is fixed.

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use time::OffsetDateTime;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Counters and gauges.
pub(super) struct Metrics {
    registry: Registry,
    requests: Counter,
    successes: Counter,
    failures: Family<Reason, Counter>,
    server_failures: Family<Reason, Counter>,
    issuer_changes: Counter,
    issuer_expiry: Gauge,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut this = Self {
            registry: Registry::default(),
            requests: Counter::default(),
            successes: Counter::default(),
            failures: Family::default(),
            server_failures: Family::default(),
            issuer_changes: Counter::default(),
            issuer_expiry: Gauge::default(),
        };
        let r = &mut this.registry;
        r.register(
            "dapr_sentry_cert_sign_request_received",
            "CSRs received",
            this.requests.clone(),
        );
        r.register(
            "dapr_sentry_cert_sign_success",
            "Certificates issued",
            this.successes.clone(),
        );
        r.register(
            "dapr_sentry_cert_sign_failure",
            "CSRs that led to no certificate",
            this.failures.clone(),
        );
        r.register(
            "dapr_sentry_servercert_issue_failed",
            "Failures to issue the server's own certificate",
            this.server_failures.clone(),
        );
        r.register(
            "dapr_sentry_issuercert_changed",
            "Changes of the issuer's certificate or key",
            this.issuer_changes.clone(),
        );
        r.register(
            "dapr_sentry_issuercert_expiry_timestamp",
            "When issuer or root end, Unix seconds",
            this.issuer_expiry.clone(),
        );
        this
    }

    pub(super) fn request(&self) {
        self.requests.inc();
    }

    /// A request's end. Dapr's sentry counts all failures, refusals too, under this one reason.
    pub(super) fn outcome(&self, ok: bool) {
        if ok {
            self.successes.inc();
        } else {
            self.failures.get_or_create(&Reason { reason: "sign" }).inc();
        }
    }

    /// Sentry's own certificate was not made; the reason is Dapr's for everything but a malformed CSR.
    pub(super) fn server_certificate_failed(&self) {
        self.server_failures.get_or_create(&Reason { reason: "ca_error" }).inc();
    }

    pub(super) fn issuer_expires(&self, at: OffsetDateTime) {
        self.issuer_expiry.set(at.unix_timestamp());
    }

    pub(super) fn issuer_changed(&self, expires: OffsetDateTime) {
        self.issuer_changes.inc();
        self.issuer_expires(expires);
    }

    /// The exposition text.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_the_reasons_of_daprs_sentry() {
        let metrics = Metrics::new();
        metrics.outcome(false);
        metrics.server_certificate_failed();
        let text = metrics.text();
        for line in [
            r#"dapr_sentry_cert_sign_failure_total{reason="sign"} 1"#,
            r#"dapr_sentry_servercert_issue_failed_total{reason="ca_error"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
