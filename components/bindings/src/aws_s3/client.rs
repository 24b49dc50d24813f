//! Calls of the service: signed, bounded, and with its own words where it refuses.
//!
//! One idea: a signed address is made for one call; it goes into no log and no error. Must never send a key that an address
//! cannot say: `.` and `..` would lead to another object, or another bucket.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use palladium_component::{CallError, MetadataError, OpenError};
use palladium_components_web::client_builder;
use reqwest::{Method, Response};
use rusty_s3::{Bucket, UrlStyle, signing};
use secrecy::ExposeSecret as _;
use url::Url;

use super::metadata::{S3Metadata, Signer, wrong};
use crate::answer::{read, unavailable};

/// Bytes of one object, or of all that one call tells of.
pub(super) const LONGEST: usize = 128 << 20;
/// Bytes of an answer that is no object.
const LONGEST_WORDS: usize = 16 << 20;
/// Characters of a service's words in an error.
const LONGEST_TOLD: usize = 1024;
/// How long the address of one call holds.
const SIGNED_FOR: Duration = Duration::from_secs(15 * 60);
const SILENCE: Duration = Duration::from_secs(60);
const WHOLE: Duration = Duration::from_secs(10 * 60);

/// One bucket.
pub(super) struct Client {
    http: reqwest::Client,
    bucket: Bucket,
    signer: Signer,
}

/// One call. Query and headers are in the order of their names, which are in small letters.
#[derive(Default)]
pub(super) struct Call<'a> {
    pub(super) key: &'a str,
    pub(super) query: Vec<(&'a str, &'a str)>,
    /// Those that are signed.
    pub(super) headers: Vec<(&'a str, String)>,
    pub(super) content_type: Option<&'a str>,
    pub(super) body: Bytes,
}

impl Client {
    /// `hosted`: whether a tenant says the endpoint.
    pub(super) fn new(metadata: &S3Metadata, endpoint: Url, signer: Signer, hosted: bool) -> Result<Self, OpenError> {
        let style = match metadata.force_path_style {
            true => UrlStyle::Path,
            false => UrlStyle::VirtualHost,
        };
        let bucket = Bucket::new(endpoint, style, metadata.bucket.clone(), signer.region.clone());
        let remedy = "write 'https://host:port', and set 'forcePathStyle' where the host is no name";
        let bucket = bucket.map_err(|_| MetadataError::new("endpoint", "it cannot be used", remedy))?;
        if metadata.insecure_ssl {
            tracing::warn!("aws s3: any certificate is accepted, because of 'insecureSSL'");
        }
        let http = client_builder(hosted)
            .read_timeout(SILENCE)
            .timeout(WHOLE)
            .tls_danger_accept_invalid_certs(metadata.insecure_ssl)
            .build();
        let wrong = |_| OpenError::Unavailable("no HTTP client can be made".into());
        Ok(Client {
            http: http.map_err(wrong)?,
            bucket,
            signer,
        })
    }

    /// Where an object is, for those who may read it.
    pub(super) fn location(&self, key: &str) -> String {
        self.bucket.object_url(key).into()
    }

    /// An address from which anybody can read an object for a while.
    pub(super) fn presigned(&self, key: &str, life: Duration) -> Result<Url, CallError> {
        check(key)?;
        let call = Call { key, ..Call::default() };
        Ok(self.signed(rusty_s3::Method::Get, &call, life))
    }

    fn signed(&self, method: rusty_s3::Method, call: &Call<'_>, life: Duration) -> Url {
        let url = match call.key {
            "" => self.bucket.base_url().clone(),
            key => self.bucket.object_url(key),
        };
        signing::sign(
            &Timestamp::now(),
            method,
            url,
            self.signer.key.expose_secret(),
            self.signer.secret.expose_secret(),
            self.signer.token.as_ref().map(|token| token.expose_secret()),
            &self.signer.region,
            life.as_secs(),
            call.query.iter().copied(),
            call.headers.iter().map(|(name, value)| (*name, value.as_str())),
        )
    }

