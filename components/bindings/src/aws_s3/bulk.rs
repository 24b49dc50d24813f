//! Operations on many objects: some at a time, and each has its own outcome.
//!
//! One idea: one that fails is told in its place, and the others go on. Must never hold more than [`LONGEST`] bytes for one
//! call, nor have more of them under way than [`MOST_AT_ONCE`].

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use palladium_component::CallError;
use palladium_component::bindings::{Answer, Operation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::S3;
use super::client::LONGEST;
use super::metadata::{Options, allow_files, wrong};
use super::objects::file;

/// How many are under way when nobody says.
const AT_ONCE: i64 = 10;
const MOST_AT_ONCE: usize = 64;

#[derive(Deserialize)]
struct Many<T> {
    #[serde(default = "Vec::new", alias = "keys")]
    items: Vec<T>,
    concurrency: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    #[serde(default)]
    key: String,
    data: Option<String>,
    content_type: Option<String>,
    file_path: Option<String>,
}

/// What became of one.
#[derive(Default, Serialize)]
struct Outcome {
    key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    data: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    location: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
}

impl S3 {
    pub(super) async fn bulk_get(&self, operation: &Operation, options: &Options) -> Result<Answer, CallError> {
        let held = &AtomicUsize::new(0);
        each(operation, "item", |item: Item| async move {
            let data = self.client.get(&item.key).await?;
            let data: Bytes = match options.encode_base64 {
                true => STANDARD.encode(&data).into(),
                false => data,
            };
            if let Some(path) = &item.file_path {
                allow_files(&self.hosting)?;
                let written = tokio::fs::write(path, &data).await;
                written.map_err(|error| wrong(&format!("file write error: {error}")))?;
                return Ok(Outcome::default());
            }
            if held.fetch_add(data.len(), Ordering::Relaxed) + data.len() > LONGEST {
                return Err(wrong(&format!(
                    "the objects of one call are longer than {LONGEST} bytes"
                )));
            }
            Ok(Outcome {
                data: String::from_utf8_lossy(&data).into_owned(),
                ..Outcome::default()
            })
        })
        .await
    }

    pub(super) async fn bulk_create(&self, operation: &Operation, options: &Options) -> Result<Answer, CallError> {
        // The component's class is for single objects, as in Dapr.
        let options = &Options {
            storage_class: None,
            ..options.clone()
        };
        each(operation, "item", |item: Item| async move {
            let data = match (&item.file_path, &item.data) {
                (Some(path), _) => {
                    allow_files(&self.hosting)?;
                    file(path).await?
                }
                (None, Some(data)) => Bytes::from(data.clone()),
                (None, None) => return Err(CallError::Invalid("either data or filePath is required".into())),
            };
            let content_type = item.content_type.as_deref();
            self.store(&item.key, data, options, content_type, None).await?;
            Ok(Outcome {
                location: self.client.location(&item.key),
                ..Outcome::default()
            })
        })
        .await
    }

    pub(super) async fn bulk_delete(&self, operation: &Operation) -> Result<Answer, CallError> {
        each(operation, "key", |key: Key| async move {
            self.client.delete(&key.0).await?;
            Ok(Outcome::default())
        })
        .await
    }
}

/// A key alone.
#[derive(Deserialize)]
struct Key(String);

/// What names an object.
trait Named {
    fn key(&self) -> &str;
}

impl Named for Item {
    fn key(&self) -> &str {
        &self.key
    }
}

impl Named for Key {
    fn key(&self) -> &str {
        &self.0
    }
}

/// Does the same with each of those that a request names, and tells of all in their order.
async fn each<T: Named + DeserializeOwned, F: Future<Output = Result<Outcome, CallError>>>(
    operation: &Operation,
    what: &str,
    work: impl Fn(T) -> F,
) -> Result<Answer, CallError> {
    let name = &operation.name;
    let asked: Many<T> =
        serde_json::from_slice(&operation.data).map_err(|error| wrong(&format!("invalid {name} payload: {error}")))?;
    if asked.items.is_empty() {
        return Err(wrong(&format!("{name} requires at least one {what}")));
    }
    let at_once = asked.concurrency.unwrap_or(AT_ONCE);
    if at_once <= 0 {
        return Err(wrong(&format!("concurrency must be greater than 0, got {at_once}")));
    }
    let at_once = usize::try_from(at_once).unwrap_or(MOST_AT_ONCE).min(MOST_AT_ONCE);
    let outcome = |item: T| {
        let key = item.key().to_owned();
        let work = (!key.trim().is_empty()).then(|| work(item));
        async move {
            let outcome = match work {
                Some(work) => work.await,
                None => Err(CallError::Invalid("key is required".into())),
            };
            let outcome = outcome.unwrap_or_else(|error| Outcome {
                error: error.to_string(),
                ..Outcome::default()
            });
            Outcome { key, ..outcome }
        }
    };
    let outcomes = futures_util::stream::iter(asked.items).map(outcome).buffered(at_once);
    let outcomes: Vec<Outcome> = outcomes.collect().await;
    let told = serde_json::to_vec(&outcomes).map_err(|error| CallError::Other(error.to_string()))?;
    Ok(Answer {
        data: Some(told.into()),
        ..Answer::default()
    })
}
