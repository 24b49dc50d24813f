//! Reads a certificate signing request: its key, and what else it asks for.
//!
//! One idea: of a request only the proven public key is ever used; the rest is read to be compared or refused, all of it:
//! what cannot be read is not left out, it makes the request invalid. Must never be taken for permission: a name in it is at
//! most compared, and a wish to be a CA is only reported.

use std::net::IpAddr;

use palladium_tls::is_read;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, pem::PemObject};
use x509_parser::{
    asn1_rs::{Any, Tag},
    oid_registry::OID_KEY_TYPE_EC_PUBLIC_KEY,
    prelude::{FromDer, GeneralName, ParsedExtension, X509CertificationRequest, X509Extension},
};

use crate::refusal::Refusal;

/// A request whose signature proves possession of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Csr {
    /// DER of the SubjectPublicKeyInfo.
    pub(crate) public_key: Vec<u8>,
    /// The key is ECDSA on P-256.
    pub(crate) is_p256: bool,
    pub(crate) uris: Vec<String>,
    pub(crate) dns: Vec<String>,
    pub(crate) ips: Vec<IpAddr>,
    /// Names of any other kind.
    pub(crate) other_names: bool,
    /// Asks for `cA=true` or a certificate-signing key usage.
    pub(crate) wants_ca: bool,
}

const P256: &str = "1.2.840.10045.3.1.7";
/// The attribute that asks for extensions, 1.2.840.113549.1.9.14, encoded.
const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e];

impl Csr {
    /// From PEM of type `CERTIFICATE REQUEST`, or `CERTIFICATE` as old Dapr clients label it.
    pub(crate) fn parse(pem: &[u8]) -> Result<Self, Refusal> {
        let invalid = || Refusal::malformed("invalid certificate signing request");
        let der = CertificateSigningRequestDer::from_pem_slice(pem)
            .map(|csr| csr.as_ref().to_vec())
            .or_else(|_| CertificateDer::from_pem_slice(pem).map(|cert| cert.as_ref().to_vec()))
            .map_err(|_| invalid())?;
        let Ok(([], request)) = X509CertificationRequest::from_der(&der) else {
            return Err(invalid());
        };
        request
            .verify_signature()
            .map_err(|_| Refusal::malformed("invalid signature"))?;
        let info = &request.certification_request_info;
        let algorithm = &info.subject_pki.algorithm;
        let curve = algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
        // A key of another kind may name a curve, too.
        let curve = curve.filter(|_| algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY);
        let mut csr = Self {
            public_key: info.subject_pki.raw.to_vec(),
            is_p256: curve.is_some_and(|curve| curve.to_id_string() == P256),
            uris: Vec::new(),
            dns: Vec::new(),
            ips: Vec::new(),
            other_names: false,
            wants_ca: false,
        };
        for extension in requested(info.raw).ok_or_else(invalid)? {
            csr.take(extension.parsed_extension());
        }
        Ok(csr)
    }

    fn take(&mut self, extension: &ParsedExtension<'_>) {
        match extension {
            ParsedExtension::SubjectAlternativeName(names) => {
                for name in &names.general_names {
                    match name {
                        GeneralName::URI(uri) => self.uris.push((*uri).to_owned()),
                        GeneralName::DNSName(dns) => self.dns.push((*dns).to_owned()),
                        GeneralName::IPAddress(bytes) => match ip(bytes) {
                            Some(address) => self.ips.push(address),
                            None => self.other_names = true,
                        },
                        _ => self.other_names = true,
                    }
                }
            }
            ParsedExtension::BasicConstraints(constraints) => self.wants_ca |= constraints.ca,
            ParsedExtension::KeyUsage(usage) => self.wants_ca |= usage.key_cert_sign() || usage.crl_sign(),
            _ => {}
        }
    }
}

/// All extensions that are asked for, in however many attributes; the library shows those of the first one. `None` when
/// something is left that cannot be read.
fn requested(info: &[u8]) -> Option<Vec<X509Extension<'_>>> {
    let [info]: [Any<'_>; 1] = values(info)?.try_into().ok()?;
    let [_, _, _, attributes]: [Any<'_>; 4] = values(info.data)?.try_into().ok()?;
    let mut found = Vec::new();
    for attribute in values(attributes.data)? {
        let [name, set]: [Any<'_>; 2] = values(attribute.data)?.try_into().ok()?;
        if name.data != EXTENSION_REQUEST {
            continue;
        }
        let [list]: [Any<'_>; 1] = values(set.data)?.try_into().ok()?;
        if (set.tag(), list.tag()) != (Tag::Set, Tag::Sequence) {
            return None;
        }
        let mut rest = list.data;
        while !rest.is_empty() {
            let (left, extension) = X509Extension::from_der(rest).ok()?;
            if !is_read(&extension) {
                return None;
            }
            found.push(extension);
            rest = left;
        }
    }
    Some(found)
}

/// Values one after the other, to the end.
fn values(der: &[u8]) -> Option<Vec<Any<'_>>> {
    let mut found = Vec::new();
    let mut rest = der;
    while !rest.is_empty() {
        let (left, value) = Any::from_der(rest).ok()?;
        found.push(value);
        rest = left;
    }
    Some(found)
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}
