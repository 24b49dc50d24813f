//! Flags, files and texts of the drop-in form. Dapr's own suite judges the rest.

use palladium_spiffe::SpiffeId;
use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize};
use time::{Duration, OffsetDateTime};

use super::{configuration::Configuration, credentials::Credentials, duration, flags::Flags};
use crate::authority::pem_of;

fn flags(args: &[&str]) -> Flags {
    Flags::parse(std::iter::once("sentry").chain(args.iter().copied()).map(Into::into)).unwrap()
}

#[test]
fn flags_are_daprs_with_one_dash_or_two() {
    let parsed = flags(&[
        "-port=1234",
        "--jwt-enabled",
        "-enable-metrics=false",
        "-trust-domain",
        "td",
        "-jwt-ttl=1h30m",
    ]);
    assert_eq!(
        (parsed.port, parsed.jwt_enabled, parsed.enable_metrics),
        (1234, true, false)
    );
    assert_eq!(
        (parsed.trust_domain.as_str(), parsed.jwt_ttl),
        ("td", Duration::minutes(90))
    );
    let default = flags(&[]);
    assert_eq!(
        (default.port, default.healthz_port, default.metrics_port),
        (50001, 8080, 9090)
    );
    assert_eq!(default.trust_domain, "localhost");
    assert!(default.enable_metrics && !default.jwt_enabled);
    default.validate().unwrap();
    for refused in [
        &["-mode=kubernetes"][..],
        &["--oidc-enabled=true"],
        &["-jwt-issuer=x"],
        &["-mode=x"],
    ] {
        assert!(flags(refused).validate().is_err(), "{refused:?}");
    }
    assert!(Flags::parse(["sentry", "-no-such-flag"].map(Into::into)).is_err());
}

