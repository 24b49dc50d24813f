//! Operations on single objects.
//!
//! One idea: data that are one JSON text are that text, as in Dapr. Must never read a file where [`allow_files`] has not
//! been asked: [`Options`] holds a path only where it was.
//!
//! [`allow_files`]: super::metadata::allow_files

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use palladium_component::CallError;
use palladium_component::bindings::{Answer, Operation};
use serde_json::{Value, json};

use super::client::{Call, LONGEST};
use super::metadata::{Options, wrong};
use super::{S3, list};

impl S3 {
    pub(super) async fn create(&self, operation: &Operation, options: &Options) -> Result<Answer, CallError> {
        let metadata = &operation.metadata;
        let key = match metadata.get("key").filter(|key| !key.is_empty()) {
            Some(key) => key.clone(),
            None => uuid::Uuid::new_v4().to_string(),
        };
        let tags = metadata.get("tags").map(|tags| tagging(tags)).transpose()?;
        let data = match &options.file_path {
            Some(path) => file(path).await?,
            None => unquoted(&operation.data),
        };
        let content_type = metadata.get("Content-Type").map(|text| text.trim());
        let answer = self.store(&key, data, options, content_type, tags).await?;
        let version = answer
            .headers()
            .get("x-amz-version-id")
            .and_then(|version| version.to_str().ok());
        let mut told = json!({"location": self.client.location(&key), "versionID": version});
        if let Some(life) = options.presign_ttl {
            told["presignURL"] = Value::from(self.client.presigned(&key, life)?.as_str());
        }
        Ok(Answer {
            data: Some(told.to_string().into()),
            metadata: [("key".to_owned(), key)].into(),
        })
    }

    /// Stores an object.
    pub(super) async fn store(
        &self,
        key: &str,
        data: Bytes,
        options: &Options,
        content_type: Option<&str>,
        tags: Option<String>,
    ) -> Result<reqwest::Response, CallError> {
        let body = match options.decode_base64 {
            true => decoded(&data)?,
            false => data,
        };
        let storage_class = options
            .storage_class
            .clone()
            .map(|class| ("x-amz-storage-class", class));
        let tags = tags.map(|tags| ("x-amz-tagging", tags));
        let call = Call {
            key,
            headers: storage_class.into_iter().chain(tags).collect(),
            content_type: content_type.filter(|text| !text.is_empty()),
            body,
            ..Call::default()
        };
        self.client.put(call).await
    }

    pub(super) async fn get(&self, operation: &Operation, options: &Options) -> Result<Answer, CallError> {
        let data = self.client.get(key(operation)?).await?;
        let data = match options.encode_base64 {
            true => STANDARD.encode(&data).into(),
            false => data,
        };
        Ok(Answer {
            data: Some(data),
            ..Answer::default()
        })
    }

    pub(super) async fn delete(&self, operation: &Operation) -> Result<Answer, CallError> {
        self.client.delete(key(operation)?).await?;
        Ok(Answer::default())
    }

    pub(super) fn presign(&self, operation: &Operation, options: &Options) -> Result<Answer, CallError> {
        let key = key(operation)?;
        let missing = || wrong("required metadata 'presignTTL' missing");
        let url = self.client.presigned(key, options.presign_ttl.ok_or_else(missing)?)?;
        Ok(Answer {
            data: Some(json!({"presignURL": url.as_str()}).to_string().into()),
            ..Answer::default()
        })
    }

    pub(super) async fn list(&self, operation: &Operation) -> Result<Answer, CallError> {
        let asked = list::Asked::read(&operation.data)?;
        let most = asked.most();
        let xml = self.client.about(asked.query(&most)).await?;
        let told = std::str::from_utf8(&xml).ok().and_then(list::told);
        let told = told.ok_or_else(|| CallError::Other("s3 binding error: the list cannot be read".into()))?;
        Ok(Answer {
            data: Some(told.to_string().into()),
            ..Answer::default()
        })
    }
}

fn key(operation: &Operation) -> Result<&str, CallError> {
    let key = operation
        .metadata
        .get("key")
        .map(String::as_str)
        .filter(|key| !key.is_empty());
    key.ok_or_else(|| wrong("required metadata 'key' missing"))
}

/// The content of a file.
pub(super) async fn file(path: &str) -> Result<Bytes, CallError> {
    let failed = |error: std::io::Error| wrong(&format!("file read error: {error}"));
    let about = tokio::fs::metadata(path).await.map_err(failed)?;
    if !about.is_file() || about.len() > LONGEST as u64 {
        return Err(wrong(&format!(
            "file read error: it is no file, or longer than {LONGEST} bytes"
        )));
    }
    Ok(tokio::fs::read(path).await.map_err(failed)?.into())
}

/// What stands in a JSON text; everything else as it is.
fn unquoted(data: &Bytes) -> Bytes {
    match data.starts_with(b"\"").then(|| serde_json::from_slice::<String>(data)) {
        Some(Ok(text)) => text.into(),
        _ => data.clone(),
    }
}

fn decoded(data: &[u8]) -> Result<Bytes, CallError> {
    let text: Vec<u8> = data.iter().copied().filter(|byte| !b"\r\n".contains(byte)).collect();
    match STANDARD.decode(text) {
        Ok(data) => Ok(data.into()),
        Err(_) => Err(wrong("uploading failed: the data are no Base64")),
    }
}

/// `name=value,name=value` as the service takes it.
fn tagging(tags: &str) -> Result<String, CallError> {
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    for tag in tags.split(',') {
        let pair = tag
            .trim()
            .split_once('=')
            .map(|(name, value)| (name.trim(), value.trim()));
        match pair {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => text.append_pair(name, value),
            _ => return Err(wrong("tags cannot be used: write 'name=value', with commas between")),
        };
    }
    Ok(text.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_are_what_stands_in_a_json_text() {
        for (data, expected) in [
            (&b"\"a\\nb\""[..], &b"a\nb"[..]),
            (b"plain", b"plain"),
            (b"{\"a\": 1}", b"{\"a\": 1}"),
            (b"\"half", b"\"half"),
            (b"\xff\x00", b"\xff\x00"),
        ] {
            assert_eq!(unquoted(&Bytes::from_static(data)), expected);
        }
        assert_eq!(decoded(b"AAH\n/").unwrap(), &[0, 1, 255][..]);
        assert!(decoded(b"hunter2!").unwrap_err().to_string().contains("Base64"));
    }

    #[test]
    fn tags_are_pairs() {
        assert_eq!(tagging("a=1, b=x y&z").unwrap(), "a=1&b=x+y%26z");
        for wrong in ["", "a", "a=", "=b", "a=1,,b=2"] {
            assert!(tagging(wrong).is_err(), "{wrong}");
        }
    }
}
