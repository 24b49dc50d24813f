//! Sentry's own SVID, by which its callers know it.
//!
//! One idea: it is a leaf like any other, made by the same phases, and made anew at half of its life or when the authority
//! changes. Its key never leaves the process.

use palladium_spiffe::SpiffeId;
use palladium_tls::{Svid, SvidSource};
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use crate::{
    Error,
    authority::Authority,
    check::check,
    sign::{Order, sign},
};

/// Makes the SVID and returns the instant at which it wants to be renewed.
pub(crate) fn certify(
    id: &SpiffeId,
    authority: &Authority,
    life: Duration,
    source: &SvidSource,
) -> Result<OffsetDateTime, Error> {
    let now = OffsetDateTime::now_utc();
    let key = KeyPair::generate()?;
    let order = Order {
        id: id.clone(),
        public_key: key.subject_public_key_info(),
        dns: Vec::new(),
        not_before: now.replace_nanosecond(0).unwrap_or(now),
        not_after: now + life,
    };
    let issued = sign(&order, authority, now).map_err(|error| Error::Authority(error.to_string()))?;
    check(&issued, &order, authority, now).map_err(Error::Authority)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    source.set(Svid::new(issued.chain, key)?);
    Ok(now + (issued.not_after - now) / 2)
}
