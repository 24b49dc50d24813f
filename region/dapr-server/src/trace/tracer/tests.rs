//! What spans say, who sees them, and what a Configuration changes.

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::*;

/// Keeps what it is given.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(batch);
        Ok(())
    }
}

fn tracer(rate: f64) -> (Tracer, Kept) {
    let kept = Kept::default();
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(rate))))
        .with_simple_exporter(kept.clone())
        .build();
    let tracer = provider.tracer(SCOPE);
    (Tracer { provider, tracer }, kept)
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pair =
        |(name, value): &(&'static str, &str)| (http::HeaderName::from_static(name), value.parse().expect("visible"));
    pairs.iter().map(pair).collect()
}

const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn a_span_stands_below_what_the_headers_say_and_says_so_in_them() {
    let (tracer, kept) = tracer(0.0);
    let mut asked = headers(&[
        ("traceparent", SAMPLED),
        ("tracestate", "a=b"),
        ("dapr-x", "y"),
        (TOKEN_HEADER, "t0k3n"),
    ]);
    let mut span = tracer.enter("/v1.0/metadata", Kind::Client, &mut asked);
    let said = asked["traceparent"].to_str().expect("text").to_owned();
    assert!(
        said.starts_with(&SAMPLED[..36]) && said.ends_with("-01") && said != SAMPLED,
        "{said}"
    );
    assert_eq!(asked["tracestate"], "a=b");
    let about = span.about(&asked).expect("sampled");
    about.invoked("app", "m");
    span.tell(Some(&about));
    span.http_status(404);
    drop(span);
    let kept = kept.0.lock().unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].name, "CallLocal/app/m");
    assert_eq!(kept[0].status, Status::error("Code(404): Not Found"));
    let shown = format!("{:?}", kept[0].attributes);
    assert!(shown.contains("dapr-x") && shown.contains("net.peer.name"), "{shown}");
    assert!(!shown.contains("t0k3n"), "sec: no token is told");
}

#[test]
fn what_is_not_sampled_is_passed_on_and_seen_by_nobody() {
    let (tracer, kept) = tracer(0.0);
    for parent in [None, Some(SAMPLED.replace("-01", "-00")), Some("nonsense".to_owned())] {
        let mut asked = HeaderMap::new();
        if let Some(parent) = &parent {
            asked.insert(TRACEPARENT, parent.parse().expect("visible"));
        }
        let span = tracer.enter("n", Kind::Server, &mut asked);
        assert!(!span.is_seen() && span.about(&asked).is_none());
        assert!(super::super::valid(asked["traceparent"].to_str().expect("text")).is_some());
        assert!(asked["traceparent"].to_str().expect("text").ends_with("-00"));
    }
    assert!(kept.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn nothing_configured_is_nothing_made_and_another_configuration_takes_its_place() {
    let tracing = Tracing::default();
    tracing.apply(&TracingSettings::default(), "a", false).expect("nothing");
    assert!(tracing.now().is_none());
    let on = TracingSettings {
        sampling_rate: "1".to_owned(),
        ..TracingSettings::default()
    };
    tracing.apply(&on, "a", false).expect("sound");
    let first = tracing.now().expect("on");
    tracing.apply(&on, "a", false).expect("sound");
    assert!(
        Arc::ptr_eq(&first, &tracing.now().expect("on")),
        "the same is no change"
    );
    let bad = TracingSettings {
        otel: crate::resources::OtelSettings {
            endpoint: "c:1".to_owned(),
            protocol: "thrift".to_owned(),
            ..Default::default()
        },
        ..on
    };
    assert!(tracing.apply(&bad, "a", false).is_err());
    assert!(tracing.now().is_some(), "what was in force stays");
    tracing.apply(&TracingSettings::default(), "a", false).expect("off");
    assert!(tracing.now().is_none());
    tracing.close().await;
}