#[test]
fn durations_are_gos() {
    for (text, milliseconds) in [
        ("24h", 86_400_000),
        ("1h30m", 5_400_000),
        ("1.5s", 1500),
        ("250ms", 250),
        ("0", 0),
    ] {
        assert_eq!(
            duration::parse(text).unwrap().whole_milliseconds(),
            milliseconds,
            "{text}"
        );
    }
    for bad in ["", "5", "h", "-1s", "1d", "1e400s", "1 h"] {
        assert!(duration::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_configuration_resource_is_read_where_it_concerns_us() {
    let text = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata:\n  name: x\nspec:\n  tracing:\n    samplingRate: \"1\"\n  mtls:\n    enabled: true\n    workloadCertTTL: 30s\n    allowedClockSkew: 1m\n    tokenValidators:\n    - name: jwks\n      options:\n        source: '{\"keys\":[]}'\n        minRefreshInterval: 2m\n";
    let read = Configuration::parse(text).unwrap();
    assert_eq!(
        (read.workload_cert_ttl, read.allowed_clock_skew),
        (Duration::seconds(30), Duration::minutes(1))
    );
    assert_eq!(read.token_validators[0].options["minRefreshInterval"], "2m");
    let default = Configuration::parse("").unwrap();
    assert_eq!(
        (default.workload_cert_ttl, default.allowed_clock_skew),
        (Duration::hours(24), Duration::minutes(15))
    );
    assert!(Configuration::parse("spec:\n  mtls:\n    workloadCertTTL: soon\n").is_err());
}

fn credentials(folder: &std::path::Path) -> Credentials {
    let flags = flags(&["-issuer-credentials", folder.to_str().unwrap()]);
    let own = SpiffeId::parse("spiffe://td/ns/default/dapr-sentry").unwrap();
    Credentials::new(&flags, &own, Duration::minutes(15))
}

#[tokio::test]
async fn a_generated_issuer_is_kept_and_a_changed_one_is_taken_if_it_works() {
    let folder = tempfile::tempdir().unwrap();
    let now = OffsetDateTime::now_utc();
    let first = credentials(folder.path()).load_or_generate(now).await.unwrap();
    let mut again = credentials(folder.path());
    assert_eq!(again.load_or_generate(now).await.unwrap().chain, first.chain);
    assert!(again.reload_if_changed().await.unwrap().is_none());
    // Somebody else's certificate with our key.
    let other = tempfile::tempdir().unwrap();
    credentials(other.path()).load_or_generate(now).await.unwrap();
    std::fs::copy(other.path().join("issuer.crt"), folder.path().join("issuer.crt")).unwrap();
    assert!(again.reload_if_changed().await.is_err());
    for file in ["ca.crt", "issuer.key"] {
        std::fs::copy(other.path().join(file), folder.path().join(file)).unwrap();
    }
    assert!(again.reload_if_changed().await.unwrap().is_some());
    std::fs::remove_file(folder.path().join("issuer.key")).unwrap();
    let error = credentials(folder.path())
        .load_or_generate(now)
        .await
        .err()
        .expect("two of three files");
    assert!(error.to_string().contains("all three or none"));
}

#[tokio::test]
async fn an_issuer_whose_writing_was_cut_short_is_completed_and_a_supplied_file_is_never_touched() {
    let now = OffsetDateTime::now_utc();
    let whole = tempfile::tempdir().unwrap();
    credentials(whole.path()).load_or_generate(now).await.unwrap();
    let content = |name: &str| std::fs::read_to_string(whole.path().join(name)).unwrap();
    let files = ["issuer.key", "issuer.crt", "ca.crt"];
    let set = serde_json::json!({ "key": content(files[0]), "chain": content(files[1]), "roots": content(files[2]) });
    for written in 0..=3 {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".issuer.unfinished.json"), set.to_string()).unwrap();
        for name in &files[..written] {
            std::fs::write(folder.path().join(name), content(name)).unwrap();
        }
        let mut after = credentials(folder.path());
        after.load_or_generate(now).await.unwrap();
        for name in files {
            assert_eq!(
                std::fs::read_to_string(folder.path().join(name)).unwrap(),
                content(name)
            );
        }
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            3,
            "{written} written"
        );
    }
    // Somebody supplies a root before the set is complete: it stays, and nothing is put beside it.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".issuer.unfinished.json"), set.to_string()).unwrap();
    std::fs::write(folder.path().join("ca.crt"), "supplied").unwrap();
    assert!(credentials(folder.path()).load_or_generate(now).await.is_err());
    assert_eq!(
        std::fs::read_to_string(folder.path().join("ca.crt")).unwrap(),
        "supplied"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_missing_key_set_is_written_beside_the_key_and_no_key_is_made_beside_a_set() {
    use super::jwt::JwtSigner;
    let folder = tempfile::tempdir().unwrap();
    let flags = flags(&["-issuer-credentials", folder.path().to_str().unwrap(), "-jwt-enabled"]);
    let load = || JwtSigner::load_or_generate(&flags, Duration::ZERO);
    load().await.unwrap();
    let (key, set) = (folder.path().join("jwt.key"), folder.path().join("jwks.json"));
    let (first_key, first_set) = (std::fs::read(&key).unwrap(), std::fs::read(&set).unwrap());
    std::fs::remove_file(&set).unwrap();
    load().await.unwrap();
    assert_eq!(
        (std::fs::read(&key).unwrap(), std::fs::read(&set).unwrap()),
        (first_key, first_set.clone())
    );
    std::fs::remove_file(&key).unwrap();
    assert!(load().await.is_err());
    assert!(!key.exists() && std::fs::read(&set).unwrap() == first_set);
}

#[tokio::test]
async fn supplied_issuers_may_be_rsa_ecdsa_or_ed25519() {
    let domain = palladium_spiffe::TrustDomain::parse("td").unwrap();
    let now = OffsetDateTime::now_utc();
    for key in [
        KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap(),
        KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
        KeyPair::generate_for(&PKCS_ED25519).unwrap(),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (root_key, root) = crate::authority::make_root(&domain, now, Duration::days(1)).unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        params.not_before = now - Duration::hours(1);
        params.not_after = now + Duration::hours(1);
        let root_issuer = rcgen::Issuer::from_ca_cert_der(&root, root_key).unwrap();
        let issuer = params.signed_by(&key, &root_issuer).unwrap();
        std::fs::write(folder.path().join("ca.crt"), pem_of(&root)).unwrap();
        // With the root at the end, as some supply it.
        std::fs::write(folder.path().join("issuer.crt"), pem_of(issuer.der()) + &pem_of(&root)).unwrap();
        std::fs::write(folder.path().join("issuer.key"), key.serialize_pem()).unwrap();
        let authority = credentials(folder.path()).load_or_generate(now).await.unwrap();
        assert_eq!(authority.chain.len(), 1, "the root is not sent on");
        let own = SpiffeId::parse("spiffe://td/ns/default/dapr-sentry").unwrap();
        let source = palladium_tls::SvidSource::new();
        crate::own::certify(&own, &authority, Duration::hours(24), &source).unwrap();
        assert!(source.current().unwrap().leaf().not_after <= authority.not_after.unix_timestamp());
    }
}

#[tokio::test]
async fn jwts_name_the_same_identity_and_verify_by_the_published_key_set() {
    use super::jwt::JwtSigner;
    let folder = tempfile::tempdir().unwrap();
    let id = SpiffeId::parse("spiffe://public/ns/default/app").unwrap();
    let args = [
        "-issuer-credentials",
        folder.path().to_str().unwrap(),
        "-jwt-enabled",
        "-jwt-issuer=https://issuer",
    ];
    for round in 0..2 {
        let signer = JwtSigner::load_or_generate(&flags(&args), Duration::minutes(15))
            .await
            .unwrap();
        let (all, each) = signer.sign(&id, &["public".to_owned(), "other".to_owned()]).unwrap();
        let set = std::fs::read(folder.path().join("jwks.json")).unwrap();
        let set: jsonwebtoken::jwk::JwkSet = serde_json::from_slice(&set).unwrap();
        let kid = jsonwebtoken::decode_header(&all).unwrap().kid.unwrap();
        let key = jsonwebtoken::DecodingKey::from_jwk(set.find(&kid).expect("the same key after a restart")).unwrap();
        let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
        rules.set_audience(&["other"]);
        rules.set_issuer(&["https://issuer"]);
        rules.sub = Some(id.to_string());
        for token in [&all, &each["other"]] {
            let claims: serde_json::Value = jsonwebtoken::decode(token, &key, &rules).unwrap().claims;
            assert_eq!(claims["jti"].as_str().unwrap().len(), 32, "round {round}");
        }
        assert!(jsonwebtoken::decode::<serde_json::Value>(&each["public"], &key, &rules).is_err());
        assert!(
            !set.find(&kid)
                .unwrap()
                .thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256)
                .unwrap()
                .is_empty()
        );
    }
}

/// What Dapr's `sentry`, ours or the original, is asked for by the client that our `daprd` uses.
async fn a_daprd_gets_and_keeps_its_identity(
    port: u16,
    folder: &std::path::Path,
    token_file: Option<&std::path::Path>,
) {
    use palladium_identity::{Attestation, Identity, Roots, Settings};
    let roots = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        loop {
            match tokio::fs::read_to_string(folder.join("ca.crt")).await {
                Ok(roots) if !roots.is_empty() => return roots,
                _ => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        }
    });
    let settings = Settings {
        id: SpiffeId::parse("spiffe://public/ns/default/my-app").unwrap(),
        sentry_address: format!("localhost:{port}"),
        sentry_id: SpiffeId::parse("spiffe://localhost/ns/default/dapr-sentry").unwrap(),
        roots: Roots::Shared(roots.await.expect("roots in time")),
        deadline: std::time::Duration::from_secs(20),
    };
    let attestation = Attestation::Dapr {
        token_file: token_file.map(Into::into),
    };
    let identity = Identity::obtain(settings, attestation).await.unwrap();
    let source = identity.svid().clone();
    let mut renewed = source.subscribe();
    let first = source.current().unwrap();
    let shutdown = palladium_tasks::Shutdown::new();
    let fresh = tokio::spawn(identity.keep_fresh(shutdown.clone()));
    tokio::time::timeout(std::time::Duration::from_secs(10), renewed.changed())
        .await
        .expect("renewed")
        .unwrap();
    assert_ne!(source.current().unwrap().chain()[0], first.chain()[0]);
    shutdown.trigger();
    fresh.await.unwrap().unwrap();
}

