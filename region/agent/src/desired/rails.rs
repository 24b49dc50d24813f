//! The owner's guard rails, applied to one object: which hosts it would make Dapr Servers connect to.
//!
//! The one idea: whatever makes a Dapr Server dial somebody obeys the same list (`allow.componentHosts`), be it a component,
//! an HTTP endpoint or a trace exporter; otherwise a prohibition of one could be walked around by another. Must never quote
//! a secret value.

use palladium_component::catalog::{CatalogField, catalog};
use palladium_kinds::component::SETTINGS;
use serde_json::Value;

use super::admit::{Admitted, Content, Refused};
use super::hosts::{self, Found};
use crate::guard_rails::GuardRails;

impl Admitted {
    pub(super) fn check_rails(&self, rails: &GuardRails) -> Result<(), Refused> {
        match &self.content {
            Content::Project(_) | Content::Subscription(_) | Content::Resiliency(_) => Ok(()),
            Content::App(spec) => {
                let url = spec.app_endpoint.as_ref().map_or("", |endpoint| endpoint.url.as_str());
                if url.is_empty() {
                    return Ok(());
                }
                let host = url::Url::parse(url)
                    .ok()
                    .and_then(|url| url.host_str().map(ToOwned::to_owned));
                match host {
                    Some(host) if rails.allows_callback(&host) => Ok(()),
                    Some(host) => {
                        let message = format!("applications at {host} may not be called (allow.callbackHosts)");
                        Err(Refused::held(message, "spec.appEndpoint.url"))
                    }
                    None => Err(Refused::rejected(
                        "InvalidObject",
                        "the URL has no host",
                        "spec.appEndpoint.url",
                    )),
                }
            }
            Content::Component(content) => {
                let (kind, version) = (&content.spec.kind, &content.spec.version);
                let driver = catalog().find(kind, version);
                if driver.is_some_and(|driver| driver.hosted == "refused") {
                    let message = format!("{kind} would use this machine itself and is refused in a region");
                    return Err(Refused::rejected("NotHosted", message, "spec.type"));
                }
                if rails.allows_all_components() {
                    return Ok(());
                }
                for item in &content.spec.metadata {
                    let foreign = item
                        .secret_key_ref
                        .as_ref()
                        .is_some_and(|reference| !reference.is_managed());
                    if foreign && hosts::points(&item.name) {
                        let message = "where the component connects to is in another secret store, which cannot be checked \
                                       (allow.componentHosts)";
                        return Err(Refused::held(message, item.field(SETTINGS)));
                    }
                    let value = match &item.value {
                        None | Some(Value::Null) => String::new(),
                        Some(Value::String(text)) => text.clone(),
                        Some(other) => other.to_string(),
                    };
                    // What is blank counts as not said, below.
                    if !value.trim().is_empty() {
                        self.check_component_hosts(rails, &item.name, &value, true)?;
                    }
                }
                // What is not said is the driver's default, which may be an address as well.
                for field in driver.into_iter().flat_map(|driver| &driver.fields) {
                    let Some(default) = default_address(field) else {
                        continue;
                    };
                    let is_said = content.spec.metadata.iter().any(|item| {
                        let value = item
                            .value
                            .as_ref()
                            .filter(|value| value.as_str().map_or(!value.is_null(), |text| !text.trim().is_empty()));
                        let is_given = value.is_some() || item.secret_key_ref.is_some();
                        is_given && is_called(field, &item.name)
                    });
                    if !is_said {
                        self.check_component_hosts(rails, &field.name, default, true)?;
                    }
                }
                Ok(())
            }
            Content::HttpEndpoint(content) => within(
                rails,
                "HTTP endpoints",
                "spec.baseUrl",
                "url",
                &content.spec.base_url,
                true,
            ),
            Content::Configuration(content) => {
                let tracing = content.spec.tracing.as_ref();
                let otel = tracing.and_then(|tracing| tracing.otel.as_ref());
                let zipkin = tracing.and_then(|tracing| tracing.zipkin.as_ref());
                let exporters = [
                    (
                        "spec.tracing.otel.endpointAddress",
                        otel.map(|one| &one.endpoint_address),
                    ),
                    (
                        "spec.tracing.zipkin.endpointAddress",
                        zipkin.map(|one| &one.endpoint_address),
                    ),
                ];
                exporters.into_iter().try_for_each(|(field, address)| match address {
                    Some(address) => within(rails, "trace exporters", field, "endpointAddress", address, true),
                    None => Ok(()),
                })
            }
        }
    }

    /// Whether a setting's value stays within the guard rails; for secret values `quote` is false. In place of a blank one
    /// the driver takes its default, so that is judged.
    pub(crate) fn check_component_hosts(
        &self,
        rails: &GuardRails,
        name: &str,
        value: &str,
        quote: bool,
    ) -> Result<(), Refused> {
        if value.trim().is_empty()
            && let Some((name, default)) = self.default_of(name)
        {
            return within(rails, "components", &format!("{SETTINGS}.{name}"), name, default, true);
        }
        within(rails, "components", &format!("{SETTINGS}.{name}"), name, value, quote)
    }

    /// The driver's own name of a setting, and the address that it takes where nothing is said.
    fn default_of(&self, name: &str) -> Option<(&'static str, &'static str)> {
        let Content::Component(content) = &self.content else {
            return None;
        };
        let driver = catalog().find(&content.spec.kind, &content.spec.version)?;
        let field = driver.fields.iter().find(|field| is_called(field, name))?;
        Some((field.name.as_str(), default_address(field)?))
    }
}

fn is_called(field: &CatalogField, name: &str) -> bool {
    let mut names = field.aliases.iter().chain([&field.name]);
    names.any(|known| known.eq_ignore_ascii_case(name))
}

fn default_address(field: &CatalogField) -> Option<&str> {
    field.default.as_deref().filter(|default| default.contains("://"))
}

/// Whether the hosts in a setting's value are ones that the owner lets Dapr Servers connect to.
fn within(rails: &GuardRails, what: &str, field: &str, setting: &str, value: &str, quote: bool) -> Result<(), Refused> {
    if rails.allows_all_components() {
        return Ok(());
    }
    for found in hosts::in_setting(setting, value) {
        let host = match found {
            Found::Host(host) if rails.allows_component(&host) => continue,
            Found::Host(host) if quote => host,
            Found::Host(_) => "the host in it".to_owned(),
            Found::Unknown => "a host that is not recognized in this setting".to_owned(),
        };
        let message = format!("{what} may not connect to {host} (allow.componentHosts)");
        return Err(Refused::held(message, field));
    }
    Ok(())
}
