//! Calls of services outside, which are no App IDs: HTTP endpoints by their name and, in the drop-in form, any address.
//!
//! One idea: an endpoint is found by the name that a caller wrote, before any App ID of that name, and is called as the own
//! application is: same method, same headers, nothing of the connection before; who calls is not told to outsiders. An
//! answer that points elsewhere is the caller's to follow: what an endpoint is called with goes to its own address only.
//! Must never call an address that nobody declared where tenants are, call an endpoint without a part of what it is to be
//! called with, nor say any of that in an error.

mod client;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use palladium_components_web::is_refused;
use palladium_tls::{PublicCert, pem_certificates};
use secrecy::ExposeSecret as _;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use client::{Client, Roots, client};

use super::local::Call;
use super::peers::split;
use super::reply::{InvokeError, Reply};
use super::watched::{Watched, Why};
use super::{metadata, peers};
use crate::app_channel::{CallError, failure};
use crate::http::Body;
use crate::resources::{AddressError, BaseUrl, HttpEndpoint};
use crate::server::Server;

/// How long the head of an answer may take. The original waits for ever; a policy of the user's is shorter.
const HEAD: Duration = Duration::from_secs(300);

/// Why an endpoint was not called, or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// It lacks something.
    #[error("HTTP endpoint {name} cannot be called: {reason}")]
    Unusable {
        /// Which.
        name: String,
        /// What it lacks.
        reason: String,
    },
    /// An address instead of a name, where only declared endpoints may be called.
    #[error("an address cannot be called here: declare an HTTPEndpoint and call it by its name")]
    Undeclared,
    /// An address that is none.
    #[error("invalid address: {0}")]
    Address(#[from] AddressError),
    /// An address with credentials in it.
    #[error("an address must not hold credentials: declare an HTTPEndpoint and call it by its name")]
    Credentials,
    /// It cannot be reached, or ended the connection.
    #[error("{at}: {reason}")]
    Unreachable {
        /// Name or address.
        at: String,
        /// Why.
        reason: String,
    },
    /// It did not answer in time.
    #[error("{at}: no answer within {after:?}")]
    Late {
        /// Name or address.
        at: String,
        /// How long it had.
        after: Duration,
    },
}

impl EndpointError {
    /// Whether the next call would end like this one.
    pub(super) fn is_final(&self) -> bool {
        !matches!(self, Self::Unreachable { .. } | Self::Late { .. })
    }
}

/// All endpoints of this process.
pub struct Endpoints {
    declared: ArcSwap<Declared>,
    /// Whether tenants call: addresses are refused then.
    hosted: bool,
    /// For addresses that are called without having been declared, without and with TLS.
    plain: OnceCell<Client>,
    secure: OnceCell<Client>,
}

#[derive(Default)]
struct Declared {
    /// In the order in which they were declared.
    names: Vec<String>,
    by_name: HashMap<String, Arc<Endpoint>>,
}

/// One that was declared.
pub(super) struct Endpoint {
    name: String,
    base: BaseUrl,
    headers: HeaderMap,
    roots: Roots,
    own: Option<PublicCert>,
    unusable: Option<String>,
    fingerprint: [u8; 32],
    client: OnceCell<Client>,
}

/// What a caller means.
pub(super) enum Place {
    /// An endpoint.
    Declared(Arc<Endpoint>),
    /// An address.
    Address(BaseUrl),
}

impl Endpoints {
    /// None yet. `hosted`: tenants call, so that only what is declared may be called, and only at addresses that lead out of
    /// this machine.
    pub fn new(hosted: bool) -> Self {
        Self {
            declared: ArcSwap::default(),
            hosted,
            plain: OnceCell::new(),
            secure: OnceCell::new(),
        }
    }

