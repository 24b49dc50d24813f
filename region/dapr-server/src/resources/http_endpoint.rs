//! An HTTPEndpoint as it is declared: a service outside that is called by a name, as if it were an App ID.
//!
//! One idea: what it is called with (headers, certificate, key) is a secret from the first moment on, wherever it came from.
//! One that lacks a part is kept and says so when it is called: without it, its name would mean somebody else, or the
//! service would be called without its credentials. Must never show a header's value, nor what an address holds beside the
//! address.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use http::uri::{Authority, Scheme};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::component::{Auth, Found, Pair, Reference, without_value};
use super::{ObjectMeta, References, in_namespace, in_scope, list, text};
use crate::app_channel::is_hop_by_hop;

/// A declared endpoint.
#[derive(Clone, Debug)]
pub struct HttpEndpoint {
    /// What it is called by.
    pub name: String,
    /// Where it is.
    pub base: BaseUrl,
    /// What goes along with every call, in place of what the caller says under these names.
    pub headers: Vec<(HeaderName, SecretString)>,
    /// PEM; `None` = whom the operating system trusts.
    pub root_ca: Option<SecretString>,
    /// Own certificate and its key, PEM; both or none.
    pub certificate: Option<SecretString>,
    /// See `certificate`.
    pub private_key: Option<SecretString>,
    /// Name of the secret store that has what is referred to; empty = none.
    pub secret_store: String,
    /// What is still to be asked for there.
    references: Vec<(Part, Reference)>,
    /// Why it cannot be called.
    pub unusable: Option<String>,
}

/// A part of an endpoint whose value may be elsewhere.
#[derive(Clone, Debug)]
pub enum Part {
    /// A header.
    Header(HeaderName),
    /// The roots.
    RootCa,
    /// The own certificate.
    Certificate,
    /// Its key.
    PrivateKey,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header {name}"),
            Self::RootCa => f.write_str("clientTLS.rootCA"),
            Self::Certificate => f.write_str("clientTLS.certificate"),
            Self::PrivateKey => f.write_str("clientTLS.privateKey"),
        }
    }
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    metadata: ObjectMeta,
    spec: Spec,
    #[serde(default, deserialize_with = "list")]
    scopes: Vec<String>,
    #[serde(default)]
    auth: Auth,
}

// Dapr reads the names of members in any case; these are the ones that are written.
#[derive(Deserialize)]
struct Spec {
    #[serde(rename = "baseUrl", alias = "baseURL", alias = "baseurl", deserialize_with = "text")]
    base_url: String,
    #[serde(default, deserialize_with = "list")]
    headers: Vec<Pair>,
    #[serde(default, rename = "clientTLS", alias = "clientTls")]
    client_tls: Option<ClientTls>,
}

#[derive(Deserialize)]
struct ClientTls {
    #[serde(default, rename = "rootCA", alias = "rootCa")]
    root_ca: Option<Pair>,
    #[serde(default)]
    certificate: Option<Pair>,
    #[serde(default, rename = "privateKey")]
    private_key: Option<Pair>,
    #[serde(default)]
    renegotiation: Option<String>,
}

impl HttpEndpoint {
    /// Reads one document of kind HTTPEndpoint; `None` when it is not meant for this App ID.
    ///
    /// # Errors
    /// The message names the field; it never repeats a value.
    pub fn read(
        document: Value,
        app_id: &str,
        namespace: &str,
        references: References<'_>,
    ) -> Result<Option<Self>, String> {
        let Manifest {
            metadata,
            spec,
            scopes,
            auth,
        } = serde_json::from_value(document).map_err(|error| format!("HTTPEndpoint: {}", without_value(&error)))?;
        if !in_namespace(namespace, &metadata.namespace) || !in_scope(&scopes, app_id) {
            return Ok(None);
        }
        let wrong = |reason: String| format!("HTTPEndpoint {}: {reason}", metadata.name);
        if metadata.name.is_empty() {
            return Err("HTTPEndpoint: metadata.name is missing".to_owned());
        }
        let (base, credentials) = BaseUrl::parse(&spec.base_url).map_err(|error| wrong(format!("baseUrl: {error}")))?;
        let mut endpoint = Self {
            name: metadata.name.clone(),
            base,
            headers: Vec::new(),
            root_ca: None,
            certificate: None,
            private_key: None,
            secret_store: auth.secret_store,
            references: Vec::new(),
            unusable: None,
        };
        if let Some(credentials) = credentials {
            endpoint.headers.push((http::header::AUTHORIZATION, credentials));
        }
        for pair in &spec.headers {
            let name = HeaderName::try_from(&pair.name);
            let name = name.map_err(|_| wrong(format!("spec.headers: {:?} is no name of a header", pair.name)))?;
            if is_hop_by_hop(&name) {
                tracing::warn!(
                    "Header {name} of HTTPEndpoint {} is left out: connections have their own",
                    metadata.name
                );
                continue;
            }
            endpoint.take(Part::Header(name), pair, references);
        }
        if let Some(tls) = spec.client_tls {
            let parts = [
                (Part::RootCa, tls.root_ca),
                (Part::Certificate, tls.certificate),
                (Part::PrivateKey, tls.private_key),
            ];
            for (part, pair) in parts {
                if let Some(pair) = pair {
                    endpoint.take(part, &pair, references);
                }
            }
            match tls.renegotiation.as_deref() {
                None | Some("" | "Never") => {}
                Some("OnceAsClient" | "FreelyAsClient") => tracing::warn!(
                    "HTTPEndpoint {}: a service that asks for another handshake is not answered: clientTLS.renegotiation \
                     is always Never",
                    metadata.name
                ),
                Some(_) => {
                    return Err(wrong(
                        "clientTLS.renegotiation is none of Never, OnceAsClient, FreelyAsClient".to_owned(),
                    ));
                }
            }
        }
        Ok(Some(endpoint))
    }

