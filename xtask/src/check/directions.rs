//! Who may import whom, which library lives behind which fence, which call is made only where.
//!
//! One idea: the architecture is three tables. The code below them must never know a name that is not in a table.

use super::{
    Finding,
    source::Source,
    workspace::{Member, Workspace},
};

const CONTRACTS: &str = "contracts/";
const FOUNDATION: &str = "foundation/";

/// What the crates below a folder may import from this workspace; the first line that fits decides.
struct Zone {
    folder: &'static str,
    may: &'static [&'static str],
    why: &'static str,
}

const ZONES: &[Zone] = &[
    Zone {
        folder: "contracts/spiffe",
        may: &[],
        why: "it is a leaf",
    },
    Zone {
        folder: "contracts/proto",
        may: &[],
        why: "it is a leaf",
    },
    Zone {
        folder: CONTRACTS,
        may: &[CONTRACTS, FOUNDATION],
        why: "contracts are types without behaviour",
    },
    Zone {
        folder: FOUNDATION,
        may: &[FOUNDATION, "contracts/spiffe", "contracts/proto"],
        why: "foundation knows nothing of Palladium",
    },
    Zone {
        folder: "control-plane/",
        may: &[CONTRACTS, FOUNDATION, "control-plane/"],
        why: "the control plane meets regions and sentries only through contracts",
    },
    Zone {
        folder: "region/dapr-server",
        may: &[CONTRACTS, FOUNDATION, "region/engine/", "components/"],
        why: "the process nearest to tenants carries only the runtime and the drivers",
    },
    Zone {
        folder: "region/",
        may: &[CONTRACTS, FOUNDATION, "region/"],
        why: "a region meets the control plane and sentries only through contracts",
    },
    Zone {
        folder: "sentry",
        may: &[CONTRACTS, FOUNDATION],
        why: "the certificate authority stands alone",
    },
    Zone {
        folder: "components/",
        may: &[CONTRACTS, FOUNDATION, "components/"],
        why: "a driver knows its contract and nothing of the process that links it",
    },
    Zone {
        folder: "cli",
        may: &[CONTRACTS, FOUNDATION],
        why: "the CLI speaks the REST contract",
    },
    Zone {
        folder: "bin/palladium-dapr-server",
        may: &[
            CONTRACTS,
            FOUNDATION,
            "region/dapr-server",
            "region/engine/",
            "components/",
        ],
        why: "the process nearest to tenants carries only the runtime and the drivers",
    },
    Zone {
        folder: "bin/",
        may: &[CONTRACTS, FOUNDATION, "control-plane/", "region/", "sentry", "cli"],
        why: "an executable picks roles and wires them; drivers belong to the Dapr Server",
    },
    Zone {
        folder: "tests/fuzz",
        may: &[CONTRACTS, FOUNDATION, "region/engine/"],
        why: "targets call parsers; a role or a driver would make their build long",
    },
    Zone {
        folder: "tests",
        may: &[CONTRACTS, FOUNDATION, PEERS],
        why: "scenarios speak to real processes over the wire",
    },
    Zone {
        folder: "xtask",
        may: &[CONTRACTS, FOUNDATION],
        why: "tools run programs, they do not link roles",
    },
];

/// What must not be in a program, however many steps away.
const NEVER_LINKED: &[(&str, &str)] = &[
    ("bin/palladium", "components/"),
    ("bin/palladium", "region/dapr-server"),
    ("bin/palladium-dapr-server", "control-plane/"),
    ("bin/palladium-dapr-server", "sentry"),
    ("cli", "components/"),
];

/// The suite that every driver runs, and the real servers that it runs them over, may be dev-dependencies of any crate that
/// holds one.
const CONFORMANCE: &str = "components/conformance";
const PEERS: &str = "components/peers";

/// A library that only some folders may use; tests may where `in_tests` says so.
struct Fence {
    library: &'static str,
    folders: &'static [&'static str],
    in_tests: bool,
    why: &'static str,
}

const SQL: &[&str] = &["control-plane/store", "region/store", "components/"];

const FENCES: &[Fence] = &[
    Fence {
        library: "sqlx",
        folders: SQL,
        in_tests: false,
        why: "SQL is only in the stores and the drivers",
    },
    Fence {
        library: "rusqlite",
        folders: &[],
        in_tests: false,
        why: "sqlx is the one SQL library",
    },
    Fence {
        library: "redis",
        folders: &["components/"],
        in_tests: false,
        why: "drivers alone speak to backends",
    },
    Fence {
        library: "krafka",
        folders: &["components/"],
        in_tests: false,
        why: "drivers alone speak to backends",
    },
    Fence {
        library: "lapin",
        folders: &["components/"],
        in_tests: false,
        why: "drivers alone speak to backends",
    },
    Fence {
        library: "rumqttc-v4-next",
        folders: &["components/"],
        in_tests: false,
        why: "drivers alone speak to backends",
    },
    Fence {
        library: "cedar-policy",
        folders: &["control-plane/authz"],
        in_tests: false,
        why: "one policy engine, one place",
    },
    Fence {
        library: "rcgen",
        folders: &["sentry", "foundation/identity"],
        in_tests: true,
        why: "certificates are issued only in sentry; identity makes requests for them",
    },
    Fence {
        library: "kube",
        folders: &[],
        in_tests: false,
        why: "no Kubernetes runtime yet",
    },
];