struct Setup {
    folder: tempfile::TempDir,
    port: u16,
    args: Vec<String>,
    token: std::path::PathBuf,
}

/// Files and flags of a sentry whose leaves live four seconds and that believes tokens of one key, or everybody.
fn setup(jwks: bool) -> Setup {
    use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
    let folder = tempfile::tempdir().unwrap();
    let key = EncodingKey::from_ec_der(&KeyPair::generate().unwrap().serialize_der());
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let claims = serde_json::json!({
        "sub": "spiffe://public/ns/default/my-app", "aud": "spiffe://localhost/ns/default/dapr-sentry",
        "iat": now, "exp": now + 600,
    });
    let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
    jwk.common.key_id = Some("k".to_owned());
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some("k".to_owned());
    let token = folder.path().join("token");
    std::fs::write(&token, jsonwebtoken::encode(&header, &claims, &key).unwrap() + "\n").unwrap();
    let set = serde_json::json!({ "keys": [jwk] });
    let validators = serde_json::json!([{ "name": "jwks", "options": { "source": set.to_string() } }]);
    let validators = if jwks { validators } else { serde_json::json!([]) };
    let config = serde_json::json!({
        "apiVersion": "dapr.io/v1alpha1", "kind": "Configuration", "metadata": { "name": "x" },
        "spec": { "mtls": { "enabled": true, "workloadCertTTL": "4s", "tokenValidators": validators } },
    });
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, config.to_string()).unwrap();
    let ports: Vec<_> = (0..3)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let ports: Vec<_> = ports
        .iter()
        .map(|listener| listener.local_addr().unwrap().port())
        .collect();
    let args = [
        ("port", ports[0].to_string()),
        ("healthz-port", ports[1].to_string()),
        ("metrics-port", ports[2].to_string()),
        ("listen-address", "127.0.0.1".to_owned()),
        ("issuer-credentials", folder.path().display().to_string()),
        ("config", file.display().to_string()),
    ];
    let args = args.map(|(name, value)| format!("-{name}={value}")).to_vec();
    Setup {
        port: ports[0],
        folder,
        args,
        token,
    }
}

