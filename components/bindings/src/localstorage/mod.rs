//! `bindings.localstorage`: files below one folder.
//!
//! The one idea: a file's name is a path below the folder, and the kernel sees to it that it stays there (see [`folder`]).
//! Must never be opened in platform mode, nor read more than [`MAX_BYTES`] of a file or more of all together than there is
//! room for.

mod folder;

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use folder::Folder;
use palladium_component::bindings::{Answer, Binding, BindingDriver, BindingError, Metadata, Operation, Ways};
use palladium_component::{CallError, ComponentMetadata, Hosted, MetadataError, OpenContext, OpenError, Reply, Status};
use serde_json::json;
use tokio::sync::Semaphore;
use uuid::Uuid;

/// The driver.
pub const DRIVER: BindingDriver = BindingDriver {
    type_name: "bindings.localstorage",
    aliases: &[],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Refused,
    fields: FolderMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// Greatest file that is read.
const MAX_BYTES: u64 = 100 << 20;
/// Bytes of all files that are being read in this process.
static READING: Semaphore = Semaphore::const_new(256 << 20);
const OPERATIONS: [&str; 4] = ["create", "get", "list", "delete"];
/// Where nobody keeps files of an application, though a service account's token may lie there.
const NEVER: [&str; 5] = ["/proc", "/sys", "/boot", "/var/run/secrets", "/run/secrets"];

/// What a component says.
#[derive(Debug, ComponentMetadata)]
struct FolderMetadata {
    /// The folder; it is made if it is not there.
    root_path: String,
}

async fn open(context: OpenContext) -> Result<Arc<dyn Binding>, OpenError> {
    let metadata = FolderMetadata::parse(&context.properties)?;
    let said = metadata.root_path;
    let made = tokio::task::spawn_blocking(move || {
        let wrong = |reason: String| MetadataError::new("rootPath", reason, "name a folder");
        // Before it is made, as far as it is there; and after, whatever links led to.
        let absolute = std::path::absolute(&said).map_err(|error| wrong(error.to_string()))?;
        let there = absolute.ancestors().find_map(|path| path.canonicalize().ok());
        let forbidden = |path: &Path| NEVER.iter().any(|never| path.starts_with(never));
        if forbidden(&absolute) || there.is_some_and(|path| forbidden(&path)) {
            return Err(wrong("it points to a disallowed location".to_owned()));
        }
        std::fs::create_dir_all(&absolute).map_err(|error| wrong(format!("it cannot be made: {error}")))?;
        let whole = absolute.canonicalize().map_err(|error| wrong(error.to_string()))?;
        if forbidden(&whole) {
            return Err(wrong("it points to a disallowed location".to_owned()));
        }
        Ok(whole)
    });
    let root = made
        .await
        .map_err(|_| OpenError::Unavailable("the folder cannot be looked at".to_owned()))??;
    Ok(Arc::new(LocalStorage(Folder::new(root))))
}

struct LocalStorage(Folder);

impl Binding for LocalStorage {
    fn ways(&self) -> Ways {
        Ways { out: true, into: false }
    }

    fn operations(&self) -> Vec<String> {
        OPERATIONS.map(str::to_owned).to_vec()
    }

    fn invoke<'a>(&'a self, operation: &'a Operation) -> Reply<'a, Answer, BindingError> {
        Reply::wait(async move {
            let data = self.call(operation).await?;
            Ok(Answer {
                data,
                metadata: Metadata::new(),
            })
        })
    }
}

impl LocalStorage {
    async fn call(&self, operation: &Operation) -> Result<Option<Bytes>, CallError> {
        let folder = self.0.clone();
        let name = operation.metadata.get("fileName").cloned().unwrap_or_default();
        match operation.name.as_str() {
            "create" => {
                let name = if name.is_empty() {
                    Uuid::new_v4().to_string()
                } else {
                    name
                };
                let data = plain(&operation.data);
                let name = blocking(move || folder.write(&name, &data)).await?;
                Ok(Some(json!({ "fileName": name }).to_string().into()))
            }
            "get" => {
                let data = blocking(move || {
                    folder.read(&name, |size| {
                        if size > MAX_BYTES {
                            return Err(CallError::Invalid(format!("the file has more than {MAX_BYTES} bytes")));
                        }
                        let held = READING.try_acquire_many(u32::try_from(size).unwrap_or(u32::MAX));
                        held.map_err(|_| CallError::Unavailable("too much data of files is held at a time".to_owned()))
                    })
                });
                data.await.map(|data| Some(data.into()))
            }
            "list" => {
                let files = blocking(move || folder.list(&name)).await?;
                Ok(Some(json!(files).to_string().into()))
            }
            "delete" => blocking(move || folder.delete(&name)).await.map(|()| None),
            other => Err(CallError::Invalid(format!("unsupported operation {other}"))),
        }
    }
}

/// What is to be written: a JSON text is its content, and what is base64 what it stands for, as in Dapr.
fn plain(data: &Bytes) -> Bytes {
    let text: Option<String> = serde_json::from_slice(data).ok();
    let data = text.map_or_else(|| data.clone(), Bytes::from);
    let line: Vec<u8> = data
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b'\r' | b'\n'))
        .collect();
    STANDARD.decode(line).map_or(data, Bytes::from)
}

/// Where waiting for a disk holds nobody up.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CallError> + Send + 'static,
) -> Result<T, CallError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(CallError::Other("the folder cannot be used".to_owned())))
}

#[cfg(test)]
mod tests;