    /// These and no others from now on. Of two with one name the later one counts; one that is the same as before keeps its
    /// connections. Those that cannot be called come back, with the reason: whoever calls one is told it, too.
    pub fn set(&self, endpoints: Vec<HttpEndpoint>) -> Vec<(String, String)> {
        let old = self.declared.load();
        let mut declared = Declared::default();
        for endpoint in endpoints {
            let same = old.by_name.get(&endpoint.name);
            let same = same.filter(|old| old.fingerprint == endpoint.fingerprint()).cloned();
            let endpoint = same.unwrap_or_else(|| Arc::new(Endpoint::new(endpoint, self.hosted)));
            if let Some(reason) = &endpoint.unusable {
                tracing::error!("HTTP endpoint {} cannot be called: {reason}", endpoint.name);
            }
            let name = endpoint.name.clone();
            if declared.by_name.insert(name.clone(), endpoint).is_none() {
                declared.names.push(name);
            }
        }
        let unusable = declared.by_name.values();
        let unusable = unusable.filter_map(|endpoint| Some((endpoint.name.clone(), endpoint.unusable.clone()?)));
        let unusable = unusable.collect();
        self.declared.store(Arc::new(declared));
        unusable
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        self.declared.load().names.clone()
    }

    /// What a caller means by a target, if it is no App ID.
    pub(super) fn find(
        &self,
        target: &str,
        own: &peers::Peers,
        namespace: &str,
    ) -> Result<Option<Place>, EndpointError> {
        if is_address(target) {
            if self.hosted {
                return Err(EndpointError::Undeclared);
            }
            return match BaseUrl::parse(target)? {
                (base, None) => Ok(Some(Place::Address(base))),
                (_, Some(_)) => Err(EndpointError::Credentials),
            };
        }
        let declared = self.declared.load();
        if declared.names.is_empty() {
            return Ok(None);
        }
        let named = |name: &str| declared.by_name.get(name).cloned().map(Place::Declared);
        let in_namespace = || match split(target, namespace) {
            Ok((name, namespace)) if own.is_own_namespace(namespace) => named(name),
            _ => None,
        };
        Ok(named(target).or_else(in_namespace))
    }

    /// The name of what a circuit breaker guards: an address and its path, an endpoint as a whole, or an App ID's method.
    pub(super) fn guarded(&self, target: &str, method: &str) -> String {
        if is_address(target) {
            return format!("{target}/{method}");
        }
        match self.declared.load().by_name.get(target) {
            Some(endpoint) => format!("{target}:{}", endpoint.base),
            None => format!("{target}:{method}"),
        }
    }

    async fn client<'a>(&'a self, place: &'a Place) -> Result<&'a Client, EndpointError> {
        let (cell, roots, own, name) = match place {
            Place::Address(base) if base.secure => (&self.secure, &Roots::System, None, base.to_string()),
            Place::Address(base) => (&self.plain, &Roots::Nobody, None, base.to_string()),
            Place::Declared(endpoint) => {
                if let Some(reason) = &endpoint.unusable {
                    return Err(unusable(&endpoint.name, reason));
                }
                let name = endpoint.name.clone();
                (&endpoint.client, &endpoint.roots, endpoint.own.as_ref(), name)
            }
        };
        let made = cell.get_or_try_init(|| client(roots.clone(), own.cloned(), self.hosted));
        made.await.map_err(|reason| unusable(&name, &reason))
    }
}

fn is_address(target: &str) -> bool {
    target.starts_with("http://") || target.starts_with("https://")
}

fn unusable(name: &str, reason: &str) -> EndpointError {
    EndpointError::Unusable {
        name: name.to_owned(),
        reason: reason.to_owned(),
    }
}

impl Endpoint {
    fn new(declared: HttpEndpoint, hosted: bool) -> Self {
        let fingerprint = declared.fingerprint();
        let mut endpoint = Self {
            fingerprint,
            headers: HeaderMap::with_capacity(declared.headers.len()),
            roots: if declared.base.secure {
                Roots::System
            } else {
                Roots::Nobody
            },
            own: None,
            unusable: None,
            client: OnceCell::new(),
            name: declared.name,
            base: declared.base,
        };
        let lacks = match declared.unusable {
            Some(reason) => Err(reason),
            // Names are judged when they are resolved.
            None if hosted && is_refused(endpoint.base.host()) => {
                Err("baseUrl: that address may not be called here".to_owned())
            }
            None => endpoint.fill(
                &declared.headers,
                declared.root_ca.as_ref().map(|pem| pem.expose_secret()),
                declared.certificate.as_ref().map(|pem| pem.expose_secret()),
                declared.private_key.as_ref().map(|pem| pem.expose_secret()),
            ),
        };
        endpoint.unusable = lacks.err();
        endpoint
    }