#[tokio::test]
async fn our_daprs_client_is_served_by_our_sentry_with_each_validator() {
    palladium_tls::install_crypto_provider();
    for jwks in [false, true] {
        let setup = setup(jwks);
        let args: Vec<&str> = setup.args.iter().map(String::as_str).collect();
        let shutdown = palladium_tasks::Shutdown::new();
        let sentry = tokio::spawn(super::run(flags(&args), shutdown.clone()));
        let token = jwks.then_some(setup.token.as_path());
        a_daprd_gets_and_keeps_its_identity(setup.port, setup.folder.path(), token).await;
        let metrics = setup.args[2].strip_prefix("-metrics-port=").unwrap();
        let text = reqwest::get(format!("http://127.0.0.1:{metrics}/metrics"))
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        for name in ["request_received_total", "success_total"] {
            let line = format!("dapr_sentry_cert_sign_{name} ");
            assert!(
                text.lines().any(|l| l.strip_prefix(&line).is_some_and(|n| n != "0")),
                "{line} in {text}"
            );
        }
        shutdown.trigger();
        sentry.await.unwrap().unwrap();
    }
}

#[tokio::test]
#[ignore = "needs Dapr's sentry: PALLADIUM_PEERS"]
async fn our_daprs_client_is_served_by_the_original_sentry_with_each_validator() {
    palladium_tls::install_crypto_provider();
    for jwks in [false, true] {
        let setup = setup(jwks);
        let peers = std::env::var_os("PALLADIUM_PEERS").expect("PALLADIUM_PEERS: last line of `./dev peers`");
        let mut sentry = tokio::process::Command::new(std::path::Path::new(&peers).join("sentry"))
            .args(&setup.args)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let token = jwks.then_some(setup.token.as_path());
        a_daprd_gets_and_keeps_its_identity(setup.port, setup.folder.path(), token).await;
        sentry.kill().await.unwrap();
    }
}
