//! Phase four: our own verifier must accept what we signed, before anybody gets it.
//!
//! One idea: an authority that issues certificates which its zone refuses is found here, not in an outage. Must never
//! verify a chain by other code than the listeners use (`palladium_tls`): a second opinion would not find their
//! refusal.

use palladium_tls::{Side, verify_svid};
use rustls_pki_types::UnixTime;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};

use crate::{
    authority::{Authority, parse},
    sign::{Issued, Order},
};

/// Compares the certificate with its order and verifies its chain for both sides of a connection, at the instant `now`.
/// Returns what is wrong.
pub(crate) fn check(issued: &Issued, order: &Order, authority: &Authority, now: OffsetDateTime) -> Result<(), String> {
    let (leaf, intermediates) = issued.chain.split_first().ok_or("no certificate")?;
    let seconds = u64::try_from(now.unix_timestamp()).map_err(|_| "the clock is before 1970")?;
    let unix = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    for side in [Side::Client, Side::Server] {
        let said =
            verify_svid(leaf, intermediates, &authority.bundles, unix, side).map_err(|error| error.to_string())?;
        if said.id != order.id {
            return Err(format!("the certificate names {} instead of {}", said.id, order.id));
        }
        if said.not_after > authority.not_after.unix_timestamp() {
            return Err("the certificate outlives its issuer".to_owned());
        }
    }
    let leaf = parse(leaf).map_err(|error| error.to_string())?;
    let (_, ordered) =
        SubjectPublicKeyInfo::from_der(&order.public_key).map_err(|_| "the ordered key is malformed".to_owned())?;
    if leaf.public_key().subject_public_key.data != ordered.subject_public_key.data {
        return Err("the certificate holds another key".to_owned());
    }
    Ok(())
}
