//! Table and property tests of the strict parse.

use proptest::prelude::*;

use super::*;

#[test]
fn sec_004_forms_that_are_not_exactly_a_spiffe_id_are_refused() {
    use ParseError as E;
    for (uri, why) in [
        ("", E::Scheme),
        ("http://td/a", E::Scheme),
        ("SPIFFE://td/a", E::Scheme),
        ("spiffe:/td/a", E::Scheme),
        (" spiffe://td/a", E::Scheme),
        ("spiffe://", E::EmptyTrustDomain),
        ("spiffe:///a", E::EmptyTrustDomain),
        ("spiffe://TD/a", E::TrustDomainCharacter),
        ("spiffe://td:80/a", E::TrustDomainCharacter),
        ("spiffe://user@td/a", E::TrustDomainCharacter),
        ("spiffe://t%64/a", E::TrustDomainCharacter),
        ("spiffe://[::1]/a", E::TrustDomainCharacter),
        ("spiffe://td?x", E::TrustDomainCharacter),
        ("spiffe://td#x", E::TrustDomainCharacter),
        ("spiffe://tд/a", E::TrustDomainCharacter),
        ("spiffe://td\0/a", E::TrustDomainCharacter),
        ("spiffe://td/", E::TrailingSlash),
        ("spiffe://td/a/", E::TrailingSlash),
        ("spiffe://td//a", E::EmptySegment),
        ("spiffe://td/a//b", E::EmptySegment),
        ("spiffe://td/./a", E::DotSegment),
        ("spiffe://td/a/../b", E::DotSegment),
        ("spiffe://td/a/.", E::DotSegment),
        ("spiffe://td/a%2Fb", E::PathCharacter),
        ("spiffe://td/a%2fb", E::PathCharacter),
        ("spiffe://td/a?q=1", E::PathCharacter),
        ("spiffe://td/a#f", E::PathCharacter),
        ("spiffe://td/a b", E::PathCharacter),
        ("spiffe://td/ä", E::PathCharacter),
        ("spiffe://td/a\n", E::PathCharacter),
        ("spiffe://td/a\\b", E::PathCharacter),
        ("spiffe://td/a*", E::PathCharacter),
    ] {
        assert_eq!(SpiffeId::parse(uri), Err(why), "{uri:?}");
    }
}

#[test]
fn sec_004_valid_forms_are_kept_byte_for_byte_and_never_folded_together() {
    for uri in [
        "spiffe://td",
        "spiffe://127.0.0.1/a",
        "spiffe://a_b-c.d/A/b.C/_x-1",
        "spiffe://td/.../x",
        "spiffe://reg-abcdefghijkl.palladium.internal/ns/prj-abcdefghijkl/orders",
    ] {
        let id = SpiffeId::parse(uri).unwrap();
        assert_eq!(id.to_string(), uri);
        assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), uri);
    }
    assert_ne!(
        SpiffeId::parse("spiffe://td/a").unwrap(),
        SpiffeId::parse("spiffe://td/A").unwrap()
    );
    assert!(!SpiffeId::parse("spiffe://td").unwrap().is_workload());
}

#[test]
fn sec_005_lengths() {
    let td = "d".repeat(255);
    assert!(TrustDomain::parse(&td).is_ok());
    assert_eq!(
        TrustDomain::parse(&format!("{td}d")),
        Err(ParseError::TrustDomainTooLong)
    );
    let fill = |n: usize| format!("spiffe://td/{}", "p".repeat(n - "spiffe://td/".len()));
    assert!(SpiffeId::parse(&fill(2048)).is_ok());
    assert_eq!(SpiffeId::parse(&fill(2049)), Err(ParseError::TooLong));
    let long = format!("/{}", "p".repeat(2048));
    assert_eq!(
        SpiffeId::new(&TrustDomain::parse("td").unwrap(), &long),
        Err(ParseError::TooLong)
    );
}