    fn take(&mut self, part: Part, pair: &Pair, references: References<'_>) {
        match pair.find(&self.secret_store, references) {
            Found::Value(value) => self.fill(part, value),
            Found::Elsewhere(reference) => self.references.push((part, reference)),
            Found::Nowhere(reason) => self.refuse(&part, &reason),
        }
    }

    /// What is still to be asked for; who takes it fills it in, or says why not.
    pub fn take_references(&mut self) -> Vec<(Part, Reference)> {
        std::mem::take(&mut self.references)
    }

    /// Sets the value of a part; an empty one is none.
    pub fn fill(&mut self, part: Part, value: String) {
        let value = SecretString::from(value);
        let document = |value: SecretString| Some(value).filter(|value| !value.expose_secret().trim().is_empty());
        match part {
            Part::Header(name) => {
                // As Go does: of two that are called the same the last one counts.
                self.headers.retain(|(other, _)| *other != name);
                self.headers.push((name, value));
            }
            Part::RootCa => self.root_ca = document(value),
            Part::Certificate => self.certificate = document(value),
            Part::PrivateKey => self.private_key = document(value),
        }
    }

    /// A part cannot be had.
    pub fn refuse(&mut self, part: &Part, reason: &str) {
        self.unusable.get_or_insert_with(|| format!("{part}: {reason}"));
    }

    /// A number for all that it says: two that have the same are the same.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        };
        add(&self.name);
        add(&self.base.to_string());
        for part in [&self.root_ca, &self.certificate, &self.private_key] {
            add(part.as_ref().map_or("", |part| part.expose_secret()));
        }
        add(self.unusable.as_deref().unwrap_or_default());
        for (name, value) in &self.headers {
            add(name.as_str());
            add(value.expose_secret());
        }
        hash.finalize().into()
    }
}

/// The address that calls begin with: scheme, host and port, path. It holds no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// Whether it is called over TLS.
    pub secure: bool,
    /// Host and port.
    pub authority: Authority,
    /// Without a slash at its end.
    pub path: String,
}

/// Not an address that calls can begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No URL.
    #[error("it is no address: write 'https://host/path'")]
    Malformed,
    /// It has a query or a fragment.
    #[error("it must end with its path: leave out what follows '?' or '#'")]
    Query,
}

impl BaseUrl {
    /// From the text of an address; the credentials in it apart, as the value of a header.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn parse(text: &str) -> Result<(Self, Option<SecretString>), AddressError> {
        // The library also reads `http:host`, and leaves out what is no part of an address: others may read it otherwise.
        let starts = |start: &str| {
            text.get(..start.len())
                .is_some_and(|first| first.eq_ignore_ascii_case(start))
        };
        let odd = |byte: u8| byte <= b' ' || byte == b'\\' || byte == 0x7f;
        if !(starts("http://") || starts("https://")) || text.bytes().any(odd) {
            return Err(AddressError::Malformed);
        }
        let url = Url::parse(text).map_err(|_| AddressError::Malformed)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(AddressError::Query);
        }
        let host = url
            .host_str()
            .filter(|host| !host.is_empty())
            .ok_or(AddressError::Malformed)?;
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let base = Self {
            secure: url.scheme() == "https",
            authority: authority.parse().map_err(|_| AddressError::Malformed)?,
            path: url.path().trim_end_matches('/').to_owned(),
        };
        Ok((base, credentials(&url)))
    }

    /// The name or address in it.
    pub fn host(&self) -> &str {
        self.authority.host()
    }

    /// Its scheme.
    pub fn scheme(&self) -> Scheme {
        if self.secure { Scheme::HTTPS } else { Scheme::HTTP }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority, self.path)
    }
}

/// `user:password@`, as clients send it.
fn credentials(url: &Url) -> Option<SecretString> {
    let (user, password) = (url.username(), url.password().unwrap_or_default());
    if user.is_empty() && password.is_empty() {
        return None;
    }
    let decoded = |text| percent_decode_str(text).collect::<Vec<u8>>();
    let both = [decoded(user), decoded(password)].join(&b':');
    Some(SecretString::from(format!("Basic {}", STANDARD.encode(both))))
}

#[cfg(test)]
mod tests;