/// Libraries that must not be linked at all.
const BANNED: &[(&str, &str)] = &[
    ("ring", "aws-lc-rs is the one crypto provider"),
    ("openssl-sys", "rustls is the one TLS library"),
    ("native-tls", "rustls is the one TLS library"),
];

/// A call that only some folders may make in product code.
struct Call {
    text: &'static str,
    folders: &'static [&'static str],
    why: &'static str,
    remedy: &'static str,
}

const TLS_REMEDY: &str = "use a builder of palladium-tls";
const ISSUE_REMEDY: &str = "ask sentry by CA/SignCertificate";

const CALLS: &[Call] = &[
    Call {
        text: "ServerConfig::builder",
        folders: &["foundation/tls"],
        why: "TLS is set up in one place",
        remedy: TLS_REMEDY,
    },
    Call {
        text: "ClientConfig::builder",
        folders: &["foundation/tls"],
        why: "TLS is set up in one place",
        remedy: TLS_REMEDY,
    },
    Call {
        text: ".dangerous()",
        folders: &["foundation/tls"],
        why: "TLS is set up in one place",
        remedy: TLS_REMEDY,
    },
    Call {
        text: ".signed_by(",
        folders: &["sentry"],
        why: "certificates are issued only in sentry",
        remedy: ISSUE_REMEDY,
    },
    Call {
        text: ".self_signed(",
        folders: &["sentry"],
        why: "certificates are issued only in sentry",
        remedy: ISSUE_REMEDY,
    },
];

/// `folder` is `pattern` itself or lies below it.
fn below(folder: &str, pattern: &str) -> bool {
    folder
        .strip_prefix(pattern)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || pattern.ends_with('/'))
}

fn below_any(folder: &str, patterns: &[&str]) -> bool {
    patterns.iter().any(|pattern| below(folder, pattern))
}

/// Imports between the crates of the workspace.
pub fn imports(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in workspace.members.values() {
        let Some(zone) = ZONES.iter().find(|zone| below(&member.folder, zone.folder)) else {
            let rule = "every crate lies in a folder that the table of directions knows";
            findings.push(Finding::new(
                &member.folder,
                rule,
                "move it, or add a line to xtask/src/check/directions.rs",
            ));
            continue;
        };
        for imported in workspace.ours(member, true) {
            let for_tests = [CONFORMANCE, PEERS].contains(&imported.folder.as_str()) && !links(member, imported);
            if !below_any(&imported.folder, zone.may) && !for_tests {
                let rule = format!("must not import {}: {}", imported.folder, zone.why);
                findings.push(Finding::new(
                    manifest(member),
                    rule,
                    "share a type in contracts/, or speak over the wire",
                ));
            }
        }
        for (_, never) in NEVER_LINKED.iter().filter(|(program, _)| member.folder == *program) {
            for linked in workspace
                .linked(member)
                .values()
                .filter(|linked| below(&linked.folder, never))
            {
                let rule = format!("must not link {}, not even indirectly", linked.folder);
                findings.push(Finding::new(
                    manifest(member),
                    rule,
                    "`cargo tree -i` shows the way; cut it",
                ));
            }
        }
    }
    findings
}

fn links(member: &Member, other: &Member) -> bool {
    member.dependencies.iter().any(|d| d.package == other.name && !d.dev)
}

fn manifest(member: &Member) -> String {
    format!("{}/Cargo.toml", member.folder)
}

/// Libraries behind fences, and banned ones.
pub fn libraries(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in workspace.members.values() {
        for dependency in &member.dependencies {
            let Some(fence) = FENCES.iter().find(|fence| fence.library == dependency.package) else {
                continue;
            };
            if below_any(&member.folder, fence.folders) || dependency.dev && fence.in_tests {
                continue;
            }
            let rule = format!("must not use {}: {}", fence.library, fence.why);
            let remedy = format!("move the code into {}", fence.folders.join(" or "));
            findings.push(Finding::new(manifest(member), rule, remedy));
        }
    }
    for library in &workspace.libraries {
        if let Some((name, why)) = BANNED.iter().find(|(name, _)| *name == library.name) {
            let remedy = format!("`cargo tree -i {name}` shows who brings it; change that crate's features");
            findings.push(Finding::new(
                format!("{name} {}", library.version),
                format!("must not be linked: {why}"),
                remedy,
            ));
        }
    }
    findings
}

/// Calls in product code outside their folder.
pub fn calls(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|s| !s.generated() && !below(&s.path, "xtask")) {
        for call in CALLS.iter().filter(|call| !below_any(&source.path, call.folders)) {
            for (line, _) in source.product_lines().filter(|(_, text)| text.contains(call.text)) {
                let rule = format!("`{}` only in {}: {}", call.text, call.folders.join(", "), call.why);
                findings.push(Finding::new(format!("{}:{line}", source.path), rule, call.remedy));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests;