    pub(super) async fn put(&self, call: Call<'_>) -> Result<Response, CallError> {
        check(call.key)?;
        let url = self.signed(rusty_s3::Method::Put, &call, SIGNED_FOR);
        let mut request = self.http.request(Method::PUT, url).body(call.body);
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        if let Some(content_type) = call.content_type {
            request = request.header(reqwest::header::CONTENT_TYPE, content_type);
        }
        accepted(request.send().await.map_err(unavailable)?).await
    }

    /// An object.
    pub(super) async fn get(&self, key: &str) -> Result<Bytes, CallError> {
        check(key)?;
        let call = Call { key, ..Call::default() };
        let answer = self.ask(Method::GET, rusty_s3::Method::Get, &call).await?;
        whole(answer, LONGEST).await
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), CallError> {
        check(key)?;
        let call = Call { key, ..Call::default() };
        self.ask(Method::DELETE, rusty_s3::Method::Delete, &call)
            .await
            .map(drop)
    }

    /// What the service says about the bucket, in XML.
    pub(super) async fn about(&self, query: Vec<(&str, &str)>) -> Result<Bytes, CallError> {
        let call = Call {
            query,
            ..Call::default()
        };
        let answer = self.ask(Method::GET, rusty_s3::Method::Get, &call).await?;
        whole(answer, LONGEST_WORDS).await
    }

    async fn ask(&self, method: Method, signed: rusty_s3::Method, call: &Call<'_>) -> Result<Response, CallError> {
        let url = self.signed(signed, call, SIGNED_FOR);
        accepted(self.http.request(method, url).send().await.map_err(unavailable)?).await
    }
}

async fn whole(mut answer: Response, longest: usize) -> Result<Bytes, CallError> {
    match read(&mut answer, longest).await? {
        (data, true) => Ok(data.freeze()),
        (_, false) => Err(CallError::Other(format!(
            "s3 binding error: the answer is longer than {longest} bytes"
        ))),
    }
}

/// The answer, unless it is a refusal.
async fn accepted(mut answer: Response) -> Result<Response, CallError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let (words, _) = read(&mut answer, LONGEST_WORDS).await?;
    let (code, message) = std::str::from_utf8(&words).ok().and_then(refusal).unwrap_or_default();
    if code == "NoSuchKey" {
        return Err(CallError::Other("object not found".into()));
    }
    let text = match code.is_empty() {
        true => format!("s3 binding error: the service answered {status}"),
        false => format!("s3 binding error: the service answered {status}: {code}: {message}"),
    };
    Err(match status.is_server_error() {
        true => CallError::Unavailable(text),
        false => CallError::Other(text),
    })
}

/// Code and message of an error in XML.
fn refusal(xml: &str) -> Option<(String, String)> {
    let document = roxmltree::Document::parse(xml).ok()?;
    let text = |name: &str| {
        let found = document.root_element().children().find(|node| node.has_tag_name(name));
        let text = found.and_then(|node| node.text()).unwrap_or_default();
        text.chars().take(LONGEST_TOLD).collect()
    };
    Some((text("Code"), text("Message")))
}

/// Refuses keys that an address cannot say.
fn check(key: &str) -> Result<(), CallError> {
    match key.split('/').any(|part| part == "." || part == "..") {
        true => Err(wrong("a key with '.' or '..' between slashes cannot be used")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_read() {
        let xml = "<?xml version=\"1.0\"?><Error><Code>NoSuchBucket</Code><Message>none</Message></Error>";
        assert_eq!(refusal(xml), Some(("NoSuchBucket".into(), "none".into())));
        assert_eq!(refusal("no"), None);
    }

    #[test]
    fn keys_that_lead_elsewhere_are_refused() {
        for key in ["..", "../b/c", "a/./b", "a/.."] {
            assert!(check(key).is_err(), "{key}");
        }
        for key in ["a", "/a", "a..b", ".hidden", "a//b"] {
            assert!(check(key).is_ok(), "{key}");
        }
    }
}
