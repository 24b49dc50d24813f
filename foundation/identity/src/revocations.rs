//! From when on the SVIDs of an ID count, as the agent's tables say it.
//!
//! One idea: every role that follows a table reads it in the same way. Must never drop what an earlier table revoked: each
//! table is complete, and replaces the one before in [`palladium_tls::TrustBundles`].

use std::collections::HashMap;

use palladium_proto::region::Identity;
use palladium_spiffe::SpiffeId;

/// Seconds since 1970 by SPIFFE ID, for [`palladium_tls::TrustBundles::set_revocations`]. What is no SPIFFE ID names nobody.
pub fn revocations(revoked: &[Identity]) -> HashMap<SpiffeId, i64> {
    revoked
        .iter()
        .filter_map(|one| Some((SpiffeId::parse(&one.spiffe_id).ok()?, one.revoked_before_unix_s)))
        .collect()
}
