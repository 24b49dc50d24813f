//! `bindings.http`: calls of a service by HTTP.
//!
//! The one idea: the operation is the method; metadata that begins with a capital letter are headers of the request, and the
//! answer's status and headers come back as metadata, also when the status makes it an error. Must never read an answer
//! longer than allowed or more of all together than there is room for, nor wait for one without end.

mod metadata;

use std::sync::Arc;
use std::time::Duration;

use ::http::header::{ACCEPT, CONTENT_TYPE};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method};
use metadata::HttpMetadata;
use palladium_component::bindings::{Answer, Binding, BindingDriver, BindingError, Metadata, Operation, Ways};
use palladium_component::metadata::FieldType as _;
use palladium_component::{CallError, ComponentMetadata, Hosted, MetadataError, OpenContext, OpenError, Reply, Status};
use palladium_components_web as web;
use reqwest::{Client, Response, Url};
use secrecy::{ExposeSecret as _, SecretString};

use crate::answer::{read, unavailable};

/// The driver.
pub const DRIVER: BindingDriver = BindingDriver {
    type_name: "bindings.http",
    aliases: &[],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields: HttpMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// How long an answer may take when nobody says.
const TIMEOUT: Duration = Duration::from_secs(60);
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
/// Metadata that are headers although they begin with a small letter.
const TRACING: [&str; 3] = ["traceparent", "tracestate", "baggage"];
/// What the connection, the address and the body decide; metadata of these names are ignored, as Go's client does.
const OURS: [&str; 12] = [
    "host",
    "content-length",
    "transfer-encoding",
    "trailer",
    "connection",
    "keep-alive",
    "proxy-authorization",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "upgrade",
    "expect",
];
const OPERATIONS: [&str; 9] = [
    "create", "get", "head", "post", "put", "patch", "delete", "options", "trace",
];

async fn open(context: OpenContext) -> Result<Arc<dyn Binding>, OpenError> {
    let metadata = HttpMetadata::parse(&context.properties)?;
    let base = web::address("url", &metadata.url, context.hosting.is_platform())?;
    let token = match (&metadata.security_token_header, &metadata.security_token) {
        (Some(header), Some(token)) if !header.is_empty() && !token.expose_secret().is_empty() => {
            let name = HeaderName::try_from(header);
            let name = name.map_err(|_| MetadataError::new("securityTokenHeader", "it is no header", "correct it"))?;
            Some((name, token.clone()))
        }
        _ => None,
    };
    Ok(Arc::new(Http {
        client: metadata.client(&context.hosting).await?,
        base,
        token,
        error_if_not_2xx: metadata.error_if_not_2xx,
        timeout: metadata.response_timeout.unwrap_or(TIMEOUT),
        longest: metadata.max_response_body_size.0.unwrap_or(usize::MAX),
    }))
}

struct Http {
    client: Client,
    base: Url,
    token: Option<(HeaderName, SecretString)>,
    error_if_not_2xx: bool,
    timeout: Duration,
    /// Bytes.
    longest: usize,
}

impl Binding for Http {
    fn ways(&self) -> Ways {
        Ways { out: true, into: false }
    }

    fn operations(&self) -> Vec<String> {
        OPERATIONS.map(str::to_owned).to_vec()
    }

    fn invoke<'a>(&'a self, operation: &'a Operation) -> Reply<'a, Answer, BindingError> {
        Reply::wait(self.call(operation))
    }
}

fn method(operation: &str) -> Result<Method, CallError> {
    let name = operation.to_ascii_uppercase();
    match name.as_str() {
        "CREATE" => Ok(Method::POST),
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" | "TRACE" => {
            Method::from_bytes(name.as_bytes()).map_err(|error| CallError::Invalid(error.to_string()))
        }
        _ => Err(CallError::Invalid(format!("invalid operation: {operation}"))),
    }
}

impl Http {
    async fn call(&self, operation: &Operation) -> Result<Answer, BindingError> {
        let method = method(&operation.name)?;
        if method == Method::TRACE && self.token.is_some() {
            let reason = "operation trace would show the security token";
            return Err(CallError::Invalid(reason.into()).into());
        }
        let url = self.url(&operation.metadata)?;
        let has_body = [Method::POST, Method::PUT, Method::PATCH].contains(&method);
        let headers = self.headers(&operation.metadata, has_body)?;
        let mut request = self.client.request(method, url).headers(headers).timeout(self.timeout);
        if has_body {
            request = request.body(operation.data.clone());
        }
        let mut answer = request.send().await.map_err(unavailable)?;
        let metadata = about(&answer);
        let status = answer.status();
        // What is beyond the bound is left.
        let (data, _) = read(&mut answer, self.longest).await?;
        let strict = match operation.metadata.get("errorIfNot2XX").filter(|said| !said.is_empty()) {
            Some(said) => bool::parse(said).unwrap_or(false),
            None => self.error_if_not_2xx,
        };
        if strict && !status.is_success() {
            let error = CallError::Other(format!("received status code {}", status.as_u16()));
            return Err(BindingError { error, metadata });
        }
        Ok(Answer {
            data: Some(data.freeze()),
            metadata,
        })
    }

    /// The base with the request's path behind it; the path cannot name another host.
    fn url(&self, metadata: &Metadata) -> Result<Url, CallError> {
        let Some(path) = metadata.get("path").filter(|path| !path.is_empty()) else {
            return Ok(self.base.clone());
        };
        let text = format!(
            "{}/{}",
            self.base.as_str().trim_end_matches('/'),
            path.trim_start_matches('/')
        );
        let url = Url::parse(&text).map_err(|_| CallError::Invalid("the path is none".into()))?;
        if url.origin() != self.base.origin() {
            return Err(CallError::Invalid("the path names another host".into()));
        }
        Ok(url)
    }

    fn headers(&self, metadata: &Metadata, has_body: bool) -> Result<HeaderMap, CallError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, JSON);
        if has_body {
            headers.insert(CONTENT_TYPE, JSON);
        }
        if let Some((name, token)) = &self.token {
            let value = HeaderValue::from_str(token.expose_secret());
            let mut value = value.map_err(|_| CallError::Invalid("the security token is no header's value".into()))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        for (name, value) in metadata {
            let is_header = name.starts_with(|c: char| c.is_ascii_uppercase()) || TRACING.contains(&name.as_str());
            if !is_header || value.is_empty() && TRACING.contains(&name.as_str()) {
                continue;
            }
            let invalid = || CallError::Invalid(format!("metadata {name:?} is no header"));
            let header = HeaderName::try_from(name).map_err(|_| invalid())?;
            if OURS.contains(&header.as_str()) || self.token.as_ref().is_some_and(|(name, _)| *name == header) {
                continue;
            }
            headers.insert(header, HeaderValue::try_from(value).map_err(|_| invalid())?);
        }
        Ok(headers)
    }
}

/// Status and headers, as metadata.
fn about(answer: &Response) -> Metadata {
    let status = answer.status();
    let mut metadata: Metadata = [
        ("statusCode".to_owned(), status.as_u16().to_string()),
        ("status".to_owned(), status.to_string()),
    ]
    .into();
    for name in answer.headers().keys() {
        let values = answer.headers().get_all(name).iter();
        let values: Vec<String> = values
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        metadata.insert(canonical(name.as_str()), values.join(", "));
    }
    metadata
}

/// `content-type` as Go writes it: `Content-Type`.
fn canonical(name: &str) -> String {
    let mut start = true;
    name.chars()
        .map(|c| {
            let written = if start { c.to_ascii_uppercase() } else { c };
            start = c == '-';
            written
        })
        .collect()
}

#[cfg(test)]
mod tests;
