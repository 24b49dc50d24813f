//! Defaults and rules of HTTP endpoints.
//!
//! One idea: the address is plain `http` or `https` with nothing secret in it, and what is sent with a call cannot break
//! out of its line. Must never look beyond the object itself.

use url::Url;

use super::{CERTIFICATE, HEADERS, HttpEndpointContent, PRIVATE_KEY, ROOT_CA};
use crate::component::ComponentStatus;
use crate::definition::Content;
use crate::error::FieldErrors;
use crate::values::{self, Auth};
use crate::{headers, scopes};

const URL_MAX: usize = 2048;

impl Content for HttpEndpointContent {
    type Status = ComponentStatus;

    fn set_defaults(&mut self) {
        for header in &mut self.spec.headers {
            values::as_text(&mut header.value);
        }
        if let Some(tls) = &mut self.spec.client_tls {
            let documents = [&mut tls.root_ca, &mut tls.certificate, &mut tls.private_key];
            for document in documents.into_iter().flatten() {
                values::as_text(&mut document.value);
            }
        }
        scopes::canonical(&mut self.scopes);
        Auth::set_defaults(&mut self.auth);
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let own_store = Auth::is_own_store(self.auth.as_ref());
        let scheme = check_url(&self.spec.base_url, errors);
        headers::check(HEADERS, &self.spec.headers, own_store, errors);
        for (path, document) in self.documents() {
            values::check_slot(path, document.slot(), own_store, errors);
            let label = if path == PRIVATE_KEY {
                "PRIVATE KEY"
            } else {
                "CERTIFICATE"
            };
            values::check_pem(path, document, label, errors);
        }
        let given = |path: &str| {
            let mut documents = self.documents();
            documents.any(|(at, document)| at == path && document.slot() != (None, None))
        };
        if given(CERTIFICATE) != given(PRIVATE_KEY) {
            errors.push(
                "spec.clientTLS",
                "has a client certificate without its key, or a key without a certificate",
                "give both, or neither",
            );
        }
        if scheme == Some(Scheme::Http) && [ROOT_CA, CERTIFICATE, PRIVATE_KEY].into_iter().any(given) {
            errors.push(
                "spec.clientTLS",
                "is of no use without TLS",
                "use a baseUrl that begins with https",
            );
        }
        Auth::check(self.auth.as_ref(), errors);
        scopes::check(&self.scopes, errors);
    }

    fn validate_update(_: &Self, _: &Self, _: &mut FieldErrors) {}
}

#[derive(PartialEq)]
enum Scheme {
    Http,
    Https,
}

fn check_url(text: &str, errors: &mut FieldErrors) -> Option<Scheme> {
    let mut complain = |reason: &str| {
        errors.push("spec.baseUrl", reason, "use a URL such as https://api.example.com:443");
        None
    };
    let Ok(url) = Url::parse(text) else {
        return complain("is not a URL");
    };
    let scheme = match url.scheme() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return complain("has a scheme other than http or https"),
    };
    if url.host_str().is_none_or(str::is_empty) {
        return complain("has no host");
    }
    // An empty user is none to the parser, but somebody else may read the text another way.
    let authority = text.split_once("//").map_or(text, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    if !url.username().is_empty() || url.password().is_some() || authority.contains('@') {
        return complain("holds a user name or password; send credentials in headers");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return complain("has a query or fragment");
    }
    if text.len() > URL_MAX || !text.bytes().all(|b| (0x21..0x7f).contains(&b) && b != b'\\') {
        return complain("is longer than 2048 characters, or holds one that a URL cannot have");
    }
    Some(scheme)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::KIND;

    fn complaint(spec: Value) -> String {
        (KIND.normalize)(json!({ "spec": spec })).map_or_else(|errors| errors.to_string(), |_| String::new())
    }

    #[test]
    fn addresses_are_plain_http_without_credentials() {
        for good in [
            "http://a",
            "https://a:8443/base/",
            "https://[::1]:1/x",
            "https://10.0.0.1",
        ] {
            assert_eq!(complaint(json!({ "baseUrl": good })), "", "{good}");
        }
        for bad in [
            "",
            "a:1",
            "ftp://a",
            "file:///etc/passwd",
            "grpc://a",
            "https://",
            "https://u@a",
            "https://u:p@a",
            "https://:p@a",
            "https://@a",
            "https:\\\\u@a",
            "https://a?x=1",
            "https://a#x",
            "https://a\\@b",
            "https://a/ b",
            "https://a/\n",
        ] {
            assert!(
                complaint(json!({ "baseUrl": bad })).starts_with("spec.baseUrl: "),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn certificates_come_whole_and_only_with_tls() {
        let tls = |url: &str, tls: Value| complaint(json!({ "baseUrl": url, "clientTLS": tls }));
        let (cert, key) = ("-----BEGIN CERTIFICATE-----\nMII", "-----BEGIN PRIVATE KEY-----\nMII");
        let both =
            json!({ "certificate": { "value": cert }, "privateKey": { "value": key }, "renegotiation": "Never" });
        assert_eq!(tls("https://a", both.clone()), "");
        assert!(tls("http://a", both).contains("is of no use without TLS"));
        assert!(tls("https://a", json!({ "certificate": { "value": cert } })).contains("give both"));
        assert!(
            tls("https://a", json!({ "rootCA": { "value": "/etc/ca.pem" } }))
                .contains("spec.clientTLS.rootCA: is not PEM")
        );
        assert!(tls("https://a", json!({ "renegotiation": "Always" })).contains("spec.clientTLS.renegotiation"));
        assert_eq!(tls("https://a", json!({ "rootCA": { "value": "***" } })), "");
    }

    #[test]
    fn references_need_a_store_of_the_project() {
        let header = json!([{ "name": "x-api-key", "secretKeyRef": { "name": "s", "key": "k" } }]);
        let spec = json!({ "baseUrl": "https://a", "headers": header });
        assert!(complaint(spec.clone()).contains("auth.secretStore names no secret store"));
        let content = (KIND.normalize)(json!({ "spec": spec, "auth": { "secretStore": "vault" } }));
        assert!(content.is_ok(), "{content:?}");
    }
}
