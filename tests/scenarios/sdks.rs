//! Dapr's own SDKs for JavaScript, Go, Python and Java, unmodified: each program of `tests/sdks` against the drop-in form,
//! and through the gateway of a whole installation with what `palladium env` prints.
//!
//! One idea: the four run at the same time and call each other's methods, so that every SDK meets every other one's server.
//! A missing SDK is a failure: `./dev test` prepares them and names their folder in `PALLADIUM_SDKS`. It must never be given
//! an SDK that was changed to fit.

use std::{
    env,
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use palladium_tests::{
    ports::Ports,
    system::{System, executable},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::JoinSet,
    time::timeout,
};

/// For all steps of a program; each of its waits has 30 seconds.
const ENOUGH: Duration = Duration::from_secs(150);
const END: Duration = Duration::from_secs(10);
/// What the applications want to see where they are called; Go's SDK asks for it.
const APP_TOKEN: &str = "the-applications-own-token";
/// Of the store of roots, which keeps no secret: Java reads none without one.
const PASSWORD: &str = "changeit";

const RESOURCES: &str = "\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: kvstore}
spec: {type: state.in-memory, version: v1}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: bus}
spec: {type: pubsub.in-memory, version: v1}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: environment}
spec: {type: secretstores.local.env, version: v1}
";

/// A program of `tests/sdks`.
#[derive(Clone, Copy)]
struct Sdk {
    language: &'static str,
    /// Its command line; `{}` is the folder of the SDKs.
    program: &'static [&'static str],
    /// What its server part speaks.
    serves: Option<&'static str>,
    /// What it says, in this order.
    steps: &'static str,
}

const SDKS: [Sdk; 4] = [
    Sdk {
        language: "javascript",
        program: &["node", "{}/javascript/main.js"],
        serves: Some("http"),
        steps: "http started, http healthy, http metadata, http state, http bulk, http conflict, http transaction, \
                http delete, http event, http secret, http invoke javascript, http invoke go, http invoke python, \
                grpc started, grpc healthy, grpc metadata, grpc state, grpc bulk, grpc conflict, grpc transaction, \
                grpc delete, grpc event, grpc secret, grpc invoke javascript, grpc invoke go, grpc invoke python",
    },
    Sdk {
        language: "go",
        program: &["{}/go/sdks"],
        serves: Some("http"),
        steps: "wait, metadata, state, conflict, transaction, delete, secret, invoke javascript, invoke go, \
                invoke python, event served, event streamed",
    },
    Sdk {
        language: "python",
        program: &["{}/python/venv/bin/python", "{}/python/main.py"],
        serves: Some("grpc"),
        steps: "healthy, metadata, state, conflict, transaction, delete, secret, invoke javascript, invoke go, \
                invoke python, event served, event streamed",
    },
    Sdk {
        language: "java",
        program: &["java", "-cp", "{}/java/classes:{}/java/jars/*", "Main"],
        serves: None,
        steps: "healthy, metadata, state, conflict, transaction, delete, secret, invoke javascript, invoke go, \
                invoke python, event streamed",
    },
];

impl Sdk {
    /// Applications find each other on the network: other tests must not be found.
    fn app_id(self) -> String {
        format!("sdks-{}-{}", self.language, std::process::id())
    }

    fn command(self, variables: Vec<(String, String)>) -> Result<Command> {
        let folder = env::var("PALLADIUM_SDKS").context("PALLADIUM_SDKS is set by `./dev test`")?;
        let mut words = self.program.iter().map(|word| word.replace("{}", &folder));
        let mut command = Command::new(words.next().context("no program")?);
        let peers = SDKS.iter().filter(|sdk| sdk.serves.is_some());
        let peers: Vec<_> = peers.map(|sdk| sdk.app_id()).collect();
        command
            .args(words)
            .env_clear()
            .env("PATH", env::var_os("PATH").context("no PATH")?)
            .env("STORE", "kvstore")
            .env("BUS", "bus")
            .env("PEERS", peers.join(","))
            .envs(variables);
        Ok(command)
    }
}

