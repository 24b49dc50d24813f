//! Prints the catalog of all drivers as JSON. Run by `cargo xtask generate`, which must not link drivers itself.
//!
//! One idea: a building block is one line here. Must never print anything else, nor another list for other features.

use std::io::Write as _;

use palladium_components_middleware::without_those_behind_features;

fn main() -> std::io::Result<()> {
    let mut catalog = palladium_components_state::DRIVERS.catalog();
    catalog.extend(palladium_components_pubsub::DRIVERS.catalog());
    catalog.extend(palladium_components_secretstores::DRIVERS.catalog());
    catalog.extend(palladium_components_middleware::DRIVERS.catalog());
    catalog.extend(palladium_components_bindings::DRIVERS.catalog());
    catalog.extend(palladium_components_configuration::DRIVERS.catalog());
    catalog.extend(palladium_components_lock::DRIVERS.catalog());
    catalog.extend(palladium_components_crypto::DRIVERS.catalog());
    catalog.extend(palladium_components_conversation::DRIVERS.catalog());
    let mut text = serde_json::to_string_pretty(&without_those_behind_features(catalog))?;
    text.push('\n');
    std::io::stdout().write_all(text.as_bytes())
}
