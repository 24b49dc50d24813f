//! The canary sweep: what is secret by the shipped catalog is looked for in every file, answer, record and log line.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};

use http::Method;
use palladium_component::catalog::{CatalogField, ComponentType, catalog};
use serde_json::{Value, json};

use super::secrets::files_with;
use super::{CRA, Harness};

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Something that the field accepts.
fn harmless(field: &CatalogField) -> String {
    let from = field.default.clone().or_else(|| field.allowed.first().cloned());
    from.unwrap_or_else(|| {
        match field.kind.as_str() {
            "bool" => "true",
            "number" => "1",
            "duration" => "5s",
            _ => "example:1",
        }
        .to_owned()
    })
}

/// A component of that type with a canary in every sensitive field.
fn component(kind: &ComponentType, common: &[CatalogField], canaries: &mut BTreeMap<String, String>) -> Value {
    let mut items = Vec::new();
    for field in kind.fields.iter().chain(common) {
        let name = &field.name;
        if field.sensitive {
            let text = format!("CANARY{}", palladium_kinds::ids::random_base32(20));
            items.push(json!({"name": name, "value": text}));
            canaries.insert(format!("{}/{name}", kind.type_name), text);
        } else if field.required {
            items.push(json!({"name": name, "value": harmless(field)}));
        }
    }
    let name = kind.type_name.replace('.', "-");
    json!({"metadata": {"name": name}, "spec": {"type": kind.type_name, "metadata": items}})
}

#[tokio::test]
async fn sec_101_every_sensitive_field_of_the_shipped_catalog_is_in_no_file_answer_record_or_log() {
    let log = Log::default();
    let sink = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || sink.clone())
        .finish();
    let _quiet = tracing::subscriber::set_default(subscriber);
    let h = Harness::with(catalog()).await;
    let components = format!("{CRA}/projects/default/components");
    let mut canaries = BTreeMap::new();
    let hosted = catalog().components.iter().filter(|kind| kind.hosted != "refused");
    for kind in hosted {
        let block = kind.type_name.split('.').next().unwrap();
        let common = catalog().common.get(block).map_or(&[][..], Vec::as_slice);
        let body = component(kind, common, &mut canaries);
        let (status, answer) = h.call(&h.admin, Method::POST, &components, body.clone()).await;
        assert_eq!(status, 202, "{}: {answer}", kind.type_name);
        // The same again as a replacement, and as one that is refused.
        let one = format!("{components}/{}", body["metadata"]["name"].as_str().unwrap());
        assert_eq!(h.call(&h.admin, Method::PUT, &one, body.clone()).await.0, 202);
        let mut wrong = body;
        wrong["spec"]["version"] = "v99".into();
        let (status, refused) = h.call(&h.admin, Method::PUT, &one, wrong).await;
        assert_eq!(status, 400);
        let shown = h.get(&one).await;
        for text in [answer, refused, shown] {
            assert!(!text.to_string().contains("CANARY"), "{text}");
        }
    }
    let app =
        json!({"metadata": {"name": "a"}, "spec": {"appEndpoint": {"url": "http://a:1", "token": "CANARYapptoken"}}});
    canaries.insert("AppIdentity".into(), "CANARYapptoken".into());
    h.post(&format!("{CRA}/projects/default/appids"), app).await;
    assert!(canaries.len() >= 10, "{canaries:?}");
    assert!(!json!(h.events("").await).to_string().contains("CANARY"));
    // The write-ahead log has not been merged yet: what was written stands in it.
    let wal = h.folder.path().join("server/control-plane.db-wal");
    assert!(std::fs::metadata(wal).unwrap().len() > 0);
    for (what, canary) in &canaries {
        assert_eq!(files_with(&h, canary), Vec::<String>::new(), "{what}");
    }
    h.store.close().await;
    for (what, canary) in &canaries {
        assert_eq!(files_with(&h, canary), Vec::<String>::new(), "{what}, after the end");
    }
    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(log.contains("request"), "the log was caught");
    assert!(!log.contains("CANARY"));
}
