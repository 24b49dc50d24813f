//! Phase three: turns an order into a certificate.
//!
//! One idea: everything in the certificate comes from the [`Order`] or is a constant here; the end of validity is cut to the
//! issuer's and the root's. An expired issuer never signs.

use palladium_spiffe::SpiffeId;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType, SubjectPublicKeyInfo,
};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::authority::{Authority, pem_of, serial};

/// What to certify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) id: SpiffeId,
    /// DER of the SubjectPublicKeyInfo.
    pub(crate) public_key: Vec<u8>,
    /// Names of Dapr's own services in Kubernetes; empty for everybody else.
    pub(crate) dns: Vec<String>,
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
}

/// A certificate that has been signed.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    /// Leaf first, no root.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// Hexadecimal.
    pub(crate) serial: String,
    pub(crate) not_after: OffsetDateTime,
}

impl Issued {
    /// The chain as PEM text.
    pub(crate) fn pem(&self) -> String {
        self.chain.iter().map(|certificate| pem_of(certificate)).collect()
    }
}

/// Why signing failed; for the log, callers learn nothing of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignError {
    #[error("the issuer is not valid now")]
    IssuerNotValid,
    #[error("nothing is left of the certificate's life")]
    NoLifeLeft,
    #[error(transparent)]
    Encode(#[from] rcgen::Error),
}

/// Signs an order at the instant `now`.
pub(crate) fn sign(order: &Order, authority: &Authority, now: OffsetDateTime) -> Result<Issued, SignError> {
    if now < authority.not_before || now >= authority.not_after {
        return Err(SignError::IssuerNotValid);
    }
    let not_after = order.not_after.min(authority.not_after);
    if not_after <= now || not_after <= order.not_before {
        return Err(SignError::NoLifeLeft);
    }
    let serial = serial();
    let mut params = CertificateParams::default();
    // An empty subject makes the names critical, as SPIFFE wants.
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(serial.clone());
    params.not_before = order.not_before;
    params.not_after = not_after;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.subject_alt_names = vec![SanType::URI(order.id.as_str().try_into()?)];
    for name in &order.dns {
        params
            .subject_alt_names
            .push(SanType::DnsName(name.as_str().try_into()?));
    }
    let key = SubjectPublicKeyInfo::from_der(&order.public_key)?;
    let leaf = params.signed_by(&key, &authority.issuer)?;
    let mut chain = vec![leaf.der().clone()];
    chain.extend(authority.chain.iter().cloned());
    let serial = serial.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Issued {
        chain,
        serial,
        not_after,
    })
}
