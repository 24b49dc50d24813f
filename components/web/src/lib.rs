//! The way to web servers outside: HTTP endpoints, collectors of spans, key sets, and what other drivers are told to call.
//!
//! One idea: where tenants say who is called, a name or an address must not lead back into this machine or to what a cloud
//! tells its machines about themselves, whatever it was resolved to when somebody looked at it. `localhost` and loopback
//! addresses can mean nothing else and are the region owner's to refuse (`allow.componentHosts`). Must never follow an
//! answer elsewhere, nor wait for a connection without end.

mod addresses;
mod connector;
mod request;

use std::net::IpAddr;
use std::time::Duration;

use palladium_component::MetadataError;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use addresses::is_off_limits;
use connector::Resolver;
pub use connector::{BoxError, Connector, connector};
pub use request::{Answer, Failure, send, words};

/// Name, connection and handshake.
pub const CONNECT: Duration = Duration::from_secs(15);

/// A client for requests to an address that somebody declared, a tenant where it is `hosted`; whoever needs more says so to
/// the builder, and asks [`is_refused`] about the address.
pub fn client_builder(hosted: bool) -> reqwest::ClientBuilder {
    let builder = Client::builder().connect_timeout(CONNECT).redirect(Policy::none());
    match hosted {
        false => builder,
        // A proxy named in the environment would resolve names itself.
        true => builder.no_proxy().dns_resolver(Resolver::new(true)),
    }
}

/// A client whose calls take no longer than `timeout`.
///
/// # Errors
/// When this machine has no roots of trust that can be read.
pub fn client(field: &str, timeout: Duration, hosted: bool) -> Result<Client, MetadataError> {
    let builder = client_builder(hosted)
        .timeout(timeout)
        .connect_timeout(CONNECT.min(timeout));
    let remedy = "see that this machine trusts some authority";
    let wrong = |_| MetadataError::new(field, "its client cannot be made", remedy);
    builder.build().map_err(wrong)
}

/// The address in a setting, a tenant's where it is `hosted`. Libraries also read `http:host`, which whoever judges
/// addresses may read as something else.
///
/// # Errors
/// When it is none that begins with `http://` or `https://` and has a host, or one that may not be called.
pub fn address(field: &str, said: &str, hosted: bool) -> Result<Url, MetadataError> {
    let is_whole = ["http://", "https://"].iter().any(|start| said.starts_with(start));
    let url = Url::parse(said).ok().filter(|url| is_whole && url.has_host());
    let url = url.ok_or_else(|| MetadataError::new(field, "it is no address", "write 'https://host/path'"))?;
    if hosted && url.host_str().is_some_and(is_refused) {
        let remedy = "name the service that is meant";
        return Err(MetadataError::new(field, "that address may not be called here", remedy));
    }
    Ok(url)
}

/// Whether the host of a URL is an address that no tenant may have called. Names are judged when they are resolved.
pub fn is_refused(host: &str) -> bool {
    let ip: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    ip.is_ok_and(is_off_limits)
}

#[cfg(test)]
mod tests {
    use reqwest::dns::Resolve as _;

    use super::*;

    #[test]
    fn an_address_about_machines_is_refused_where_tenants_call() {
        for (host, refused) in [
            ("169.254.169.254", true),
            ("[fd00:ec2::254]", true),
            ("[::ffff:169.254.169.254]", true),
            ("127.0.0.1", false),
            ("203.0.113.7", false),
            ("example.test", false),
        ] {
            assert_eq!(is_refused(host), refused, "{host}");
        }
    }

    #[tokio::test]
    async fn sec_119_a_name_is_judged_when_it_is_resolved() {
        let resolved = |name: &str| Resolver::new(true).resolve(name.parse().expect("a name"));
        assert!(resolved("localhost").await.is_ok());
        // The system reads these as 127.0.0.1 and 169.254.169.254.
        for name in ["127.1", "2130706433", "0x7f.0.0.1", "169.254.43518"] {
            let refused = resolved(name).await.err().expect("it leads back");
            assert!(
                refused.to_string().contains("no address that may be called"),
                "{refused}"
            );
        }
    }

    #[test]
    fn half_an_address_is_refused() {
        for said in ["http:host/", "http:\\\\host/", "ftp://host/", "host", "", "https://"] {
            assert!(address("url", said, false).is_err(), "{said}");
        }
        assert_eq!(address("url", "https://h/p?q", true).unwrap().as_str(), "https://h/p?q");
        // In a spelling that the parser undoes.
        for said in [
            "http://169.254.169.254/",
            "http://0xa9.0xfe.43518/",
            "http://[::ffff:a9fe:a9fe]/",
        ] {
            assert!(
                address("url", said, true).is_err() && address("url", said, false).is_ok(),
                "{said}"
            );
        }
    }
}
