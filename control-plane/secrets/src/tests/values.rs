//! Headers and certificates: every value is a secret of its endpoint.

use palladium_kinds::{configuration, http_endpoint};

use super::*;

const BEARER: &str = "spec.headers.Authorization";
const KEY_FIELD: &str = "spec.clientTLS.privateKey";
const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMIIhunter4\n-----END PRIVATE KEY-----";
const CERT: &str = "-----BEGIN CERTIFICATE-----\nMIIhunter5\n-----END CERTIFICATE-----";

fn endpoint(url: &str, bearer: &str, root: &str) -> Map<String, Value> {
    let content = json!({ "spec": {
        "baseUrl": url,
        "headers": [{ "name": "Authorization", "value": bearer }, { "name": "x-tenant", "value": 4711 },
                    { "name": "Accept", "value": "application/json" }],
        "clientTLS": { "rootCA": { "value": root }, "certificate": { "value": CERT }, "privateKey": { "value": PEM } },
    } });
    (http_endpoint::KIND.normalize)(content).unwrap()
}

fn run(
    pair: &HpkeKeyPair,
    generation: u64,
    before: Option<&Extraction>,
    content: Map<String, Value>,
) -> Result<Extraction, Problem> {
    let secrets = before.map(states).unwrap_or_default();
    let stored = before.map(|before| Stored {
        content: &before.content,
        secrets: &secrets,
    });
    let (kind, key) = (&http_endpoint::KIND, Some(pair.public()));
    extract(kind, &catalog(), place(generation), key, &KEY, stored, NOTHING, content)
}

#[test]
fn sec_101_headers_and_certificates_are_sealed_to_their_place() {
    let pair = HpkeKeyPair::generate().unwrap();
    let out = run(&pair, 1, None, endpoint("https://a.example", "Bearer hunter2", CERT)).unwrap();
    let text = serde_json::to_string(&out.content).unwrap();
    assert!(!text.contains("hunter") && !text.contains("4711"), "{text}");
    let sealed: BTreeMap<&str, _> = out
        .sealed
        .iter()
        .map(|one| (one.value.field.as_str(), &one.value))
        .collect();
    assert_eq!(
        sealed.keys().copied().collect::<Vec<_>>(),
        [
            "spec.clientTLS.certificate",
            KEY_FIELD,
            "spec.clientTLS.rootCA",
            BEARER,
            "spec.headers.x-tenant",
        ]
    );
    for (field, secret) in [
        (BEARER, "Bearer hunter2"),
        (KEY_FIELD, PEM),
        ("spec.headers.x-tenant", "4711"),
    ] {
        let at = SealedField {
            region: "reg-a",
            project: "prj-a",
            uid: UID,
            field,
            version: 1,
        };
        assert_eq!(
            pair.open(&at, sealed[field]).unwrap().expose_secret(),
            secret.as_bytes()
        );
    }
    assert_eq!(
        out.content["spec"]["headers"][0]["secretKeyRef"]["key"],
        format!("{UID}/{BEARER}")
    );
    assert_eq!(
        out.content["spec"]["headers"][2]["value"], "application/json",
        "no secret"
    );
    // The region reads what is left by the same rules.
    let again = (http_endpoint::KIND.normalize)(Value::Object(out.content.clone())).unwrap();
    assert_eq!(again, out.content);
    let mut shown = out.content.clone();
    mask(&http_endpoint::KIND, &mut shown);
    assert!(shown["spec"]["clientTLS"]["privateKey"]["secretKeyRef"].is_object());
    reveal(&http_endpoint::KIND, &mut shown, KEY_FIELD, PEM);
    assert_eq!(shown["spec"]["clientTLS"]["privateKey"], json!({ "value": PEM }));
    assert_eq!(secret_fields(&http_endpoint::KIND, &out.content).len(), 5);
}

#[test]
fn sec_103_a_header_goes_nowhere_else_and_to_nobody_else() {
    let pair = HpkeKeyPair::generate().unwrap();
    let before = run(&pair, 1, None, endpoint("https://a.example", "Bearer hunter2", CERT)).unwrap();
    let same = run(&pair, 2, Some(&before), endpoint("https://a.example", MASK, MASK)).unwrap();
    let (sealed, fields) = (same.sealed.len(), same.fingerprints.len());
    assert_eq!((sealed, fields), (0, 5), "what was read can be sent back");
    let other = "-----BEGIN CERTIFICATE-----\nMIIevil\n-----END CERTIFICATE-----";
    for (url, root) in [("https://evil.example", MASK), ("https://a.example", other)] {
        let refused = run(&pair, 2, Some(&before), endpoint(url, MASK, root))
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains(&format!("{BEARER}: must be entered again")),
            "{refused}"
        );
        assert!(!refused.contains("hunter"), "{refused}");
    }
    // With everything entered again it may.
    let moved = run(
        &pair,
        2,
        Some(&before),
        endpoint("https://b.example", "Bearer hunter2", CERT),
    )
    .unwrap();
    assert_eq!(moved.sealed.len(), 5, "each is sealed anew for the new place");
}

#[test]
fn sec_101_a_copy_of_a_header_elsewhere_is_refused() {
    let pair = HpkeKeyPair::generate().unwrap();
    let mut content = endpoint("https://a.example/Bearer-hunter2", "Bearer-hunter2", CERT);
    let refused = run(&pair, 1, None, content.clone()).unwrap_err().to_string();
    assert!(
        refused.starts_with("spec.baseUrl: holds the secret of spec.headers.Authorization"),
        "{refused}"
    );
    content["spec"]["baseUrl"] = "https://a.example".into();
    assert!(run(&pair, 1, None, content).is_ok());
}

#[test]
fn sec_101_headers_of_a_trace_exporter_are_secrets_too() {
    let pair = HpkeKeyPair::generate().unwrap();
    let kind = &configuration::KIND;
    let spec = |address: &str, key: &str| {
        let otel =
            json!({ "endpointAddress": address, "protocol": "grpc", "headers": [{ "name": "api-key", "value": key }] });
        (kind.normalize)(json!({ "spec": { "tracing": { "samplingRate": "1", "otel": otel } } })).unwrap()
    };
    let key = Some(pair.public());
    let first = extract(
        kind,
        &catalog(),
        place(1),
        key,
        &KEY,
        None,
        NOTHING,
        spec("a:4317", "hunter2"),
    )
    .unwrap();
    assert!(!serde_json::to_string(&first.content).unwrap().contains("hunter2"));
    let secrets = states(&first);
    let stored = Some(Stored {
        content: &first.content,
        secrets: &secrets,
    });
    let moved = extract(
        kind,
        &catalog(),
        place(2),
        key,
        &KEY,
        stored,
        NOTHING,
        spec("evil:4317", MASK),
    );
    let refused = moved.unwrap_err().to_string();
    assert!(
        refused.contains("spec.tracing.otel.headers.api-key: must be entered again"),
        "{refused}"
    );
}
