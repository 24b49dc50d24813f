//! Secrets that would be recognized anywhere, and a look everywhere.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use memchr::memmem;
use palladium_tests::{
    api::{Api, client},
    app::App,
    cli::Done,
    system::System,
};
use reqwest::Method;
use serde_json::{Value, json};

const COMPONENTS: &str = "/apis/cra.diagrid.io/v1beta1/projects/shop/components";

/// A secret, and in which words the report names it.
struct Canary {
    what: String,
    text: String,
}

/// Tokens, keys and every sensitive setting of every component type are in clear in no file, log, command line or
/// environment of the installation, whatever goes wrong.
#[tokio::test]
async fn sec_066_sec_101_secrets_are_nowhere_in_clear() -> Result<()> {
    let mut system = System::start().await?;
    system.project("shop").await?;
    let app = App::create(&system, "shop", "orders").await?;
    let mut canaries = components(&system).await?;
    canaries.extend(endpoint(&system).await?);
    let made = system
        .cli(&["apikey", "create", "--name", "robot", "--role", "cra.diagrid:viewer"])
        .await;
    let keys = [("the administrator's key", system.admin_key()?)];
    canaries.extend(keys.map(|(what, text)| Canary {
        what: what.to_owned(),
        text,
    }));
    canaries.push(Canary {
        what: "an API key".to_owned(),
        text: key_in(&made?).context("no key was shown")?,
    });
    canaries.push(Canary {
        what: "the token of an App ID".to_owned(),
        text: app.token.clone(),
    });
    let said = offend(&system, &app, &canaries).await?;
    // What is logged late, or kept at a stop and read at a start.
    tokio::time::sleep(Duration::from_secs(1)).await;
    look(&system, &canaries, &said)?;
    for (_, form) in forms(&app.token) {
        let planted = system.data().join("logs/planted");
        fs::write(&planted, [b"..", form.as_slice(), b".."].concat())?;
        ensure!(look(&system, &canaries, &[]).is_err(), "this look finds nothing");
        fs::remove_file(planted)?;
    }
    system.stop().await?;
    system.launch().await?;
    system.ready().await?;
    look(&system, &canaries, &said)?;
    system.finish().await
}

/// One component of each type with a canary in every sensitive setting, created, changed and shown.
async fn components(system: &System) -> Result<Vec<Canary>> {
    let catalog: Value = serde_json::from_str(include_str!("../../contracts/component/catalog.json"))?;
    let mut canaries = Vec::new();
    for (number, kind) in catalog["components"]
        .as_array()
        .context("no components")?
        .iter()
        .enumerate()
    {
        let fields = kind["fields"].as_array().context("no fields")?;
        let kind = kind["type"].as_str().context("no type")?;
        if !fields.iter().any(|field| field["sensitive"] == true) {
            continue;
        }
        let mut settings = Vec::new();
        for field in fields {
            let name = field["name"].as_str().context("no name")?;
            if field["sensitive"] == true {
                let text = format!("canary-{number}-{name}-aGVsbG8");
                settings.push(json!({"name": name, "value": text}));
                canaries.push(Canary {
                    what: format!("{name} of {kind}"),
                    text,
                });
            } else if field["required"] == true {
                settings.push(json!({"name": name, "value": "127.0.0.1:1"}));
            }
        }
        let name = format!("component-{number}");
        let body = |name: &str| {
            json!({
                "apiVersion": "dapr.io/v1alpha1", "kind": "Component", "metadata": {"name": name},
                "spec": {"type": kind, "version": "v1", "metadata": settings},
            })
        };
        let api = system.api()?;
        api.post(COMPONENTS, &body(&name)).await?.good()?;
        api.put(&format!("{COMPONENTS}/{name}"), &body(&name)).await?.good()?;
        let shown = api.get(&format!("{COMPONENTS}/{name}")).await?.good()?;
        // The same with a mistake in it: a refusal must not repeat what it refuses.
        let mut wrong = body("wrong");
        wrong["spec"]["unknown"] = json!(settings);
        let refused = api.post(COMPONENTS, &wrong).await?;
        ensure!(refused.status == 400, "{refused:?}");
        let twice = api.post(COMPONENTS, &body(&name)).await?;
        ensure!(twice.status == 409, "{twice:?}");
        for answer in [&shown, &refused.body, &twice.body] {
            let text = answer.to_string();
            ensure!(canaries.iter().all(|canary| !text.contains(&canary.text)), "{text}");
        }
    }
    ensure!(!canaries.is_empty(), "no component has a sensitive setting");
    Ok(canaries)
}