#[test]
fn workload_ids_have_exactly_two_segments() {
    let td = platform::trust_domain("reg-abc").unwrap();
    let id = SpiffeId::workload(&td, "prj-x", "orders").unwrap();
    assert_eq!(id.as_str(), "spiffe://reg-abc.palladium.internal/ns/prj-x/orders");
    assert_eq!(id.namespace_and_name(), Some(("prj-x", "orders")));
    assert_eq!(SpiffeId::workload(&td, "prj-x", "a/b"), Err(ParseError::PathCharacter));
    assert_eq!(SpiffeId::workload(&td, "..", "a"), Err(ParseError::DotSegment));
    assert_eq!(SpiffeId::workload(&td, "", "a"), Err(ParseError::EmptySegment));
    assert_eq!(SpiffeId::new(&td, "/ns/a/b/c").unwrap().namespace_and_name(), None);
    assert_eq!(SpiffeId::new(&td, "/nsx/a/b").unwrap().namespace_and_name(), None);
}

#[test]
fn patterns_are_exact_or_a_prefix() {
    let id = |path: &str| SpiffeId::parse(&format!("spiffe://td{path}")).unwrap();
    let apps = PathPattern::parse("/ns/prj-*").unwrap();
    assert!(apps.matches(&id("/ns/prj-abc/orders")));
    assert!(!apps.matches(&id("/ns/prj-")));
    assert!(!apps.matches(&id("/ns/palladium/agent")));
    assert!(!apps.matches(&id("/x/ns/prj-abc/orders")));
    let folder = PathPattern::parse("/ns/palladium/*").unwrap();
    assert!(folder.matches(&id("/ns/palladium/agent")));
    assert!(!folder.matches(&id("/ns/palladium")));
    assert!(!folder.matches(&id("/ns/palladium2/agent")));
    let exact = PathPattern::parse("/ns/palladium/agent").unwrap();
    assert!(exact.matches(&id("/ns/palladium/agent")));
    assert!(!exact.matches(&id("/ns/palladium/agent2")));
    assert!(!exact.matches(&id("/ns/palladium/agent/x")));
    for bad in ["", "*", "ns/*", "/a*b", "/a**", "//*", "/../*", "/a/./*", "/a%*", "/a/"] {
        assert!(PathPattern::parse(bad).is_err(), "{bad:?}");
    }
    assert_eq!(apps.to_string(), "/ns/prj-*");
}

#[test]
fn serde_is_the_string_form_and_as_strict() {
    let id: SpiffeId = serde_json::from_str("\"spiffe://td/a\"").unwrap();
    assert_eq!(serde_json::to_string(&id).unwrap(), "\"spiffe://td/a\"");
    assert!(serde_json::from_str::<SpiffeId>("\"spiffe://td/a/\"").is_err());
    assert!(serde_json::from_str::<TrustDomain>("\"TD\"").is_err());
    assert!(serde_json::from_str::<PathPattern>("\"/a*b\"").is_err());
}

proptest! {
    #[test]
    fn sec_004_whatever_parses_is_unchanged_and_made_only_of_allowed_bytes(s in "(spiffe://)?[a-zA-Z0-9._/%@:?#*-]{0,60}") {
        if let Ok(id) = SpiffeId::parse(&s) {
            prop_assert_eq!(id.as_str(), &s);
            prop_assert!(!id.path().ends_with('/') && !id.path().contains("//") && !s.contains('%'));
            prop_assert!(id.path().split('/').all(|x| x != "." && x != ".."));
            prop_assert_eq!(SpiffeId::new(id.trust_domain(), id.path()).unwrap(), id);
        }
    }

    #[test]
    fn any_text_is_refused_or_kept(s in "\\PC{0,80}") {
        prop_assert!(SpiffeId::parse(&s).is_ok_and(|id| id.as_str() == s) || SpiffeId::parse(&s).is_err());
    }

    #[test]
    fn a_prefix_pattern_agrees_with_starts_with(path in "(/[a-c-]{1,3}){1,4}", prefix in "/[a-c-]{1,2}") {
        let id = SpiffeId::new(&TrustDomain::parse("td").unwrap(), &path).unwrap();
        let pattern = PathPattern::parse(&format!("{prefix}*")).unwrap();
        prop_assert_eq!(pattern.matches(&id), path.starts_with(&prefix) && path.len() > prefix.len());
    }
}
