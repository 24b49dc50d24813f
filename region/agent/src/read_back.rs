//! Secrets that a permitted reader asks for through the control plane.
//!
//! One idea: the guard rails decide here, and every request is recorded here, whatever the control plane recorded. Must
//! never hand out a secret without a record on disk that says to whom.

use bytes::Bytes;
use palladium_proto::region::{ReadBackRequest, ReadBackResponse, read_back_request::What};
use palladium_sealing::{ExposeSecret as _, SecretString};

use crate::audit::Event;
use crate::region::Region;

/// The stream takes no larger message than 256 KiB from a region.
const MAX_SECRET: usize = 128 * 1024;

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
    // Both come from outside; a line of the audit log is short.
    let plain = |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(256).collect() };
    let (actor, object) = (plain(&request.actor), plain(&object));
    let (mut value, mut error) = match (allowed, secret) {
        (false, _) => (Bytes::new(), "denied-by-guard-rails"),
        (true, None) => (Bytes::new(), "not-found"),
        (true, Some(secret)) if secret.expose_secret().len() > MAX_SECRET => {
            (Bytes::new(), "the secret is too large to be read back")
        }
        (true, Some(secret)) => (Bytes::copy_from_slice(secret.expose_secret().as_bytes()), ""),
    };
    let event = Event {
        actor: &actor,
        action,
        object: &object,
        outcome: if error.is_empty() { "allowed" } else { error },
        count: 1,
    };
    if region.access.record_before(&event).is_err() {
        (value, error) = (Bytes::new(), "the region's audit log cannot be written");
    }
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
