//! The document of Dapr's query API (alpha), read as far as every store needs it.
//!
//! Must never change a filter's operand: it goes to the store as the application wrote it.

use std::collections::HashMap;

use bytes::Bytes;
use palladium_component::state::{Metadata, QueryRequest};
use serde_json::{Value, value::RawValue};

/// Reads a query document. The error is the message for people.
pub(crate) fn parse(document: &str, metadata: Metadata) -> Result<QueryRequest, String> {
    let members: HashMap<String, Box<RawValue>> = serde_json::from_str(document).map_err(|error| error.to_string())?;
    let mut request = QueryRequest {
        metadata,
        ..QueryRequest::default()
    };
    if let Some(filter) = members.get("filter") {
        let filter: HashMap<String, Box<RawValue>> =
            serde_json::from_str(filter.get()).map_err(|error| format!("filter: {error}"))?;
        request.filter = filter
            .into_iter()
            .map(|(name, operand)| (name, Bytes::from(operand.get().to_string())))
            .collect();
    }
    let member = |name: &str| {
        members
            .get(name)
            .map(|raw| serde_json::from_str::<Value>(raw.get()).unwrap_or_default())
    };
    for item in member("sort").as_ref().and_then(Value::as_array).into_iter().flatten() {
        let key = item["key"].as_str().ok_or("sort: every entry needs a key")?;
        let descending = match item["order"].as_str() {
            None | Some("ASC" | "") => false,
            Some("DESC") => true,
            Some(_) => return Err("sort: order must be ASC or DESC".into()),
        };
        request.sort.push((key.to_string(), descending));
    }
    let page = member("page").unwrap_or_default();
    request.limit = page["limit"].as_u64().unwrap_or(0);
    request.token = page["token"].as_str().unwrap_or_default().to_string();
    Ok(request)
}
