//! Under which path an HTTP call is counted.
//!
//! One idea: as in Dapr, a path that the Configuration lists stands for all that match it; of other paths what varies is
//! left out as far as their form is known, or all of it where paths are not told apart. Must never decide how many paths
//! there may be: whoever keeps something for each of them does.

use std::borrow::Cow;

use matchit::Router;
use percent_encoding::percent_decode_str;

use crate::resources::MetricsSettings;

/// Paths of applications that are the same everywhere.
const STATIC: [&str; 4] = ["/dapr/config", "/dapr/metrics", "/dapr/subscribe", "/healthz"];

/// A call by path stands for itself wherever it goes.
const INVOKE: &str = "/v1.0/invoke/";
const INVOKE_ANY: &str = "/v1.0/invoke/{app_id}/method";

/// See the module.
pub struct Paths {
    /// Whether paths are told apart that are not listed.
    increased: bool,
    matcher: Option<Router<String>>,
}

impl Paths {
    /// As the Configuration says.
    pub fn new(settings: &MetricsSettings) -> Self {
        Self {
            increased: settings.increased_cardinality,
            matcher: (!settings.path_matching.is_empty()).then(|| matcher(&settings.path_matching)),
        }
    }

    /// Whether no path is told from another.
    pub fn is_one(&self) -> bool {
        !self.increased && self.matcher.is_none()
    }

    /// Under which path a call of the API is counted; empty = none.
    pub fn server<'a>(&'a self, path: &'a str) -> Cow<'a, str> {
        if self.is_one() {
            return Cow::Borrowed("");
        }
        let path = normal(decoded(path));
        self.label(path)
    }

    /// The same of a call to the application.
    pub fn client<'a>(&'a self, path: &'a str) -> Cow<'a, str> {
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let path = normal(decoded(path));
        if self.is_one() {
            return STATIC
                .into_iter()
                .find(|known| *known == path)
                .unwrap_or_default()
                .into();
        }
        self.label(path)
    }

    fn label<'a>(&'a self, path: Cow<'a, str>) -> Cow<'a, str> {
        if STATIC.contains(&path.as_ref()) {
            return path;
        }
        let known = match &self.matcher {
            Some(matcher) => match matcher.at(&path) {
                Ok(found) => return Cow::Borrowed(found.value),
                Err(_) => Some(matcher),
            },
            None => None,
        };
        let short = shortened(path);
        if let Some(found) = known.and_then(|matcher| matcher.at(&short).ok())
            && found.value != "/"
        {
            return Cow::Borrowed(found.value);
        }
        if self.increased { short } else { Cow::Borrowed("") }
    }
}

/// The listed paths, and the same as paths of calls to any application.
fn matcher(listed: &[String]) -> Router<String> {
    let mut router = Router::new();
    let mut given: Vec<String> = Vec::new();
    for path in listed {
        let path = normal(Cow::Borrowed(path)).into_owned();
        if !path.starts_with(INVOKE) {
            given.push(format!("{INVOKE_ANY}{path}"));
        }
        given.push(path);
    }
    given.sort();
    given.dedup();
    for path in &given {
        let (exact, _) = forms(path);
        if router.insert(exact, path.clone()).is_err() {
            tracing::warn!("spec.metrics.http.pathMatching: {path} cannot be told from another path; left out");
        }
    }
    // What they imply gives way to what is listed.
    for path in &given {
        for implied in forms(path).1 {
            let _ = router.insert(implied, path.clone());
        }
    }
    router
}

/// A path of Go's form in the form of the library: the path itself, and what else it stands for.
fn forms(path: &str) -> (String, Vec<String>) {
    let exact = path.strip_suffix("{$}");
    let segment = |segment: &str| match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix("...}")) {
        Some(name) => format!("{{*{name}}}"),
        None => segment.to_owned(),
    };
    let segments: Vec<String> = exact.unwrap_or(path).split('/').map(segment).collect();
    let form = segments.join("/");
    let mut implied = Vec::new();
    if exact.is_none() && form.ends_with('/') {
        implied.push(format!("{form}{{*rest}}"));
        let bare = form.trim_end_matches('/');
        if !bare.is_empty() {
            implied.push(bare.to_owned());
        }
    }
    (form, implied)
}

fn decoded(path: &str) -> Cow<'_, str> {
    if path.contains('%') {
        percent_decode_str(path).decode_utf8_lossy()
    } else {
        Cow::Borrowed(path)
    }
}

