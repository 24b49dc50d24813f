//! The tables of directions against small workspaces made by hand.

use super::super::workspace::{Dependency, Library};
use super::*;

fn workspace(crates: &[(&str, &[&str])]) -> Workspace {
    let mut workspace = Workspace::default();
    for (folder, dependencies) in crates {
        let dependency = |d: &&str| Dependency {
            package: d.trim_start_matches("dev:").to_owned(),
            ident: d.trim_start_matches("dev:").replace(['-', '/'], "_"),
            dev: d.starts_with("dev:"),
        };
        let member = Member {
            name: (*folder).to_owned(),
            folder: (*folder).to_owned(),
            dependencies: dependencies.iter().map(dependency).collect(),
            ignore_unused: Vec::new(),
        };
        workspace.members.insert(member.name.clone(), member);
    }
    workspace
}

fn places(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|f| f.place.as_str()).collect()
}

#[test]
fn zones_meet_only_through_contracts() {
    let findings = imports(&workspace(&[
        ("contracts/kinds", &[]),
        ("control-plane/server", &["contracts/kinds", "region/agent"]),
        ("region/agent", &["contracts/kinds", "sentry"]),
        ("sentry", &["contracts/kinds"]),
    ]));
    assert_eq!(
        places(&findings),
        ["control-plane/server/Cargo.toml", "region/agent/Cargo.toml"]
    );
    assert!(findings[0].rule.contains("region/agent"), "{findings:?}");
}

#[test]
fn leaves_and_foundation_look_down_only() {
    let findings = imports(&workspace(&[
        ("contracts/spiffe", &["foundation/tls"]),
        ("contracts/kinds", &["foundation/tls"]),
        ("foundation/tls", &["contracts/spiffe", "contracts/kinds"]),
    ]));
    assert_eq!(
        places(&findings),
        ["contracts/spiffe/Cargo.toml", "foundation/tls/Cargo.toml"]
    );
}

#[test]
fn drivers_reach_only_the_dapr_server() {
    let findings = imports(&workspace(&[
        ("components/state", &[]),
        ("region/dapr-server", &["components/state"]),
        ("region/store", &["components/state"]),
        ("bin/palladium-dapr-server", &["region/dapr-server"]),
        ("bin/palladium", &["region/store"]),
    ]));
    assert_eq!(
        places(&findings),
        ["bin/palladium/Cargo.toml", "region/store/Cargo.toml"]
    );
    assert!(findings[0].rule.contains("not even indirectly"));
}

#[test]
fn suites_and_real_servers_are_for_tests_of_anyone() {
    let of = |dependency: &str| {
        imports(&workspace(&[
            ("components/conformance", &[]),
            ("components/peers", &[]),
            ("region/store", &[dependency]),
        ]))
        .len()
    };
    for name in ["components/conformance", "components/peers"] {
        assert_eq!((of(&format!("dev:{name}")), of(name)), (0, 1));
    }
}

#[test]
fn unknown_folders_are_told() {
    assert_eq!(places(&imports(&workspace(&[("misc/things", &[])]))), ["misc/things"]);
    assert_eq!(places(&imports(&workspace(&[("sentry-extra", &[])]))), ["sentry-extra"]);
}

#[test]
fn fenced_and_banned_libraries() {
    let mut workspace = workspace(&[
        ("control-plane/store", &["sqlx"]),
        ("control-plane/server", &["sqlx", "cedar-policy"]),
        ("foundation/tls", &["dev:rcgen"]),
        ("region/agent", &["rcgen"]),
    ]);
    workspace.libraries.push(Library {
        name: "ring".into(),
        version: "0.17.1".into(),
        license: None,
    });
    let findings = libraries(&workspace);
    let expected = ["control-plane/server/Cargo.toml"; 2]
        .into_iter()
        .chain(["region/agent/Cargo.toml", "ring 0.17.1"]);
    assert_eq!(places(&findings), expected.collect::<Vec<_>>());
}

#[test]
fn tls_is_set_up_in_one_place_except_in_tests() {
    let text = "//! x\nfn a() {\n    // ClientConfig::builder\n    ServerConfig::builder();\n}\n#[cfg(test)]\nmod tests {\n    ClientConfig::builder();\n}\n";
    let source = |path: &str| Source {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let sources = [
        "foundation/tls/src/lib.rs",
        "foundation/tls-more/src/lib.rs",
        "cli/src/tests.rs",
        "cli/src/lib.rs",
    ];
    let findings = calls(&sources.map(source));
    assert_eq!(
        places(&findings),
        ["foundation/tls-more/src/lib.rs:4", "cli/src/lib.rs:4"]
    );
}
