//! `bindings.aws.s3` over a real MinIO, which checks every signature. Needs `PALLADIUM_PEERS`: the folder that `./dev peers`
//! prints.
//!
//! One idea: what was stored is what anybody with a signed address gets. Must never pass without a server.

// This is test code: a failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use palladium_component::bindings::{Answer, Binding, BindingError, Operation};
use palladium_component::{Hosting, OpenContext, OpenError};
use palladium_peers::minio_server::MinioServer;
use serde_json::{Value, json};

async fn open(server: &MinioServer, more: &[(&str, &str)], hosting: Hosting) -> Result<Arc<dyn Binding>, OpenError> {
    let more = more.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let properties = server.metadata().into_iter().chain(more).collect();
    let context = OpenContext {
        hosting,
        ..OpenContext::new("b", "app", properties)
    };
    palladium_tls::install_crypto_provider();
    palladium_components_bindings::DRIVERS
        .open("bindings.aws.s3", "", context)
        .await
}

async fn call(
    binding: &Arc<dyn Binding>,
    name: &str,
    data: impl Into<Vec<u8>>,
    metadata: &[(&str, &str)],
) -> Result<Answer, BindingError> {
    let pair = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
    let operation = Operation {
        name: name.to_owned(),
        data: data.into().into(),
        metadata: metadata.iter().map(pair).collect(),
    };
    binding.invoke(&operation).await
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(answer.data.as_ref().unwrap()).unwrap()
}

async fn error(binding: &Arc<dyn Binding>, name: &str, data: &str, metadata: &[(&str, &str)]) -> String {
    call(binding, name, data, metadata).await.unwrap_err().to_string()
}

