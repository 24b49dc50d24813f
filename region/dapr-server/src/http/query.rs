//! The query of a request, as far as the API uses it.
//!
//! Must never be parsed when there is none.

use std::borrow::Cow;

use palladium_engine_state::Metadata;

use super::Head;

impl Head {
    /// All names and values, decoded, in order.
    fn pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        url::form_urlencoded::parse(self.query.as_deref().unwrap_or_default().as_bytes())
    }

    /// The first value of a name.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        self.query.as_ref()?;
        self.pairs()
            .find(|(given, _)| given == name)
            .map(|(_, value)| value.into_owned())
    }

    /// `metadata.<name>=<value>`: request metadata; of a repeated name the first counts.
    pub(super) fn metadata(&self) -> Metadata {
        let mut found = Metadata::new();
        if self.query.is_some() {
            for (name, value) in self.pairs() {
                if let Some(name) = name.strip_prefix("metadata.") {
                    found.entry(name.to_owned()).or_insert_with(|| value.into_owned());
                }
            }
        }
        found
    }
}
