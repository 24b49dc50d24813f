//! A SPIFFE ID: `spiffe://<trust domain><path>`.
//!
//! A value of this type is valid by construction and equal to another exactly when their bytes are equal.
//! Never accepts a form that would have to be rewritten to be valid.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{MAX_ID_BYTES, ParseError, TrustDomain};

const SCHEME: &str = "spiffe://";

/// A valid SPIFFE ID of at most 2048 bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    uri: Arc<str>,
    trust_domain: TrustDomain,
}

impl SpiffeId {
    /// Parses a URI. The path may be empty (the ID of a trust domain's signing authority); a workload's is not, see
    /// [`SpiffeId::is_workload`].
    pub fn parse(uri: &str) -> Result<Self, ParseError> {
        if uri.len() > MAX_ID_BYTES {
            return Err(ParseError::TooLong);
        }
        let rest = uri.strip_prefix(SCHEME).ok_or(ParseError::Scheme)?;
        let (domain, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let trust_domain = TrustDomain::parse(domain)?;
        check_path(path)?;
        Ok(Self {
            uri: uri.into(),
            trust_domain,
        })
    }

    /// Joins a trust domain and a path such as `/ns/palladium/agent`.
    pub fn new(trust_domain: &TrustDomain, path: &str) -> Result<Self, ParseError> {
        check_path(path)?;
        let uri = format!("{SCHEME}{trust_domain}{path}");
        if uri.len() > MAX_ID_BYTES {
            return Err(ParseError::TooLong);
        }
        Ok(Self {
            uri: uri.into(),
            trust_domain: trust_domain.clone(),
        })
    }

    /// The ID of an application or a service: `/ns/<namespace>/<name>`. Both must be one segment.
    pub fn workload(trust_domain: &TrustDomain, namespace: &str, name: &str) -> Result<Self, ParseError> {
        for segment in [namespace, name] {
            check_segment(segment)?;
        }
        Self::new(trust_domain, &format!("/ns/{namespace}/{name}"))
    }

    /// The whole ID.
    pub fn as_str(&self) -> &str {
        &self.uri
    }

    /// The trust domain, which alone decides which roots may vouch for this ID.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path with its leading slash; empty for a signing authority.
    pub fn path(&self) -> &str {
        &self.uri[SCHEME.len() + self.trust_domain.as_str().len()..]
    }

    /// Whether this ID may name a workload: only one with a path may be in a leaf certificate.
    pub fn is_workload(&self) -> bool {
        !self.path().is_empty()
    }

    /// `(namespace, name)` if the path is exactly `/ns/<namespace>/<name>`.
    pub fn namespace_and_name(&self) -> Option<(&str, &str)> {
        let (namespace, name) = self.path().strip_prefix("/ns/")?.split_once('/')?;
        (!name.contains('/')).then_some((namespace, name))
    }
}

/// The rules of a path: empty, or `/segment` once or more.
pub(crate) fn check_path(path: &str) -> Result<(), ParseError> {
    if path.is_empty() {
        return Ok(());
    }
    let inner = path.strip_prefix('/').ok_or(ParseError::PathStart)?;
    if inner.is_empty() || inner.ends_with('/') {
        return Err(ParseError::TrailingSlash);
    }
    inner.split('/').try_for_each(check_segment)
}

/// The rules of one segment.
pub(crate) fn check_segment(segment: &str) -> Result<(), ParseError> {
    match segment {
        "" => Err(ParseError::EmptySegment),
        "." | ".." => Err(ParseError::DotSegment),
        s if s.bytes().all(is_path_byte) => Ok(()),
        _ => Err(ParseError::PathCharacter),
    }
}

pub(crate) fn is_path_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpiffeId({})", self.uri)
    }
}

impl FromStr for SpiffeId {
    type Err = ParseError;
    fn from_str(s: &str) -> Result<Self, ParseError> {
        Self::parse(s)
    }
}

impl Serialize for SpiffeId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.uri)
    }
}

impl<'de> Deserialize<'de> for SpiffeId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let s = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        Self::parse(&s).map_err(D::Error::custom)
    }
}
