//! The owner's guard rails, applied to one object: which hosts it would make Dapr Servers connect to.
//!
//! The one idea: whatever makes a Dapr Server dial somebody obeys the same list (`allow.componentHosts`), be it a component,
//! an HTTP endpoint or a trace exporter; otherwise a prohibition of one could be walked around by another. Must never quote
//! a secret value.

use palladium_component::catalog::catalog;
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
                if catalog()
                    .find(kind, version)
                    .is_some_and(|driver| driver.hosted == "refused")
                {
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
                    self.check_component_hosts(rails, &item.name, &value, true)?;
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

    /// Whether a setting's value stays within the guard rails; for secret values `quote` is false.
    pub(crate) fn check_component_hosts(
        &self,
        rails: &GuardRails,
        name: &str,
        value: &str,
        quote: bool,
    ) -> Result<(), Refused> {
        within(rails, "components", &format!("{SETTINGS}.{name}"), name, value, quote)
    }
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