/// An HTTP endpoint with a canary in every header and certificate, and a trace exporter with one.
async fn endpoint(system: &System) -> Result<Vec<Canary>> {
    let whats = ["header", "rootCA", "certificate", "privateKey", "otel"];
    let canaries = whats.map(|what| Canary {
        what: format!("{what} of an HTTP endpoint or exporter"),
        text: format!("canary-endpoint-{what}-aGVsbG8"),
    });
    let [header, root, certificate, key, otel] = canaries.each_ref().map(|canary| canary.text.as_str());
    let pem =
        |label: &str, text: &str| json!({"value": format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----")});
    let tls = json!({
        "rootCA": pem("CERTIFICATE", root), "certificate": pem("CERTIFICATE", certificate), "privateKey": pem("PRIVATE KEY", key),
    });
    let spec = json!({"baseUrl": "https://127.0.0.1:1", "headers": [{"name": "x-api-key", "value": header}], "clientTLS": tls});
    let headers = json!([{"name": "api-key", "value": otel}]);
    let tracing = json!({"otel": {"endpointAddress": "127.0.0.1:1", "protocol": "grpc", "headers": headers}});
    let api = system.api()?;
    for (plural, spec) in [("httpendpoints", spec), ("configurations", json!({"tracing": tracing}))] {
        let path = COMPONENTS.replace("components", plural);
        let body = json!({"metadata": {"name": "canary"}, "spec": spec});
        api.post(&path, &body).await?.good()?;
        let shown = api.get(&format!("{path}/canary")).await?.good()?.to_string();
        ensure!(canaries.iter().all(|canary| !shown.contains(&canary.text)), "{shown}");
    }
    Ok(canaries.into())
}

/// Secrets where they do not belong: in queries, bodies, headers and arguments. A path is no such place: it is logged.
async fn offend(system: &System, app: &App, canaries: &[Canary]) -> Result<Vec<Done>> {
    let mut said = Vec::new();
    let api = system.api()?;
    for canary in canaries {
        let text = &canary.text;
        for (base, method) in [(&app.gateway, Method::GET), (&api, Method::POST)] {
            let query = format!("/v1.0/state/kvstore/x?dapr-api-token={text}&apiKey={text}");
            // What they answer is judged elsewhere; here they must only not tell.
            for request in [
                base.bare(method.clone(), &query),
                base.bare(method.clone(), &query)
                    .header("dapr-api-token", text)
                    .header("x-diagrid-api-key", text),
                base.bare(method.clone(), "/v1.0/state/kvstore")
                    .bearer_auth(text)
                    .body(text.clone()),
            ] {
                let _ = Api::answer(request).await;
            }
        }
        app.save("kvstore", "x", &json!(1)).await?.good()?;
        said.push(
            system
                .cli_with(
                    &[
                        "component",
                        "create",
                        "x",
                        "-p",
                        "shop",
                        "--type",
                        "state.redis",
                        "--metadata",
                        "redisPassword=-",
                    ],
                    text,
                )
                .await?,
        );
    }
    // To a port where it does not belong at all.
    let stray = client(&system.ca_file())?.get(format!("https://localhost:{}", system.ports.stream()));
    let _ = stray.header("dapr-api-token", &app.token).send().await;
    Ok(said)
}

/// Fails with everything that holds a canary in clear, in Base64 or in hexadecimal.
fn look(system: &System, canaries: &[Canary], said: &[Done]) -> Result<()> {
    let mut found = Vec::new();
    let mut see = |place: &str, bytes: &[u8]| {
        for canary in canaries {
            for (how, form) in forms(&canary.text) {
                // Some hundred forms in some hundred files: not byte by byte.
                if memmem::find(bytes, &form).is_some() {
                    found.push(format!("{} is in {place}{how}", canary.what));
                }
            }
        }
    };
    let mut files = vec![system.home().join("up.log")];
    collect(system.data(), &mut files)?;
    ensure!(files.len() > 30, "this is not the data folder: {files:?}");
    for file in files.iter().filter(|file| !file.ends_with("data/admin.key")) {
        see(&file.display().to_string(), &there(fs::read(file))?);
    }
    for pid in system.processes() {
        for what in ["cmdline", "environ"] {
            let place = format!("/proc/{pid}/{what}");
            see(&place, &there(fs::read(&place)).context(place.clone())?);
        }
    }
    for done in said {
        see(
            "an answer of the command line",
            format!("{}{}", done.out, done.err).as_bytes(),
        );
    }
    ensure!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

/// What was read, nothing of what is gone meanwhile; what may not be read would prove nothing.
fn there(read: std::io::Result<Vec<u8>>) -> Result<Vec<u8>> {
    const GONE: [i32; 2] = [2, 3]; // ENOENT, ESRCH
    match read {
        Err(error) if error.raw_os_error().is_some_and(|code| GONE.contains(&code)) => Ok(Vec::new()),
        read => Ok(read?),
    }
}

fn forms(text: &str) -> [(&'static str, Vec<u8>); 3] {
    use std::fmt::Write as _;
    let hex = text.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    [
        ("", text.into()),
        (" in Base64", base64(text.as_bytes())),
        (" in hexadecimal", hex.into_bytes()),
    ]
}

/// Without the last characters, which depend on what follows.
fn base64(bytes: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |part: &[u8]| {
        let word = part.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        [18, 12, 6, 0].map(|shift| ALPHABET[(word >> shift & 63) as usize])
    };
    bytes.chunks_exact(3).flat_map(digits).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => collect(&entry.path(), files)?,
            kind if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    Ok(())
}

/// The key in what `apikey create` shows, wherever it stands.
fn key_in(shown: &Value) -> Option<String> {
    match shown {
        Value::String(text) if text.len() > 40 && !text.contains(char::is_whitespace) => Some(text.clone()),
        Value::Object(fields) => fields.values().find_map(key_in),
        _ => None,
    }
}
