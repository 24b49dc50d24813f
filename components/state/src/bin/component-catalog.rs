//! Prints the catalog of all drivers as JSON, for `cargo xtask generate`, which links no driver itself.
//!
//! Must never know a driver by name: the registry does.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    let mut text = serde_json::to_string_pretty(&palladium_components_state::catalog())?;
    text.push('\n');
    std::io::stdout().write_all(text.as_bytes())
}