#[tokio::test]
#[ignore = "needs MinIO: PALLADIUM_PEERS"]
async fn objects_are_stored_read_listed_and_deleted() {
    let server = MinioServer::start().await;
    let binding = open(&server, &[], Hosting::SelfHosted).await.unwrap();
    // MinIO has no names with empty parts, as a//b.
    for key in ["plain", "a/b c", "ä+&?#%", "/leading", "~*'()!", "x=y;z:@,$"] {
        let created = call(&binding, "create", key, &[("key", key), ("Content-Type", "text/x")])
            .await
            .unwrap();
        assert_eq!(created.metadata["key"], key);
        let told = json_of(&created);
        let location = told["location"].as_str().unwrap();
        assert!(
            location.starts_with(&format!("{}/orders/", server.address())),
            "{location}"
        );
        assert_eq!((&told["versionID"], told.get("presignURL")), (&Value::Null, None));
        if key == "/leading" {
            continue; // MinIO takes the slash away, and looks for it elsewhere: not every service has such keys.
        }
        let found = call(&binding, "get", "", &[("key", key)]).await.unwrap();
        assert_eq!(found.data.as_deref(), Some(key.as_bytes()), "{key}");
    }
    let told = json_of(
        &call(&binding, "list", r#"{"prefix": "a/", "delimiter": "/"}"#, &[])
            .await
            .unwrap(),
    );
    assert_eq!(
        (&told["Contents"][0]["Key"], &told["Contents"][0]["Size"]),
        (&json!("a/b c"), &json!(5))
    );
    assert_eq!((&told["Name"], &told["IsTruncated"]), (&json!("orders"), &json!(false)));
    let first = json_of(&call(&binding, "list", r#"{"maxResults": 2}"#, &[]).await.unwrap());
    let last = first["Contents"][1]["Key"].as_str().unwrap();
    assert_eq!(
        (first["Contents"].as_array().unwrap().len(), &first["IsTruncated"]),
        (2, &json!(true))
    );
    let rest = json!({"marker": last}).to_string();
    let rest = json_of(&call(&binding, "list", rest, &[]).await.unwrap());
    assert!(
        rest["Contents"]
            .as_array()
            .unwrap()
            .iter()
            .all(|object| object["Key"].as_str().unwrap() > last)
    );

    call(&binding, "delete", "", &[("key", "plain")]).await.unwrap();
    call(&binding, "delete", "", &[("key", "plain")]).await.unwrap();
    assert_eq!(
        error(&binding, "get", "", &[("key", "plain")]).await,
        "object not found"
    );
}

#[tokio::test]
#[ignore = "needs MinIO: PALLADIUM_PEERS"]
async fn forms_of_data_and_signed_addresses() {
    let server = MinioServer::start().await;
    let binding = open(&server, &[("presignTTL", "15m")], Hosting::SelfHosted)
        .await
        .unwrap();
    let created = call(
        &binding,
        "create",
        "\"AAH/\"",
        &[("decodeBase64", "true"), ("tags", "a=1, b=x y")],
    )
    .await
    .unwrap();
    let key = created.metadata["key"].clone();
    let address = json_of(&created)["presignURL"].as_str().unwrap().to_owned();
    assert_eq!(server.fetch(&address).await, (200, vec![0, 1, 255]));
    let (tampered, _) = server
        .fetch(&address.replace("X-Amz-Expires=900", "X-Amz-Expires=901"))
        .await;
    assert_eq!(tampered, 403);
    let found = call(&binding, "get", "", &[("key", &key), ("encodeBase64", "true")])
        .await
        .unwrap();
    assert_eq!(found.data.unwrap(), "AAH/");
    let presigned = call(&binding, "presign", "", &[("key", &key), ("presignTTL", "1h")])
        .await
        .unwrap();
    let address = json_of(&presigned)["presignURL"].as_str().unwrap().to_owned();
    assert!(address.contains("X-Amz-Expires=3600"), "{address}");
    assert_eq!(server.fetch(&address).await.0, 200);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "of a file").unwrap();
    let metadata = [
        ("key", "f"),
        ("filePath", path.to_str().unwrap()),
        ("storageClass", "STANDARD"),
    ];
    call(&binding, "create", "ignored", &metadata).await.unwrap();
    let found = call(&binding, "get", "", &[("key", "f")]).await.unwrap();
    assert_eq!(found.data.unwrap(), "of a file");
    let hosted = open(
        &server,
        &[],
        Hosting::Platform {
            folder: folder.path().into(),
        },
    )
    .await
    .unwrap();
    assert!(error(&hosted, "create", "", &metadata).await.contains("not allowed"));
    let many = json!({"items": [{"key": "f", "filePath": path}]}).to_string();
    let told = json_of(&call(&hosted, "bulkCreate", many, &[]).await.unwrap());
    assert!(told[0]["error"].as_str().unwrap().contains("not allowed"), "{told}");
}

#[tokio::test]
#[ignore = "needs MinIO: PALLADIUM_PEERS"]
async fn many_at_once_have_outcomes_of_their_own() {
    let server = MinioServer::start().await;
    let binding = open(&server, &[], Hosting::SelfHosted).await.unwrap();
    let items: Vec<Value> = (0..30)
        .map(|n| json!({"key": format!("k{n:02}"), "data": format!("v{n}")}))
        .collect();
    let items = [items, vec![json!({"key": ""}), json!({"key": "x"})]].concat();
    let many = json!({"items": items, "concurrency": 7}).to_string();
    let told = json_of(&call(&binding, "bulkCreate", many, &[]).await.unwrap());
    assert!(
        told.as_array().unwrap()[..30]
            .iter()
            .all(|one| one.get("error").is_none()),
        "{told}"
    );
    assert_eq!(
        told[29],
        json!({"key": "k29", "location": format!("{}/orders/k29", server.address())})
    );
    assert_eq!(told[30], json!({"key": "", "error": "key is required"}));
    assert_eq!(
        told[31],
        json!({"key": "x", "error": "either data or filePath is required"})
    );
    let many = json!({"items": [{"key": "k03"}, {"key": "none"}]}).to_string();
    let told = json_of(&call(&binding, "bulkGet", many, &[]).await.unwrap());
    assert_eq!(
        told,
        json!([{"key": "k03", "data": "v3"}, {"key": "none", "error": "object not found"}])
    );
    let told = json_of(
        &call(&binding, "bulkDelete", r#"{"keys": ["k03", " ", "k04"]}"#, &[])
            .await
            .unwrap(),
    );
    assert_eq!(told[0], json!({"key": "k03"}));
    assert_eq!(told[1]["error"], "key is required");
    assert_eq!(error(&binding, "get", "", &[("key", "k03")]).await, "object not found");
    for data in [
        "{}",
        r#"{"items": []}"#,
        r#"{"items": [{"key": "a"}], "concurrency": 0}"#,
        "no",
    ] {
        assert!(
            error(&binding, "bulkGet", data, &[])
                .await
                .starts_with("s3 binding error"),
            "{data}"
        );
    }
}

#[tokio::test]
#[ignore = "needs MinIO: PALLADIUM_PEERS"]
async fn refusals_are_the_services_own_words_without_secrets() {
    let server = MinioServer::start().await;
    let wrong = open(&server, &[("secretKey", "hunter2-hunter2")], Hosting::SelfHosted)
        .await
        .unwrap();
    for (name, key) in [("create", "k"), ("get", "k"), ("delete", "k"), ("list", "")] {
        let said = error(&wrong, name, "", &[("key", key)]).await;
        assert!(
            said.contains("SignatureDoesNotMatch") && !said.contains("hunter2"),
            "{name}: {said}"
        );
    }
    let elsewhere = open(&server, &[("bucket", "nowhere")], Hosting::SelfHosted)
        .await
        .unwrap();
    assert!(
        error(&elsewhere, "create", "", &[("key", "k")])
            .await
            .contains("NoSuchBucket")
    );
    let binding = open(&server, &[], Hosting::SelfHosted).await.unwrap();
    for (name, metadata, said) in [
        ("get", &[][..], "required metadata 'key' missing"),
        ("presign", &[("key", "k")][..], "required metadata 'presignTTL' missing"),
        ("create", &[("key", "../other/k")][..], "cannot be used"),
        ("create", &[("key", "k"), ("tags", "a")][..], "tags"),
        ("dance", &[][..], "unsupported operation dance"),
    ] {
        let error = error(&binding, name, "", metadata).await;
        assert!(error.contains(said), "{name}: {error}");
    }
    let away = [("endpoint", "http://127.0.0.1:1")];
    let away = open(&server, &away, Hosting::SelfHosted).await.unwrap();
    let said = error(&away, "get", "", &[("key", "k")]).await;
    assert!(!said.contains("X-Amz") && !said.contains("conformance"), "{said}");
}
