//! What is made of `spec.metrics`, `spec.tracing` and `spec.logging`. Must never take one from anywhere but a document.

use serde_json::json;

use super::*;

fn tracing(spec: Value) -> Result<TracingSettings, String> {
    let mut settings = TracingSettings::default();
    let spec = serde_json::from_value(spec).map_err(|error| error.to_string())?;
    settings.overlay(spec).map(|()| settings)
}

fn shown(headers: &[(String, SecretString)]) -> Vec<String> {
    headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.expose_secret()))
        .collect()
}

#[test]
fn headers_have_two_forms_and_are_not_shown() {
    let settings = tracing(
        json!({ "samplingRate": 0.5, "otel": { "endpointAddress": "c:4317", "protocol": "grpc",
        "timeout": "30s", "headers": ["x-key=a=b", { "name": "n", "value": "v" }] } }),
    );
    let settings = settings.expect("well formed");
    assert_eq!(shown(&settings.otel.headers), ["x-key: a=b", "n: v"]);
    assert_eq!(settings.sampling_rate, "0.5");
    assert_eq!(settings.otel.timeout, Some(Duration::from_secs(30)));
    assert!(!format!("{settings:?}").contains("a=b"));
    for bad in [json!(["no"]), json!([{ "name": "n", "secretKeyRef": { "name": "s" } }])] {
        assert!(tracing(json!({ "otel": { "headers": bad } })).is_err(), "{bad}");
    }
}

#[test]
fn the_environment_fills_in_what_a_file_leaves_out() {
    let env = |name: &str| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("http://collector:4318".to_owned()),
        "OTEL_EXPORTER_OTLP_PROTOCOL" => Some("http/protobuf".to_owned()),
        "OTEL_EXPORTER_OTLP_INSECURE" => Some("true".to_owned()),
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS" => Some("x-env=a%20b, y=2".to_owned()),
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT" => Some("5000".to_owned()),
        "OTEL_SERVICE_NAME" => Some("mine".to_owned()),
        "OTEL_RESOURCE_ATTRIBUTES" => Some("service.name=x,service.namespace=production".to_owned()),
        _ => None,
    };
    let mut settings = TracingSettings::default();
    settings.with_environment(&env).expect("well formed");
    assert_eq!(
        (settings.otel.endpoint.as_str(), settings.otel.protocol.as_str()),
        ("collector:4318", "http")
    );
    assert_eq!(
        (settings.sampling_rate.as_str(), settings.otel.secure),
        ("1", Some(false))
    );
    assert_eq!(shown(&settings.otel.headers), ["x-env: a b", "y: 2"]);
    assert_eq!(settings.otel.timeout, Some(Duration::from_secs(5)));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        settings.resource,
        [pair("service.namespace", "production"), pair("service.name", "mine")]
    );
    // What a file says stands.
    let file = json!({ "otel": { "endpointAddress": "c:1", "protocol": "grpc", "headers": ["x-file=1"] } });
    let mut settings = tracing(file).expect("sound");
    settings.with_environment(&env).expect("well formed");
    assert_eq!(
        (settings.otel.endpoint.as_str(), settings.otel.protocol.as_str()),
        ("c:1", "grpc")
    );
    assert_eq!(shown(&settings.otel.headers), ["x-file: 1"]);
}

#[test]
fn buckets_rise_and_expressions_must_be_ones() {
    let read = |spec: Value| {
        let mut settings = MetricsSettings::default();
        let spec: MetricSpec = serde_json::from_value(spec).expect("sound");
        settings.overlay(spec).map(|()| settings)
    };
    let settings = read(json!({ "latencyDistributionBuckets": [50, 5, 0, 5, -1] })).expect("sound");
    assert_eq!(settings.latency_buckets, [5.0, 50.0]);
    assert!(settings.increased_cardinality);
    let bad = json!({ "rules": [{ "name": "dapr_http_server_latency",
        "labels": [{ "name": "path", "regex": { "x": "(" } }] }] });
    assert!(read(bad).is_err_and(|error| error.contains("http_server_latency/path")));
    let rules = |regex: Value| json!({ "rules": [{ "name": "m", "labels": [{ "name": "path", "regex": regex }] }] });
    let large = rules(json!({ "x": "(\\w{100}){100}" }));
    assert!(read(large).is_err_and(|error| error.contains("failed to compile")));
    let many = (0..=MOST_EXPRESSIONS).map(|index| (index.to_string(), json!("a")));
    let many = rules(Value::Object(many.collect()));
    assert!(read(many).is_err_and(|error| error.contains("more than 128")));
    let label = |name: &str| json!({ "name": name, "regex": { "x": "a" } });
    let labels = [label("app_id"), label("path"), label("namespace"), label("dst_app_id")];
    let settings = read(json!({ "rules": [{ "name": "m", "labels": labels }] })).expect("sound");
    let left: Vec<&str> = settings.rules[0]
        .labels
        .iter()
        .map(|label| label.name.as_str())
        .collect();
    assert_eq!(left, ["path", "dst_app_id"], "whose metrics these are stands");
}
