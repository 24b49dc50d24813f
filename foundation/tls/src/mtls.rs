//! The configurations of internal connections: TLS 1.3 only, SPIFFE on both sides.
//!
//! One idea: resumption is off everywhere, so that every connection passes the verifier and revocation holds.
//! Names in certificates mean nothing here, so no server name is sent. Must never make a configuration that resumes a
//! session or speaks less than TLS 1.3.

use std::sync::Arc;

use rustls::{
    ClientConfig, ServerConfig,
    client::Resumption,
    server::{NoServerSessionStorage, ResolvesServerCert, danger::ClientCertVerifier},
    version::TLS13,
};

use crate::{Authorizer, SvidSource, TrustBundles, alpn_list, provider, svid::WithRoots, verify::SpiffeVerifier};

/// A listener that only authorized peers can connect to.
pub fn mtls_server_config(
    svid: &SvidSource,
    bundles: &TrustBundles,
    authorizer: Authorizer,
    alpn: &[&[u8]],
) -> Arc<ServerConfig> {
    let verifier = SpiffeVerifier {
        bundles: bundles.clone(),
        authorizer,
        client_mandatory: true,
    };
    server(Some(Arc::new(verifier)), Arc::new(svid.clone()), alpn)
}

/// A listener for callers with or without an SVID; one that is presented must be valid and authorized.
pub fn mtls_optional_client_server_config(
    svid: &SvidSource,
    bundles: &TrustBundles,
    authorizer: Authorizer,
    alpn: &[&[u8]],
) -> Arc<ServerConfig> {
    let verifier = SpiffeVerifier {
        bundles: bundles.clone(),
        authorizer,
        client_mandatory: false,
    };
    server(Some(Arc::new(verifier)), Arc::new(svid.clone()), alpn)
}

/// As [`mtls_optional_client_server_config`], and the roots of its own trust domain follow the chain, for clients that
/// know no more than a root's hash (a region that joins).
pub fn mtls_optional_client_server_config_with_roots(
    svid: &SvidSource,
    bundles: &TrustBundles,
    authorizer: Authorizer,
    alpn: &[&[u8]],
) -> Arc<ServerConfig> {
    let verifier = SpiffeVerifier {
        bundles: bundles.clone(),
        authorizer,
        client_mandatory: false,
    };
    let resolver = WithRoots {
        source: svid.clone(),
        bundles: bundles.clone(),
    };
    server(Some(Arc::new(verifier)), Arc::new(resolver), alpn)
}

/// A listener that shows its SVID and asks for none: Dapr's Sentry in its drop-in form.
pub fn svid_server_config(svid: &SvidSource, alpn: &[&[u8]]) -> Arc<ServerConfig> {
    server(None, Arc::new(svid.clone()), alpn)
}

/// A client that shows its SVID to a server which must be one of the `expected`.
pub fn mtls_client_config(
    svid: &SvidSource,
    bundles: &TrustBundles,
    expected: Authorizer,
    alpn: &[&[u8]],
) -> Arc<ClientConfig> {
    client(bundles, expected, Some(svid), alpn)
}

/// A client without an SVID yet, to a server which must be one of the `expected`.
pub fn svid_client_without_certificate(
    bundles: &TrustBundles,
    expected: Authorizer,
    alpn: &[&[u8]],
) -> Arc<ClientConfig> {
    client(bundles, expected, None, alpn)
}

fn server(
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    resolver: Arc<dyn ResolvesServerCert>,
    alpn: &[&[u8]],
) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("invariant: the provider has TLS 1.3 suites and groups");
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(resolver);
    config.alpn_protocols = alpn_list(alpn);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

fn client(
    bundles: &TrustBundles,
    expected: Authorizer,
    svid: Option<&SvidSource>,
    alpn: &[&[u8]],
) -> Arc<ClientConfig> {
    let verifier = SpiffeVerifier {
        bundles: bundles.clone(),
        authorizer: expected,
        client_mandatory: true,
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("invariant: the provider has TLS 1.3 suites and groups")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match svid {
        Some(svid) => builder.with_client_cert_resolver(Arc::new(svid.clone())),
        None => builder.with_no_client_auth(),
    };
    finish_client(&mut config, alpn);
    Arc::new(config)
}

/// What every internal client has in common.
pub(crate) fn finish_client(config: &mut ClientConfig, alpn: &[&[u8]]) {
    config.alpn_protocols = alpn_list(alpn);
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
}
