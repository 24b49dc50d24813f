//! Which paths a driver means.
//!
//! One idea: a path is meant if the expression matches it in any form that something behind may read it in: as it came,
//! without escapes, and without dots; where not even these forms say what will be done, it is meant. Must never let a
//! spelling lead around the driver.

use palladium_component::MetadataError;
use percent_encoding::percent_decode_str;
use regex::{Regex, RegexBuilder};

/// The expression; without one all paths are meant.
pub(crate) struct PathFilter(Option<Regex>);

impl PathFilter {
    pub(crate) fn new(said: Option<&str>) -> Result<Self, MetadataError> {
        let said = said.filter(|said| !said.is_empty());
        let filter = said.map(|said| RegexBuilder::new(said).dot_matches_new_line(true).build());
        let filter = filter.transpose();
        let wrong =
            |error: regex::Error| MetadataError::new("pathFilter", error.to_string(), "correct the regular expression");
        filter.map(Self).map_err(wrong)
    }

    pub(crate) fn means(&self, path: &str) -> bool {
        let Some(filter) = &self.0 else {
            return true;
        };
        let decoded = percent_decode_str(path).decode_utf8_lossy();
        has_dots(path) || filter.is_match(path) || filter.is_match(&decoded) || filter.is_match(&plain(path))
    }

    /// Whether a path is meant without any doubt, for a driver that gives something away where it is.
    pub(crate) fn surely_means(&self, path: &str) -> bool {
        self.0.is_none() || (!has_dots(path) && self.means(path))
    }
}

/// Whether a part of a path is `.` or `..`, with or without escapes. Two who read such a path may mean two things: the one
/// who routes takes a part away, the one who calls an application by `/v1.0/invoke/<id>/method/../<method>` does not, and a
/// name in the API may be `..` itself.
pub(crate) fn has_dots(path: &str) -> bool {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    decoded.split('/').any(|part| matches!(part, "." | ".."))
}

/// A path without escapes, `.`, `..`, doubled slashes and a slash at its end. Cleaned before it is decoded too, as whoever
/// routes does: of `/a%2Fb/../c` nothing but `/c` is left.
pub(crate) fn plain(path: &str) -> String {
    let path = cleaned(path);
    cleaned(&percent_decode_str(&path).decode_utf8_lossy())
}

fn cleaned(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            part => kept.push(part),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_leads_around_it() {
        let filter = PathFilter::new(Some("^/api/")).unwrap();
        for path in [
            "/api/x",
            "/%61pi/x",
            "//api/x",
            "/y/../api/x",
            "/y/%2e%2e/api/x",
            "/y%2Fz/../api/x",
            "/v1.0/invoke/a/method/../x",
        ] {
            assert!(filter.means(path), "{path}");
            assert_eq!(filter.surely_means(path), !has_dots(path), "{path}");
        }
        assert!(!filter.means("/other") && !filter.means("/other/api/"));
        assert!(PathFilter::new(None).unwrap().means("/other"));
        assert!(PathFilter::new(Some("(")).is_err());
    }

    #[test]
    fn a_plain_path_is_what_is_routed_by() {
        for (path, expected) in [
            ("/", "/"),
            ("//a//b%20c/", "/a/b c"),
            ("/a%2F%2Fb", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/y%2Fz/../v1.0/secrets/s/n", "/v1.0/secrets/s/n"),
        ] {
            assert_eq!(plain(path), expected, "{path}");
        }
        for path in ["/a/..", "/a/%2e%2E/b", "/a%2F..%2Fb", "/./a"] {
            assert!(has_dots(path), "{path}");
        }
        assert!(!has_dots("/v1.0/a...%2F..b/.c/*"));
    }
}
