//! Secrets that a permitted reader asks for through the control plane.
//!
//! One idea: the guard rails decide here, and every request is recorded here, whatever the control plane recorded.

use bytes::Bytes;
use palladium_proto::region::{ReadBackRequest, ReadBackResponse, read_back_request::What};
use palladium_sealing::{ExposeSecret as _, SecretString};

use crate::region::Region;

/// Answers one request. Blocks on local disk (the audit log).
pub(crate) fn answer(region: &Region, request: ReadBackRequest) -> ReadBackResponse {
    let allow = region.rails().allow.secret_read_back;
    let (action, object, allowed, secret) = match &request.what {
        Some(What::AppTokenUid(uid)) => ("appToken.read", uid.clone(), allow.app_tokens, app_token(region, uid)),
        Some(What::SecretField(field)) => (
            "secret.read",
            format!("{}/{}", field.uid, field.field),
            allow.component_secrets,
            secret(region, &field.uid, &field.field),
        ),
        None => ("secret.read", String::new(), false, None),
    };
    let actor: String = request.actor.chars().filter(|c| !c.is_control()).take(256).collect();
    let (value, error) = match (allowed, secret) {
        (false, _) => (Bytes::new(), "denied-by-guard-rails"),
        (true, None) => (Bytes::new(), "not-found"),
        (true, Some(secret)) => (Bytes::copy_from_slice(secret.expose_secret().as_bytes()), ""),
    };
    let outcome = if error.is_empty() { "allowed" } else { error };
    region.audit_event(&actor, action, &object, outcome);
    ReadBackResponse {
        request_id: request.request_id,
        value,
        error: error.to_owned(),
    }
}

fn app_token(region: &Region, uid: &str) -> Option<SecretString> {
    let exists = region
        .desired()
        .entry(uid)
        .and_then(|entry| entry.admitted())
        .is_some_and(|a| a.app().is_some());
    if exists { region.tokens.current(uid) } else { None }
}

fn secret(region: &Region, uid: &str, field: &str) -> Option<SecretString> {
    let desired = region.desired();
    let object = desired.entry(uid)?.admitted()?.clone();
    // Only what the object refers to now; a value that was replaced by a plain one is no longer its secret.
    object
        .managed_references()
        .iter()
        .find(|(_, referred)| referred == field)?;
    region.secrets.get(uid, field)
}
