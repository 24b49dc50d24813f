//! The lock API over HTTP: protobuf's JSON.
//!
//! One idea: names are read in both spellings that protobuf's JSON has, unknown ones are passed over. Must never decide
//! anything: `crate::lock` does, for both protocols.

use http::StatusCode;
use palladium_component::lock::Unlocked;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::body::Incoming;
use super::{Answer, body, json};
use crate::errors::Fault;
use crate::lock;
use crate::server::Server;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Request {
    #[serde(alias = "resource_id", deserialize_with = "or_default")]
    resource_id: String,
    #[serde(alias = "lock_owner", deserialize_with = "or_default")]
    lock_owner: String,
    #[serde(alias = "expiry_in_seconds", deserialize_with = "whole_number")]
    expiry_in_seconds: i32,
}

/// `null` is as good as absent.
fn or_default<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

/// A number, or a text that is one, without a fraction.
fn whole_number<'de, D: Deserializer<'de>>(value: D) -> Result<i32, D::Error> {
    let wrong = || serde::de::Error::custom("invalid value for int32 field expiryInSeconds");
    let number = match Value::deserialize(value)? {
        Value::Null => return Ok(0),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let number = number.filter(|number| number.fract() == 0.0).ok_or_else(wrong)?;
    // The range is checked first, so nothing is cut off.
    let range = f64::from(i32::MIN)..=f64::from(i32::MAX);
    if range.contains(&number) {
        Ok(number as i32)
    } else {
        Err(wrong())
    }
}

async fn read(server: &Server, incoming: Incoming) -> Result<Request, Fault> {
    let bytes = body::read(incoming, server.max_body()).await?;
    if bytes.is_empty() {
        return Ok(Request::default());
    }
    let request = serde_json::from_slice(&bytes);
    request.map_err(|error| Fault::malformed(format!("failed deserializing HTTP body: {error}")))
}

pub(super) async fn try_lock(server: &Server, store: &str, incoming: Incoming) -> Answer {
    let Request {
        resource_id,
        lock_owner,
        expiry_in_seconds,
    } = read(server, incoming).await?;
    let taken = lock::try_lock(server, store, &resource_id, &lock_owner, expiry_in_seconds).await?;
    Ok(json(StatusCode::OK, format!(r#"{{"success":{taken}}}"#)))
}

pub(super) async fn unlock(server: &Server, store: &str, incoming: Incoming) -> Answer {
    let request = read(server, incoming).await?;
    let freed = lock::unlock(server, store, &request.resource_id, &request.lock_owner).await?;
    // The numbers of the protocol's enumeration.
    let status = match freed {
        Unlocked::Success => 0,
        Unlocked::DoesNotExist => 1,
        Unlocked::BelongsToOthers => 2,
    };
    Ok(json(StatusCode::OK, format!(r#"{{"status":{status}}}"#)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_as_protobufs_json_reads_them() {
        let read =
            |text: &str| serde_json::from_str::<Request>(text).map(|read| (read.resource_id, read.expiry_in_seconds));
        for (text, expected) in [
            (r#"{"resourceId":"r","expiryInSeconds":5,"more":[1]}"#, 5),
            (r#"{"resource_id":"r","expiry_in_seconds":"5"}"#, 5),
            (r#"{"resourceId":"r","expiryInSeconds":5.0,"lockOwner":null}"#, 5),
            (r#"{"resourceId":"r"}"#, 0),
        ] {
            assert_eq!(read(text).unwrap(), ("r".to_owned(), expected), "{text}");
        }
        for text in [
            r#"{"expiryInSeconds":1.5}"#,
            r#"{"expiryInSeconds":3e9}"#,
            r#"{"expiryInSeconds":true}"#,
            r#"{"resourceId":1}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
