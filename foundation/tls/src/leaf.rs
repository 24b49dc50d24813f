//! Reads a leaf certificate and holds it to the rules of an X.509-SVID.
//!
//! One idea: everything that the SPIFFE standard asks of a validator beyond path validation is in [`Leaf::read`], so no
//! caller can check the chain and forget the leaf. Extended key usage is checked with the chain, for the role that the
//! peer plays: absent is accepted (the standard only recommends it), present without that role is refused.
//! Never judges trust or time.

use palladium_spiffe::SpiffeId;
use x509_parser::asn1_rs::Any;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate, X509Extension};

use crate::TlsError;

/// What a workload's certificate says, once its form is right. Its signature proves nothing yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The one URI SAN.
    pub id: SpiffeId,
    /// Start of validity, Unix seconds. Palladium's Sentry sets it to the instant of issue.
    pub not_before: i64,
    /// End of validity, Unix seconds.
    pub not_after: i64,
}

/// Whose rules a leaf is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// The SPIFFE standard's.
    Spiffe,
    /// Dapr's, for the drop-in forms: a certificate that says nothing about key usage may be used, too.
    Dapr,
}

impl Leaf {
    /// Parses DER and applies the standard's rules.
    ///
    /// # Errors
    /// The first rule that the certificate breaks.
    pub fn read(der: &[u8]) -> Result<Self, TlsError> {
        Self::read_by(der, Rules::Spiffe)
    }

    /// Parses DER and applies these rules.
    ///
    /// # Errors
    /// The first rule that the certificate breaks.
    pub fn read_by(der: &[u8], rules: Rules) -> Result<Self, TlsError> {
        let cert = parse(der)?;
        if !cert.extensions().iter().all(is_read) {
            return Err(MALFORMED);
        }
        let id = only_uri(&cert)?;
        if !id.is_workload() {
            return Err(TlsError::RootPath);
        }
        if is_ca(&cert)? {
            return Err(TlsError::CaAsLeaf);
        }
        match cert.key_usage().map_err(|_| MALFORMED)? {
            Some(usage) => {
                let usage = usage.value;
                if usage.key_cert_sign() || usage.crl_sign() || !usage.digital_signature() {
                    return Err(TlsError::KeyUsage);
                }
            }
            None if rules == Rules::Dapr => {}
            None => return Err(TlsError::KeyUsage),
        }
        let validity = cert.validity();
        Ok(Self {
            id,
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
        })
    }
}

/// Whether the library has read all of an extension. To it one that it cannot read is as good as absent, and so is what stands
/// behind its value; whoever decides by extensions must refuse both.
pub fn is_read(extension: &X509Extension<'_>) -> bool {
    let is_whole = Any::from_der(extension.value).is_ok_and(|(rest, _)| rest.is_empty());
    let parsed = extension.parsed_extension();
    is_whole && !matches!(parsed, ParsedExtension::ParseError { .. } | ParsedExtension::Unparsed)
}

const MALFORMED: TlsError = TlsError::Malformed { what: "certificate" };

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, TlsError> {
    match X509Certificate::from_der(der) {
        Ok(([], cert)) => Ok(cert),
        _ => Err(MALFORMED),
    }
}

fn only_uri(cert: &X509Certificate<'_>) -> Result<SpiffeId, TlsError> {
    let names = cert.subject_alternative_name().map_err(|_| MALFORMED)?;
    let names = names.iter().flat_map(|extension| &extension.value.general_names);
    // What the library cannot read may be a second URI, which other readers see.
    if names.clone().any(|name| matches!(name, GeneralName::Invalid(..))) {
        return Err(MALFORMED);
    }
    let uris: Vec<&str> = names
        .filter_map(|name| {
            if let GeneralName::URI(uri) = name {
                Some(*uri)
            } else {
                None
            }
        })
        .collect();
    match uris[..] {
        [uri] => Ok(SpiffeId::parse(uri)?),
        _ => Err(TlsError::UriCount(uris.len())),
    }
}

fn is_ca(cert: &X509Certificate<'_>) -> Result<bool, TlsError> {
    Ok(cert
        .basic_constraints()
        .map_err(|_| MALFORMED)?
        .is_some_and(|extension| extension.value.ca))
}

/// A root's end of validity in Unix seconds; an error if it is no CA certificate.
pub(crate) fn root_not_after(der: &[u8]) -> Result<i64, TlsError> {
    let cert = parse(der)?;
    if !is_ca(&cert)? {
        return Err(TlsError::NotCa);
    }
    Ok(cert.validity().not_after.timestamp())
}

/// Whether a certificate in the middle of a chain may sign others. webpki checks `cA`, but not the key usage.
pub(crate) fn check_issuer(der: &[u8]) -> Result<(), TlsError> {
    match parse(der)?.key_usage() {
        Ok(Some(usage)) if usage.value.key_cert_sign() => Ok(()),
        Ok(_) => Err(TlsError::IssuerKeyUsage),
        Err(_) => Err(MALFORMED),
    }
}
