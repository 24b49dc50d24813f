//! Defaults and rules of App IDs.
//!
//! One idea: what cannot work is refused with its field and a remedy before anything is kept; revisions never fall.
//! Must never look beyond the object itself.

use url::Url;

use super::{AppIdentityContent, AppIdentityStatus, EndpointToken};
use crate::definition::Content;
use crate::error::FieldErrors;

/// Largest body that may be asked for.
const BODY_MAX: u64 = 1024 * 1024 * 1024;

impl Content for AppIdentityContent {
    type Status = AppIdentityStatus;

    fn set_defaults(&mut self) {
        let spec = &mut self.spec;
        if let Some(endpoint) = &mut spec.app_endpoint {
            endpoint.token_header = endpoint.token_header.to_ascii_lowercase();
            if matches!(&endpoint.token, Some(EndpointToken::Text(text)) if text.is_empty()) {
                endpoint.token = None;
            }
        }
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let spec = &self.spec;
        if let Some(problem) = quantity_problem(&spec.max_body_size) {
            errors.push("spec.maxBodySize", problem, "use a quantity such as 4Mi, at most 1Gi");
        }
        if spec.app_config.len() > 128
            || spec.app_config.contains(['/', '\\'])
            || spec.app_config.chars().any(char::is_control)
        {
            errors.push(
                "spec.appConfig",
                "is not the name of a Configuration",
                "name one of this project",
            );
        }
        if spec.api_token_minimum_revision > spec.api_token_revision {
            errors.push(
                "spec.apiTokenMinimumRevision",
                "is above spec.apiTokenRevision",
                "use the revoke action",
            );
        }
        if spec.api_token_revision > u64::from(u32::MAX) {
            errors.push("spec.apiTokenRevision", "is out of range", "raise it by one to rotate");
        }
        if let Some(endpoint) = &spec.app_endpoint {
            check_url(&endpoint.url, errors);
            let header = &endpoint.token_header;
            if !header
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                || header.len() > 64
            {
                errors.push(
                    "spec.appEndpoint.tokenHeader",
                    "is not a header name",
                    "use letters, digits and dashes",
                );
            } else if [
                "host",
                "content-length",
                "transfer-encoding",
                "connection",
                "content-type",
                "te",
                "upgrade",
            ]
            .contains(&header.as_str())
            {
                errors.push(
                    "spec.appEndpoint.tokenHeader",
                    "names a header that HTTP itself needs",
                    "choose another",
                );
            }
            if let Some(EndpointToken::Text(token)) = &endpoint.token
                && (token.len() > 4096 || !token.bytes().all(|b| (0x20..0x7f).contains(&b)))
            {
                errors.push(
                    "spec.appEndpoint.token",
                    "cannot be sent in a header",
                    "use printable ASCII, at most 4096 characters",
                );
            }
            if endpoint.client_timeout_seconds > 3600 {
                errors.push(
                    "spec.appEndpoint.clientTimeoutSeconds",
                    "is above one hour",
                    "use at most 3600",
                );
            }
        }
        if let Some(check) = &spec.health_check {
            let path = &check.path;
            if !path.is_empty()
                && (!path.starts_with('/') || path.len() > 512 || !path.bytes().all(|b| (0x21..0x7f).contains(&b)))
            {
                errors.push(
                    "spec.healthCheck.path",
                    "is not an absolute path",
                    "use a path such as /healthz",
                );
            }
            let probe = &check.probe;
            for (field, value, max) in [
                ("failureThreshold", probe.failure_threshold, 1_000),
                ("intervalInSec", probe.interval_in_sec, 86_400),
                ("timeoutInMs", probe.timeout_in_ms, 600_000),
            ] {
                if value > max {
                    errors.push(
                        format!("spec.healthCheck.probe.{field}"),
                        "is out of range",
                        format!("use at most {max}"),
                    );
                }
            }
        }
    }

    fn validate_update(old: &Self, new: &Self, errors: &mut FieldErrors) {
        if new.spec.api_token_revision < old.spec.api_token_revision {
            errors.push(
                "spec.apiTokenRevision",
                "cannot fall",
                format!("raise it above {}", old.spec.api_token_revision),
            );
        }
        if new.spec.api_token_minimum_revision < old.spec.api_token_minimum_revision {
            errors.push(
                "spec.apiTokenMinimumRevision",
                "cannot fall: revoked tokens stay revoked",
                "leave it as it is",
            );
        }
    }
}

fn check_url(text: &str, errors: &mut FieldErrors) {
    if text.is_empty() {
        return;
    }
    let complain = |errors: &mut FieldErrors, reason: &str| {
        errors.push(
            "spec.appEndpoint.url",
            reason,
            "use a URL such as http://127.0.0.1:8080; TLS to applications is not built yet",
        );
    };
    match Url::parse(text) {
        Err(_) => complain(errors, "is not a URL"),
        Ok(url) => {
            if !matches!(url.scheme(), "http" | "https" | "grpc" | "grpcs") {
                complain(errors, "has a scheme other than http, https, grpc or grpcs");
            }
            if url.host_str().is_none_or(str::is_empty) {
                complain(errors, "has no host");
            }
            if !url.username().is_empty() || url.password().is_some() {
                complain(errors, "holds a user name or password");
            }
            if url.fragment().is_some() || url.query().is_some() || text.len() > 2048 {
                complain(errors, "has a query or fragment, or is longer than 2048 characters");
            }
        }
    }
}

/// A quantity (`512Ki`, `4Mi`, `1Gi`, `4M`, plain bytes) in bytes.
pub fn quantity_bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text.get(..digits)?.parse().ok()?;
    let factor: u64 = match text.get(digits..)? {
        "" => 1,
        "k" => 1_000,
        "Ki" => 1 << 10,
        "M" => 1_000_000,
        "Mi" => 1 << 20,
        "G" => 1_000_000_000,
        "Gi" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// Why a body size is refused, if it is. Empty = not set.
pub fn quantity_problem(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return None;
    }
    match quantity_bytes(text) {
        None => Some("is not a quantity"),
        Some(0) => Some("is zero"),
        Some(bytes) if bytes > BODY_MAX => Some("is above 1Gi"),
        Some(_) => None,
    }
}
