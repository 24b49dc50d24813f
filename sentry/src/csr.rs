//! Reads a certificate signing request: its key, and what else it asks for.
//!
//! One idea: of a request only the proven public key is ever used; the rest is read to be compared or refused. Must
//! never be taken for permission: a name in it is at most compared, and a wish to be a CA is only reported.

use std::net::IpAddr;

use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, pem::PemObject};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509CertificationRequest};

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
        let curve = info
            .subject_pki
            .algorithm
            .parameters
            .as_ref()
            .and_then(|curve| curve.as_oid().ok());
        let mut csr = Self {
            public_key: info.subject_pki.raw.to_vec(),
            is_p256: curve.is_some_and(|curve| curve.to_id_string() == P256),
            uris: Vec::new(),
            dns: Vec::new(),
            ips: Vec::new(),
            other_names: false,
            wants_ca: false,
        };
        for extension in request.requested_extensions().into_iter().flatten() {
            csr.take(extension);
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

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}
