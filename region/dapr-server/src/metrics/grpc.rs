//! gRPC calls: those of the API, and those to the application.
//!
//! One idea: the methods of the API are known; those of calls that are passed on are words of callers, so only so many get a
//! label. Must never count a call that is told by HTTP as well.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::Histogram;

use super::family::{Counts, Maker, Spreads, Timed, millis};
use super::words::{ByNumber, ByWord, OTHER};
use crate::invoke::PREFIX;

/// Methods that are told apart, in each direction.
const MOST_METHODS: usize = 200;
/// The service of the API: its methods come here by their names alone.
const API: &str = "/dapr.proto.runtime.v1.Dapr/";

/// See the module.
pub struct GrpcMetrics {
    app_id: String,
    server: Direction,
    client: Direction,
    probes: (Counts, Spreads),
}

struct Direction {
    count: Counts,
    latency: Spreads,
    received: Spreads,
    sent: Spreads,
    methods: ByWord<Method>,
}

/// What is kept for one method.
struct Method {
    name: String,
    by_status: ByNumber<Timed>,
    received: OnceLock<Histogram>,
    sent: OnceLock<Histogram>,
}

impl GrpcMetrics {
    pub(super) fn new(app_id: &str, make: &Maker<'_>) -> Self {
        let direction = |side: &str, latency: &str, what: &str| {
            let (method, status) = (format!("grpc_{side}_method"), format!("grpc_{side}_status"));
            let name = |metric: &str| format!("dapr_grpc_io_{side}_{metric}");
            let all = ["app_id", method.as_str(), status.as_str()];
            let sizes = |metric: &str, help: &str| make.sizes(&name(metric), &format!("{help} {what}."), &all[..2]);
            Direction {
                count: make.counts(&name("completed_rpcs"), &format!("{what}."), &all),
                latency: make.latencies(&name(latency), &format!("Duration of {what} in ms."), &all),
                received: sizes("received_bytes_per_rpc", "Bytes received by"),
                sent: sizes("sent_bytes_per_rpc", "Bytes sent by"),
                methods: ByWord::new(MOST_METHODS),
            }
        };
        let probe = ["app_id", "grpc_client_status"];
        Self {
            app_id: app_id.to_owned(),
            server: direction("server", "server_latency", "gRPC API calls"),
            client: direction("client", "roundtrip_latency", "gRPC calls to the application"),
            probes: (
                make.counts("dapr_grpc_io_healthprobes_completed_count", "Health probes.", &probe),
                make.latencies(
                    "dapr_grpc_io_healthprobes_roundtrip_latency",
                    "Duration of health probes in ms.",
                    &probe,
                ),
            ),
        }
    }

    /// A call of the API. `method`: its name, or the whole path of a call that is passed on. `received`: bytes of its request on the wire; `None` = it is a stream.
    pub fn server(&self, method: &str, code: tonic::Code, received: Option<usize>, elapsed: Duration) {
        let method = self.server.method(method);
        self.server.count(&self.app_id, &method, code, elapsed);
        if let Some(received) = received {
            let bytes = received.saturating_sub(PREFIX);
            self.server.received(&self.app_id, &method).observe(as_float(bytes));
        }
    }

    /// What counts the message of an answer of the API.
    pub fn answer(&self, method: &str) -> Histogram {
        let method = self.server.method(method);
        self.server.sent(&self.app_id, &method).clone()
    }

    /// A call to the application. `bytes`: of the request and of the answer, where they are known.
    pub fn client(&self, method: &str, code: tonic::Code, bytes: Option<(usize, usize)>, elapsed: Duration) {
        let method = self.client.method(method);
        self.client.count(&self.app_id, &method, code, elapsed);
        if let Some((sent, received)) = bytes {
            self.client.sent(&self.app_id, &method).observe(as_float(sent));
            self.client.received(&self.app_id, &method).observe(as_float(received));
        }
    }

    /// A health probe.
    pub fn probe(&self, code: tonic::Code, elapsed: Duration) {
        let labels = [self.app_id.as_str(), name(code)];
        self.probes.0.with(&labels).inc();
        self.probes.1.with(&labels).observe(millis(elapsed));
    }
}

impl Direction {
    fn method(&self, method: &str) -> Arc<Method> {
        self.methods.get(method, |method| Method {
            name: if method.starts_with('/') || method == OTHER {
                method.to_owned()
            } else {
                format!("{API}{method}")
            },
            by_status: ByNumber::default(),
            received: OnceLock::new(),
            sent: OnceLock::new(),
        })
    }

    fn received<'a>(&self, app_id: &str, method: &'a Method) -> &'a Histogram {
        method
            .received
            .get_or_init(|| self.received.with(&[app_id, &method.name]))
    }

    fn sent<'a>(&self, app_id: &str, method: &'a Method) -> &'a Histogram {
        method.sent.get_or_init(|| self.sent.with(&[app_id, &method.name]))
    }

    fn count(&self, app_id: &str, method: &Method, code: tonic::Code, elapsed: Duration) {
        let make = || {
            let labels = [app_id, method.name.as_str(), name(code)];
            Timed::new(self.count.with(&labels), self.latency.with(&labels))
        };
        // There are only so many codes.
        let number = u32::try_from(code as i32).unwrap_or_default();
        if let Some(timed) = method.by_status.get(number, || true, make) {
            timed.observe(elapsed);
        }
    }
}

/// A code as Dapr's label has it.
fn name(code: tonic::Code) -> &'static str {
    palladium_component::error::grpc_code_name(u32::try_from(code as i32).unwrap_or_default())
}

/// The bytes of a message, of so many with what gRPC puts before it.
pub(crate) fn message(bytes: usize) -> f64 {
    as_float(bytes.saturating_sub(PREFIX))
}

#[expect(clippy::cast_precision_loss, reason = "nobody needs the last byte of a petabyte")]
fn as_float(bytes: usize) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder as _, Registry, TextEncoder};

    use super::*;
    use crate::metrics::budget::CALLS;
    use crate::resources::MetricsSettings;

    #[test]
    fn calls_have_daprs_labels_and_methods_are_bounded() {
        let (registry, settings) = (Registry::new(), MetricsSettings::default());
        let metrics = GrpcMetrics::new("a", &Maker::new(&registry, &settings, CALLS));
        metrics.server("/p.S/M", tonic::Code::NotFound, Some(7), Duration::ZERO);
        metrics.server("GetState", tonic::Code::Ok, Some(7), Duration::ZERO);
        for number in 0..2 * MOST_METHODS {
            metrics.client(&format!("/x/{number}"), tonic::Code::Ok, None, Duration::ZERO);
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).expect("text");
        let text = String::from_utf8(text).expect("text");
        for line in [
            r#"dapr_grpc_io_server_completed_rpcs{app_id="a",grpc_server_method="/p.S/M",grpc_server_status="NotFound"} 1"#,
            r#"dapr_grpc_io_server_completed_rpcs{app_id="a",grpc_server_method="/dapr.proto.runtime.v1.Dapr/GetState",grpc_server_status="OK"} 1"#,
            r#"dapr_grpc_io_server_received_bytes_per_rpc_sum{app_id="a",grpc_server_method="/p.S/M"} 2"#,
        ] {
            assert!(text.lines().any(|said| said == line), "{line}\n{text}");
        }
        let methods = text.matches("dapr_grpc_io_client_completed_rpcs{").count();
        assert_eq!(methods, MOST_METHODS + 1);
    }
}
