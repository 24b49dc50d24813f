//! The secrets API over HTTP.
//!
//! Must never decide anything: `crate::secret_stores` does, for both protocols.

use std::collections::BTreeMap;

use http::StatusCode;

use super::{Answer, Head, json};
use crate::secret_stores;
use crate::server::Server;

pub(super) async fn get(server: &Server, head: &Head, store: &str, name: &str) -> Answer {
    let secret = secret_stores::get(server, store, name, &head.metadata()).await?;
    Ok(json(StatusCode::OK, text(&secret.0)))
}

pub(super) async fn get_all(server: &Server, head: &Head, store: &str) -> Answer {
    let secrets = secret_stores::get_all(server, store, &head.metadata()).await?;
    let values: BTreeMap<&String, &BTreeMap<String, String>> =
        secrets.iter().map(|(name, secret)| (name, &secret.0)).collect();
    Ok(json(StatusCode::OK, text(&values)))
}

fn text(value: &impl serde::Serialize) -> Vec<u8> {
    // Maps of text cannot fail to be written.
    serde_json::to_vec(value).unwrap_or_default()
}