/// With one slash at its start and none beside another.
fn normal(path: Cow<'_, str>) -> Cow<'_, str> {
    if path.starts_with('/') && !path.contains("//") {
        return path;
    }
    let mut made = String::with_capacity(path.len() + 1);
    made.push('/');
    for letter in path.chars() {
        if letter != '/' || !made.ends_with('/') {
            made.push(letter);
        }
    }
    Cow::Owned(made)
}

/// A path without what varies from call to call, as far as Dapr knows its form.
fn shortened(path: Cow<'_, str>) -> Cow<'_, str> {
    let mut parts = path[1..].splitn(6, '/');
    let (Some(first), Some(second), Some(third)) = (parts.next(), parts.next(), parts.next()) else {
        return path;
    };
    let rest: Vec<&str> = match (first, second) {
        ("actors", _) | (_, "actors" | "workflows") => parts.collect(),
        (_, "state" | "secrets") => {
            let end = 3 + first.len() + second.len() + third.len();
            return match path {
                Cow::Borrowed(path) => Cow::Borrowed(&path[..end]),
                Cow::Owned(mut path) => {
                    path.truncate(end);
                    Cow::Owned(path)
                }
            };
        }
        _ => return path,
    };
    let made = match (first, rest.as_slice()) {
        ("actors", rest) => std::iter::once("actors")
            .chain([second, "{id}"])
            .chain(rest.iter().copied())
            .collect::<Vec<_>>()
            .join("/"),
        (_, [_, what, ..]) if second == "actors" => format!("/{first}/actors/{third}/{{id}}/{what}"),
        (_, [_]) if second == "workflows" => format!("/{first}/workflows/{third}/{{instanceId}}"),
        (_, [name, start]) if second == "workflows" && start.starts_with("start") => {
            format!("/{first}/workflows/{third}/{name}/start")
        }
        (_, [_, "raiseEvent", event]) if second == "workflows" && !event.is_empty() => {
            format!("/{first}/workflows/{third}/{{instanceId}}/raiseEvent/{{eventName}}")
        }
        (_, [_, what, ..]) if second == "workflows" => format!("/{first}/workflows/{third}/{{instanceId}}/{what}"),
        _ => return path,
    };
    Cow::Owned(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(increased: bool, listed: &[&str]) -> Paths {
        Paths::new(&MetricsSettings {
            increased_cardinality: increased,
            path_matching: listed.iter().map(|path| (*path).to_owned()).collect(),
            ..MetricsSettings::default()
        })
    }

    #[test]
    fn keys_are_left_out_and_calls_are_not() {
        let all = paths(true, &[]);
        for (given, expected) in [
            ("/v1.0/state/store/key", "/v1.0/state/store"),
            ("/v1.0/state/store", "/v1.0/state/store"),
            ("/v1.0/secrets/store/name", "/v1.0/secrets/store"),
            ("/v1.0/invoke/a/method/orders/1", "/v1.0/invoke/a/method/orders/1"),
            ("//v1.0//healthz", "/v1.0/healthz"),
            ("/v1.0/state/my%20store/key", "/v1.0/state/my store"),
            ("/v1.0/actors/T/1/method/m", "/v1.0/actors/T/{id}/method"),
            (
                "/v1.0/workflows/dapr/1/raiseEvent/e",
                "/v1.0/workflows/dapr/{instanceId}/raiseEvent/{eventName}",
            ),
            ("/v1.0/workflows/dapr/n/start", "/v1.0/workflows/dapr/n/start"),
            ("/v1.0/workflows/dapr/1", "/v1.0/workflows/dapr/{instanceId}"),
            ("", "/"),
        ] {
            assert_eq!(all.server(given), expected, "{given}");
        }
        assert!(
            matches!(all.server("/v1.0/state/store/key"), Cow::Borrowed(_)),
            "state calls make no label"
        );
        let none = paths(false, &[]);
        assert_eq!(none.server("/v1.0/state/store/key"), "");
        assert_eq!(
            (none.client("dapr/config"), none.client("hi?q=1")),
            ("/dapr/config".into(), "".into())
        );
        assert_eq!(all.client("hi?q=1"), "/hi");
    }

    #[test]
    fn listed_paths_stand_for_what_matches_them() {
        let listed = [
            "/v1.0/invoke/myapp/method/basket",
            "/v1.0/invoke/myapp/method/orders/1234",
            "/v1.0/invoke/myapp/method/orders/{orderID}",
            "/v1.0/invoke/myapp/method/orders",
            "/v1.0/state/mystore/{key}",
            "items/{id}",
            "/tree/",
            "/files/{path...}",
            "/only/{$}",
        ];
        for (increased, unmatched) in [(true, "/v1.0/invoke/myapp/method/x/1"), (false, "")] {
            let paths = paths(increased, &listed);
            for (given, expected) in [
                (
                    "/v1.0/invoke/myapp/method/orders/1111",
                    "/v1.0/invoke/myapp/method/orders/{orderID}",
                ),
                (
                    "//v1.0/invoke/myapp/method/orders/9999",
                    "/v1.0/invoke/myapp/method/orders/{orderID}",
                ),
                (
                    "/v1.0/invoke/myapp/method/orders/1234",
                    "/v1.0/invoke/myapp/method/orders/1234",
                ),
                ("/v1.0/invoke/myapp/method/orders", "/v1.0/invoke/myapp/method/orders"),
                ("/v1.0/state/mystore/foo", "/v1.0/state/mystore/{key}"),
                (
                    "/v1.0/invoke/other/method/items/7",
                    "/v1.0/invoke/{app_id}/method/items/{id}",
                ),
                ("/items/7", "/items/{id}"),
                ("/tree/a/b", "/tree/"),
                ("/files/a/b", "/files/{path...}"),
                ("/only/", "/only/{$}"),
                ("/v1.0/invoke/myapp/method/x/1", unmatched),
            ] {
                assert_eq!(paths.server(given), expected, "{given} {increased}");
            }
            assert_eq!(paths.client("items/9"), "/items/{id}");
        }
        // Conflicts are left out, the first one stands.
        assert_eq!(paths(false, &["/a/{b}", "/a/{c}"]).server("/a/1"), "/a/{b}");
    }
}
