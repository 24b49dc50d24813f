//! Lists of objects: the service's XML as the JSON that Dapr's binding tells, which is a Go library's own.
//!
//! Must never fail because the service says something that is not asked for.

use palladium_component::CallError;
use roxmltree::{Document, Node};
use serde::Deserialize;
use serde_json::{Value, json};

use super::metadata::wrong;

/// How many objects are told when nobody says.
const MOST: i64 = 1000;

/// What a request asks for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Asked {
    marker: String,
    prefix: String,
    max_results: i64,
    delimiter: String,
}

impl Asked {
    pub(super) fn read(data: &[u8]) -> Result<Self, CallError> {
        if data.is_empty() {
            return Ok(Asked::default());
        }
        let asked: Result<Option<Asked>, _> = serde_json::from_slice(data);
        let failed = |error| wrong(&format!("(List Operation) unable to parse Data property: {error}"));
        Ok(asked.map_err(failed)?.unwrap_or_default())
    }

    pub(super) fn most(&self) -> String {
        let most = if self.max_results < 1 { MOST } else { self.max_results };
        most.to_string()
    }

    /// In the order of names.
    pub(super) fn query<'a>(&'a self, most: &'a str) -> Vec<(&'a str, &'a str)> {
        vec![
            ("delimiter", &self.delimiter),
            ("marker", &self.marker),
            ("max-keys", most),
            ("prefix", &self.prefix),
        ]
    }
}

/// The JSON of a list; `None` when it is none.
pub(super) fn told(xml: &str) -> Option<Value> {
    let document = Document::parse(xml).ok()?;
    let list = document.root_element();
    if list.tag_name().name() != "ListBucketResult" {
        return None;
    }
    let contents: Vec<Value> = all(list, "Contents").map(object).collect();
    let prefixes: Vec<Value> = all(list, "CommonPrefixes")
        .map(|prefix| json!({"Prefix": text(prefix, "Prefix")}))
        .collect();
    // Where there is none, Go tells of nothing instead of an empty list.
    let or_null = |items: Vec<Value>| if items.is_empty() { Value::Null } else { items.into() };
    Some(json!({
        "CommonPrefixes": or_null(prefixes),
        "Contents": or_null(contents),
        "Delimiter": text(list, "Delimiter"),
        "EncodingType": text(list, "EncodingType").unwrap_or_default(),
        "IsTruncated": text(list, "IsTruncated") == Some("true"),
        "Marker": text(list, "Marker"),
        "MaxKeys": number(list, "MaxKeys"),
        "Name": text(list, "Name"),
        "NextMarker": text(list, "NextMarker"),
        "Prefix": text(list, "Prefix"),
        "RequestCharged": "",
        "ResultMetadata": {},
    }))
}

fn object(object: Node<'_, '_>) -> Value {
    let owner = all(object, "Owner")
        .next()
        .map(|owner| json!({"DisplayName": text(owner, "DisplayName"), "ID": text(owner, "ID")}));
    let checksums: Vec<&str> = all(object, "ChecksumAlgorithm").filter_map(|one| one.text()).collect();
    json!({
        "ChecksumAlgorithm": if checksums.is_empty() { Value::Null } else { checksums.into() },
        "ChecksumType": text(object, "ChecksumType").unwrap_or_default(),
        "ETag": text(object, "ETag"),
        "Key": text(object, "Key"),
        "LastModified": text(object, "LastModified").map(moment),
        "Owner": owner,
        "RestoreStatus": null,
        "Size": number(object, "Size"),
        "StorageClass": text(object, "StorageClass").unwrap_or_default(),
    })
}

fn all<'a, 'input: 'a>(node: Node<'a, 'input>, name: &'static str) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(move |child| child.tag_name().name() == name)
}

/// The text of an element; empty where it has none, nothing where there is no such element.
fn text<'a>(node: Node<'a, '_>, name: &'static str) -> Option<&'a str> {
    node.children()
        .find(|child| child.tag_name().name() == name)
        .map(|child| child.text().unwrap_or_default())
}

fn number(node: Node<'_, '_>, name: &'static str) -> Option<i64> {
    text(node, name).and_then(|text| text.parse().ok())
}

/// `….000Z` as Go writes it: without a fraction of nothing.
fn moment(text: &str) -> String {
    match text.strip_suffix('Z').and_then(|text| text.split_once('.')) {
        Some((whole, fraction)) => match fraction.trim_end_matches('0') {
            "" => format!("{whole}Z"),
            fraction => format!("{whole}.{fraction}Z"),
        },
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_as_gos_library_tells_them() {
        let xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
            <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><Prefix>p</Prefix><Marker/>\
            <MaxKeys>2</MaxKeys><Delimiter>/</Delimiter><IsTruncated>true</IsTruncated><NextMarker>p/c</NextMarker>\
            <Contents><Key>p&amp;a</Key><LastModified>2026-01-02T03:04:05.120Z</LastModified><ETag>&quot;e&quot;</ETag>\
            <Size>5</Size><Owner><ID>o</ID></Owner><StorageClass>STANDARD</StorageClass></Contents>\
            <CommonPrefixes><Prefix>p/c/</Prefix></CommonPrefixes></ListBucketResult>";
        let told = told(xml).unwrap();
        assert_eq!(told["Contents"][0]["Key"], "p&a");
        assert_eq!(told["Contents"][0]["ETag"], "\"e\"");
        assert_eq!(told["Contents"][0]["Size"], 5);
        assert_eq!(told["Contents"][0]["LastModified"], "2026-01-02T03:04:05.12Z");
        assert_eq!(told["Contents"][0]["Owner"], json!({"DisplayName": null, "ID": "o"}));
        assert_eq!(told["CommonPrefixes"], json!([{"Prefix": "p/c/"}]));
        assert_eq!(
            (&told["IsTruncated"], &told["NextMarker"], &told["Marker"]),
            (&json!(true), &json!("p/c"), &json!(""))
        );
        assert_eq!(super::told("<Other/>"), None);
        let bomb = "<!DOCTYPE a [<!ENTITY x \"y\">]><ListBucketResult>&x;</ListBucketResult>";
        assert_eq!(super::told(bomb), None);
    }

    #[test]
    fn what_is_asked_for() {
        let asked = Asked::read(br#"{"prefix": "p", "maxResults": 0}"#).unwrap();
        let most = asked.most();
        assert_eq!(asked.query(&most)[2..], [("max-keys", "1000"), ("prefix", "p")]);
        assert!(Asked::read(b"").is_ok() && Asked::read(b"[1]").is_err());
    }
}
