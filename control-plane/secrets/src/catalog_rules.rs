//! What the component catalog says about a submitted component: type, version, required and malformed settings,
//! hosting.
//!
//! Must never quote a submitted value.

use palladium_component::catalog::{Catalog, Entry};
use palladium_kinds::FieldErrors;
use palladium_kinds::component::ComponentContent;
use palladium_kinds::secret_ref::is_mask;
use serde_json::Value;

/// Complaints about a component of a known shape; none when it can be hosted.
///
/// # Errors
/// Every complaint, with its field.
pub fn check_component(catalog: &Catalog, content: &ComponentContent) -> Result<(), FieldErrors> {
    let spec = &content.spec;
    let entries: Vec<Entry<'_>> = spec
        .metadata
        .iter()
        .map(|item| {
            let value = item.value.as_ref().map(|value| value.as_str().unwrap_or_default());
            // A masked value stands for one that was checked when it came in.
            let value = if item.secret_key_ref.is_some() {
                None
            } else {
                Some(value.unwrap_or_default())
            };
            Entry {
                name: &item.name,
                value: value.filter(|text| !is_mask(text)),
            }
        })
        .collect();
    let mut errors = FieldErrors::default();
    for problem in catalog.validate(&spec.kind, &spec.version, &entries) {
        errors.push(problem.path, problem.message, "");
    }
    if let Some(found) = catalog.find(&spec.kind, &spec.version)
        && found.hosted == "refused"
    {
        errors.push(
            "spec.type",
            "this component type reaches into the machine that runs it and is not hosted",
            "use another type, or the drop-in form",
        );
    }
    for (index, item) in spec.metadata.iter().enumerate() {
        if matches!(&item.value, Some(value) if !matches!(value, Value::String(_))) {
            errors.push(
                format!("spec.metadata[{index}].value"),
                "is not text",
                "write it as text",
            );
        }
    }
    errors.into_result()
}
