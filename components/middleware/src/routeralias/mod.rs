//! `middleware.http.routeralias`: other names for paths of the API.
//!
//! The one idea: a name is a template whose `{parts}` take one piece of the path and go along in the query; the first that
//! fits, in the order of their text, is taken. Must never name a path that is no path.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Uri;
use http::request::Parts;
use http::uri::PathAndQuery;
use palladium_component::middleware::{Middleware, MiddlewareDriver, Verdict};
use palladium_component::{
    CallError, ComponentMetadata, Hosted, MetadataError, OpenContext, OpenError, Properties, Reply, Status,
};
use regex::Regex;
use url::form_urlencoded::Serializer;

/// The driver.
pub const DRIVER: MiddlewareDriver = MiddlewareDriver {
    type_name: "middleware.http.routeralias",
    aliases: &[],
    versions: &["v1"],
    status: Status::Alpha,
    hosted: Hosted::Allowed,
    fields: AliasMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// What a component says.
#[derive(Debug, ComponentMetadata)]
struct AliasMetadata {
    /// Object (JSON or YAML) from path templates to paths.
    routes: Option<String>,
}

async fn open(context: OpenContext) -> Result<Arc<dyn Middleware>, OpenError> {
    let aliases: Result<Vec<Alias>, MetadataError> = routes(&context.properties)?
        .into_iter()
        .map(|(from, to)| Alias::new(&from, &to))
        .collect();
    Ok(Arc::new(Aliases(aliases?)))
}

/// The templates with their paths. Components of old give each as a field of its own.
fn routes(properties: &Properties) -> Result<BTreeMap<String, String>, MetadataError> {
    let metadata = AliasMetadata::parse(properties)?;
    let Some(text) = metadata.routes.filter(|_| properties.names().count() == 1) else {
        let pairs = properties.expose();
        return Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
    };
    let wrong = |_| MetadataError::new("routes", "it is no object of texts", "write it as JSON or YAML");
    serde_json::from_str(&text)
        .or_else(|_| serde_saphyr::from_str(&text))
        .map_err(|error: serde_saphyr::Error| wrong(error.to_string()))
}

struct Alias {
    from: Regex,
    /// Names of the parts, in order.
    parts: Vec<String>,
    to: String,
}

impl Alias {
    fn new(from: &str, to: &str) -> Result<Self, MetadataError> {
        let wrong = |reason: String| MetadataError::new("routes", reason, "correct the route");
        if PathAndQuery::try_from(to).is_err() || !to.starts_with('/') {
            return Err(wrong(format!("'{to}' is not a path")));
        }
        let (mut pattern, mut parts, mut rest) = (String::from("^"), Vec::new(), from);
        while let Some((before, after)) = rest.split_once('{') {
            let end = closing(after).ok_or_else(|| wrong(format!("'{from}' has a brace without its other")))?;
            let (name, expression) = after[..end].split_once(':').unwrap_or((&after[..end], "[^/]+"));
            pattern.push_str(&regex::escape(before));
            pattern.push_str(&format!("(?<p{}>{expression})", parts.len()));
            parts.push(name.to_owned());
            rest = &after[end + 1..];
        }
        pattern.push_str(&regex::escape(rest));
        pattern.push('$');
        let from = Regex::new(&pattern).map_err(|_| wrong(format!("'{from}' has an expression that is none")))?;
        Ok(Self {
            from,
            parts,
            to: to.to_owned(),
        })
    }

    /// The path and query in place of a request's, if it is meant.
    fn apply(&self, uri: &Uri) -> Option<String> {
        let found = self.from.captures(uri.path())?;
        let (to, own) = self.to.split_once('?').unwrap_or((&self.to, ""));
        let mut query: Vec<String> = [uri.query().unwrap_or_default(), own]
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect();
        for (index, name) in self.parts.iter().enumerate() {
            let value = found.name(&format!("p{index}")).map_or("", |value| value.as_str());
            query.push(Serializer::new(String::new()).append_pair(name, value).finish());
        }
        if query.is_empty() {
            return Some(to.to_owned());
        }
        Some(format!("{to}?{}", query.join("&")))
    }
}

/// Where the brace that was opened is closed; expressions may have braces of their own.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

struct Aliases(Vec<Alias>);

impl Middleware for Aliases {
    fn judge<'a>(&'a self, head: &'a mut Parts) -> Reply<'a, Verdict, CallError> {
        let named = self.0.iter().find_map(|alias| alias.apply(&head.uri));
        if let Some(path) = named.and_then(|path| PathAndQuery::try_from(path).ok()) {
            let mut parts = std::mem::take(&mut head.uri).into_parts();
            parts.path_and_query = Some(path);
            match Uri::from_parts(parts) {
                Ok(uri) => head.uri = uri,
                Err(error) => return Reply::ready(Err(CallError::Other(error.to_string()))),
            }
        }
        Reply::ready(Ok(Verdict::pass()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn through(routes: &str, path: &str) -> String {
        let properties = [("routes", routes)].into_iter().collect();
        let aliases = open(OpenContext::new("a", "app", properties)).await.unwrap();
        let (mut head, ()) = http::Request::get(path).body(()).unwrap().into_parts();
        aliases.judge(&mut head).await.unwrap();
        head.uri.to_string()
    }

    #[tokio::test]
    async fn parts_go_along_in_the_query() {
        let routes = r#"{ "/orders/{id}": "/v1.0/invoke/orders/method/order", "/n/{n:[0-9]{1,3}}": "/n" }"#;
        assert_eq!(
            through(routes, "/orders/a%20b?x=1").await,
            "/v1.0/invoke/orders/method/order?x=1&id=a%2520b"
        );
        assert_eq!(through(routes, "/n/123").await, "/n?n=123");
        assert_eq!(through(routes, "/n/1234").await, "/n/1234");
        assert_eq!(through(routes, "/other").await, "/other");
        assert_eq!(through("/a: /b\n/c: /d\n", "/c").await, "/d", "YAML");
    }

    #[tokio::test]
    async fn routes_of_old_and_wrong_ones() {
        let properties = [("/a", "/x"), ("/b", "/y")].into_iter().collect();
        assert!(open(OpenContext::new("a", "app", properties)).await.is_ok());
        for wrong in [r#"{"/{a": "/b"}"#, r#"{"/a": "no path"}"#, r#"{"/{a:(}": "/b"}"#, "[1]"] {
            let properties = [("routes", wrong)].into_iter().collect();
            assert!(open(OpenContext::new("a", "app", properties)).await.is_err(), "{wrong}");
        }
    }
}