/// Runs all four with these variables, until each has said everything but this one step and ended well.
async fn run(
    folder: &Path,
    without: Option<&'static str>,
    variables: impl Fn(Sdk) -> Vec<(String, String)>,
) -> Result<()> {
    let mut all = JoinSet::new();
    for sdk in SDKS {
        let (log, server) = (folder.join(format!("{}.log", sdk.language)), server_log(folder, sdk));
        let mut command = sdk.command(variables(sdk))?;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .kill_on_drop(true);
        let child = command.spawn().with_context(|| sdk.language)?;
        all.spawn(async move {
            let mut said = Vec::new();
            let listened = timeout(ENOUGH, listen(child, &mut said)).await;
            let expected = sdk.steps.split(", ");
            let expected = expected.filter(|step| without.is_none_or(|without| !step.ends_with(without)));
            match listened {
                Ok(Ok(child)) if said.iter().eq(expected) => Ok((sdk, child)),
                other => {
                    let other = other.map(|end| end.map(drop));
                    // Through the gateway there is no such log: the installation prints its own.
                    let [log, server] = [log, server].map(|file| fs::read_to_string(file).unwrap_or_default());
                    bail!(
                        "{} ({other:?}) said {said:#?}, then\n{log}\nits server:\n{server}",
                        sdk.language
                    )
                }
            }
        });
    }
    let mut finished = Vec::new();
    while let Some(one) = all.join_next().await {
        finished.push(one??);
    }
    // Only now, because they are called by the others.
    for (sdk, mut child) in finished {
        drop(child.stdin.take());
        let status = timeout(END, child.wait()).await.context(sdk.language)??;
        ensure!(status.success(), "{} ended with {status}", sdk.language);
    }
    Ok(())
}

fn server_log(folder: &Path, sdk: Sdk) -> PathBuf {
    folder.join(format!("{}-daprd.log", sdk.language))
}

/// What it says until it is done.
async fn listen(mut child: Child, said: &mut Vec<String>) -> Result<Child> {
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    while let Some(line) = lines.next_line().await? {
        if line == "done" {
            return Ok(child);
        }
        said.push(line);
    }
    bail!("{}", child.wait().await?)
}

fn pairs<const N: usize>(pairs: [(&str, String); N]) -> Vec<(String, String)> {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Each beside a Dapr Server of its own, started with daprd's name and flags; they find each other as daprds do.
#[tokio::test]
async fn daprs_own_sdks_work_with_the_drop_in_form() -> Result<()> {
    let (folder, ports) = (tempfile::tempdir()?, Ports::take()?);
    let daprd = folder.path().join("daprd");
    symlink(executable("palladium-dapr-server")?, &daprd)?;
    let resources = folder.path().join("resources");
    fs::create_dir(&resources)?;
    fs::write(resources.join("resources.yaml"), RESOURCES)?;
    // Of each: HTTP, gRPC, application, and three that nobody asks.
    let port = |sdk: Sdk, which: u16| {
        let at = SDKS
            .iter()
            .position(|one| one.language == sdk.language)
            .unwrap_or_default();
        ports.internal() + 6 * u16::try_from(at).unwrap_or_default() + which
    };
    let mut servers = Vec::new();
    for sdk in SDKS {
        let mut command = Command::new(&daprd);
        command
            .args(["--mode=standalone", "--log-level=warn", "--enable-mtls=false"])
            .arg(format!("--app-id={}", sdk.app_id()))
            .arg("--resources-path")
            .arg(&resources);
        for flag in ["dapr", "dapr-internal-grpc", "dapr-public", "metrics"] {
            let plural = if flag == "dapr" { "es" } else { "" };
            command.arg(format!("--{flag}-listen-address{plural}=127.0.0.1"));
        }
        let flags = ["dapr-http", "dapr-grpc", "dapr-internal-grpc", "dapr-public", "metrics"];
        for (flag, which) in flags.into_iter().zip([0, 1, 3, 4, 5]) {
            command.arg(format!("--{flag}-port={}", port(sdk, which)));
        }
        if let Some(protocol) = sdk.serves {
            command.args([
                format!("--app-port={}", port(sdk, 2)),
                format!("--app-protocol={protocol}"),
            ]);
        }
        command
            .env("SDKS_SECRET", "kept")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(server_log(folder.path(), sdk))?)
            .kill_on_drop(true);
        servers.push(command.spawn()?);
    }
    run(folder.path(), None, |sdk| {
        pairs([
            ("DAPR_HTTP_PORT", port(sdk, 0).to_string()),
            ("DAPR_GRPC_PORT", port(sdk, 1).to_string()),
            ("APP_PORT", port(sdk, 2).to_string()),
            ("DAPR_APP_ID", sdk.app_id()),
            ("SECRETS", "environment".to_owned()),
        ])
    })
    .await
}