    /// Reads what it is to be called with. The reason why it cannot be read never quotes it.
    fn fill(
        &mut self,
        headers: &[(HeaderName, secrecy::SecretString)],
        root_ca: Option<&str>,
        certificate: Option<&str>,
        private_key: Option<&str>,
    ) -> Result<(), String> {
        for (name, value) in headers {
            let value = HeaderValue::from_str(value.expose_secret());
            let mut value = value.map_err(|_| format!("header {name}: its value cannot be one of a header"))?;
            value.set_sensitive(true);
            self.headers.insert(name, value);
        }
        if !self.base.secure {
            if root_ca.or(certificate).or(private_key).is_some() {
                tracing::warn!(
                    "HTTP endpoint {} is called without TLS: its clientTLS has no effect",
                    self.name
                );
            }
            return Ok(());
        }
        if let Some(pem) = root_ca {
            let roots = pem_certificates(pem.as_bytes());
            if !roots.is_ok_and(|roots| !roots.is_empty()) {
                return Err("clientTLS.rootCA: it holds no certificate; give a PEM text".to_owned());
            }
            self.roots = Roots::Pem(pem.into());
        }
        self.own = match (certificate, private_key) {
            (None, None) => None,
            (Some(chain), Some(key)) => {
                let own = PublicCert::from_pem(chain.as_bytes(), key.as_bytes());
                let wrong = |error| format!("clientTLS.certificate and clientTLS.privateKey: {error}");
                Some(own.map_err(wrong)?)
            }
            _ => return Err("clientTLS.certificate and clientTLS.privateKey belong together: give both".to_owned()),
        };
        Ok(())
    }
}

impl Place {
    fn base(&self) -> &BaseUrl {
        match self {
            Self::Declared(endpoint) => &endpoint.base,
            Self::Address(base) => base,
        }
    }

    /// As errors say it.
    fn at(&self) -> String {
        match self {
            Self::Declared(endpoint) => format!("HTTP endpoint {}", endpoint.name),
            Self::Address(base) => base.to_string(),
        }
    }
}

/// Calls a service outside. `call`: without what belongs to the caller's connection.
///
/// # Errors
/// When it was not called or did not answer; what it answers is no error.
pub(super) async fn call(server: &Server, place: &Place, call: Call) -> Result<Reply, InvokeError> {
    let client = server.invoke.endpoints.client(place).await?;
    let call = call.into_http()?;
    let base = place.base();
    let mut headers = call.headers;
    metadata::unclaim(&mut headers);
    if let Place::Declared(endpoint) = place {
        for (name, value) in &endpoint.headers {
            headers.insert(name.clone(), value.clone());
        }
    }
    let uri = Uri::builder()
        .scheme(base.scheme())
        .authority(base.authority.clone())
        .path_and_query(format!("{}{}", base.path, call.path))
        .build()
        .map_err(CallError::Request)?;
    let why = Why::default();
    let mut request = Request::new(Watched::watch(call.body, &why));
    *request.method_mut() = call.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    let answer = match timeout(HEAD, client.request(request)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            return Err(match why.take().unwrap_or_else(|| failure(&error)) {
                CallError::Transport(reason) => EndpointError::Unreachable { at: place.at(), reason }.into(),
                // The caller's own body.
                other => InvokeError::App(other),
            });
        }
        Err(_) => {
            let late = EndpointError::Late {
                at: place.at(),
                after: HEAD,
            };
            return Err(late.into());
        }
    };
    let (parts, body) = answer.into_parts();
    let body = server.budget.hold().meter(body).passing();
    Ok(Reply::of_http(parts, Body::Outside(body)))
}
