//! Settings: what becomes part of an address, whose keys sign, and what a tenant may not ask for.

use palladium_component::Properties;

use super::*;

fn parse(pairs: &[(&str, &str)]) -> S3Metadata {
    let properties: Properties = [("bucket", "b-1.x")].into_iter().chain(pairs.iter().copied()).collect();
    S3Metadata::parse(&properties).unwrap()
}

fn region() -> Hosting {
    Hosting::Platform {
        folder: "/nonexistent".into(),
    }
}

fn nothing(_: &str) -> Option<String> {
    None
}

#[test]
fn what_becomes_part_of_a_host_is_checked() {
    for bucket in ["", "a", "UP", "a/b", "a..b", "evil.com/x", "a#b", "a@b"] {
        let metadata = S3Metadata::parse(&[("bucket", bucket)].into_iter().collect());
        let error = metadata
            .map_err(OpenError::from)
            .and_then(|metadata| metadata.check(&Hosting::SelfHosted));
        assert!(error.unwrap_err().to_string().contains("'bucket'"), "{bucket}");
    }
    for (said, field) in [("", "region"), ("x.evil.com/", "region"), ("eu#", "region")] {
        let metadata = parse(&[("region", said), ("accessKey", "k"), ("secretKey", "s")]);
        assert_eq!(metadata.signer(&region(), nothing).unwrap_err().field, field, "{said}");
    }
    for endpoint in ["ftp://h", "https://", "https://u:hunter2@h", "https://h/?x=1", "a b"] {
        let error = parse(&[("endpoint", endpoint)]).endpoint("r").unwrap_err();
        assert!(
            error.field == "endpoint" && !error.to_string().contains("hunter2"),
            "{error}"
        );
    }
}

#[test]
fn endpoints_as_dapr_reads_them() {
    for (pairs, address) in [
        (&[][..], "https://s3.eu-west-1.amazonaws.com/"),
        (&[("endpoint", "http://h:1")][..], "http://h:1/"),
        (&[("endpoint", "h:1")][..], "https://h:1/"),
        (&[("endpoint", "h:1"), ("disableSSL", "true")][..], "http://h:1/"),
        (&[("endpoint", "https://h"), ("disableSSL", "true")][..], "https://h/"),
    ] {
        assert_eq!(parse(pairs).endpoint("eu-west-1").unwrap().as_str(), address);
    }
}

#[test]
fn the_machines_own_keys_sign_for_nobody_else() {
    let environment = |name: &str| Some(name.to_lowercase().replace('_', "-"));
    let own = parse(&[]).signer(&Hosting::SelfHosted, environment).unwrap();
    assert_eq!(
        (own.key.expose_secret(), own.region.as_str()),
        ("aws-access-key-id", "aws-region")
    );
    assert_eq!(own.token.unwrap().expose_secret(), "aws-session-token");
    assert_eq!(
        parse(&[]).signer(&region(), environment).unwrap_err().field,
        "accessKey"
    );
    let said = [("awsAccessKey", "k"), ("awsSecretKey", "s"), ("awsRegion", "r")];
    let said = parse(&said).signer(&Hosting::SelfHosted, environment).unwrap();
    assert!(said.key.expose_secret() == "k" && said.token.is_none());
    assert!(!format!("{said:?}").contains("\"s\""));
}

#[test]
fn a_tenant_gets_no_file_and_no_weak_connection() {
    for pairs in [&[("filePath", "/etc/shadow")][..], &[("insecureSSL", "true")][..]] {
        assert!(parse(pairs).check(&Hosting::SelfHosted).is_ok());
        assert!(
            matches!(parse(pairs).check(&region()), Err(OpenError::NotAllowed(_))),
            "{pairs:?}"
        );
    }
    let request = [("filePath".to_owned(), "/etc/shadow".to_owned())].into();
    assert!(
        parse(&[])
            .options(&request, &Hosting::SelfHosted)
            .unwrap()
            .file_path
            .is_some()
    );
    assert!(parse(&[]).options(&request, &region()).is_err());
    let error = parse(&[("assumeRoleArn", "arn")])
        .check(&region())
        .unwrap_err()
        .to_string();
    assert!(error.contains("'assumeRoleArn'"), "{error}");
}

#[test]
fn a_request_goes_over_the_component() {
    let metadata = parse(&[("decodeBase64", "true"), ("presignTTL", "15m"), ("storageClass", "A")]);
    let read = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        metadata.options(&pairs.collect(), &region())
    };
    let own = read(&[]).unwrap();
    assert!(own.decode_base64 && !own.encode_base64 && own.presign_ttl == Some(Duration::from_secs(900)));
    let said = read(&[("decodeBase64", "no"), ("storageClass", "B"), ("presignTTL", "1h")]).unwrap();
    assert!(!said.decode_base64 && said.storage_class.as_deref() == Some("B"));
    for ttl in ["15", "-1s", "169h", "soon", "1ms"] {
        assert!(read(&[("presignTTL", ttl)]).is_err(), "{ttl}");
    }
}