/// With TLS and an App ID token, by nothing but the environment; Java's HTTP client wants the roots in a store of its own.
#[tokio::test]
async fn daprs_own_sdks_work_through_the_gateway() -> Result<()> {
    let system = System::start().await?;
    system.project("shop").await?;
    let bus = [
        "component",
        "create",
        "bus",
        "-p",
        "shop",
        "--type",
        "pubsub.in-memory",
        "--wait",
    ];
    system.cli(&bus).await?;
    let (mut variables, java) = (Vec::new(), trust_store(&system).await?);
    for (port, sdk) in (0..).zip(SDKS) {
        let (id, port) = (sdk.app_id(), system.ports.extra(port).to_string());
        let endpoint = format!("http://127.0.0.1:{port}");
        let mut create = vec!["appid", "create", &id, "-p", "shop", "--wait"];
        if let Some(protocol) = sdk.serves {
            create.extend([
                "--app-endpoint",
                &endpoint,
                "--app-protocol",
                protocol,
                "--app-token",
                APP_TOKEN,
            ]);
        }
        system.cli(&create).await?;
        let printed = system.cli(&["env", &id, "-p", "shop", "--format", "dotenv"]).await?;
        let printed = printed
            .as_str()
            .context("no variables")?
            .lines()
            .filter_map(|line| line.split_once('='));
        let mut own: Vec<_> = printed
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let options = ["", "Password"].map(|end| format!("-Djavax.net.ssl.trustStore{end}="));
        let options = format!("{}{} {}{PASSWORD}", options[0], java.display(), options[1]);
        own.extend(pairs([
            ("APP_PORT", port),
            ("APP_API_TOKEN", APP_TOKEN.to_owned()),
            ("JDK_JAVA_OPTIONS", options),
        ]));
        variables.push((sdk.language, own));
    }
    run(system.home(), Some("secret"), |sdk| {
        let own = variables.iter().find(|(language, _)| *language == sdk.language);
        own.map(|(_, own)| own.clone()).unwrap_or_default()
    })
    .await?;
    system.finish().await
}

/// Both roots of the installation, as `docs/sdks.md` says: `keytool` takes one certificate at a time.
async fn trust_store(system: &System) -> Result<PathBuf> {
    let store = system.home().join("trust.p12");
    let roots = fs::read_to_string(system.ca_file())?;
    let mut count = 0;
    for root in roots.split_inclusive("-----END CERTIFICATE-----\n") {
        let file = system.home().join("root.pem");
        fs::write(&file, root)?;
        let mut keytool = Command::new("keytool");
        keytool
            .args([
                "-importcert",
                "-noprompt",
                "-storetype",
                "PKCS12",
                "-storepass",
                PASSWORD,
            ])
            .args(["-alias", &format!("palladium-{count}")])
            .arg("-file")
            .arg(&file)
            .arg("-keystore")
            .arg(&store);
        let output = keytool.output().await.context("keytool")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        count += 1;
    }
    ensure!(count > 0, "no root in {}", system.ca_file().display());
    Ok(store)
}
