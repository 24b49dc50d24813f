//! Where a module comes from, and whether it is one.
//!
//! One idea: it is fetched and translated once, when the component is opened, and one instance is made at once, so that what
//! cannot work is said then. Must never read a module without bound.

use std::io::Read as _;
use std::sync::Mutex;
use std::time::Duration;

use http::StatusCode;
use palladium_component::{MetadataError, OpenError};
use palladium_components_web as web;
use wasmi::{CompilationMode, Config, Engine, ExternType, FuncType, Linker, Module, ValType};

use super::guest::{Failure, Pool};
use super::{host, wasi};

/// Greatest module.
const MAX_MODULE: usize = 16 << 20;
/// How long fetching one may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Calls within each other.
const MAX_DEPTH: usize = 4096;

/// The module at an address.
pub(super) async fn fetch(url: &str) -> Result<Vec<u8>, OpenError> {
    let wrong = |reason: &str, remedy: &str| OpenError::from(MetadataError::new("url", reason, remedy));
    match url.split_once(':') {
        Some(("http" | "https", _)) => {
            let address = web::address("url", url, false)?;
            let client = web::client("url", TIMEOUT, false)?;
            let answer = web::send(client.get(address), MAX_MODULE).await;
            let answer =
                answer.map_err(|failure| OpenError::Unavailable(format!("the module cannot be had: {failure}")))?;
            if answer.status != StatusCode::OK {
                let reason = format!(
                    "the module cannot be had: received {} status code",
                    answer.status.as_u16()
                );
                return Err(OpenError::Unavailable(reason));
            }
            Ok(answer.body.to_vec())
        }
        Some(("file", rest)) => {
            let path = rest.strip_prefix("//").unwrap_or(rest).to_owned();
            let read = tokio::task::spawn_blocking(move || {
                let mut code = Vec::new();
                let most = MAX_MODULE as u64 + 1;
                std::fs::File::open(path)?
                    .take(most)
                    .read_to_end(&mut code)
                    .map(|_| code)
            });
            let read = read.await.map_err(|_| wrong("it cannot be read", "name a file"))?;
            let code = read.map_err(|error| wrong(&format!("it cannot be read: {error}"), "name a file"))?;
            if code.len() > MAX_MODULE {
                return Err(wrong(
                    &format!("the module has more than {MAX_MODULE} bytes"),
                    "make it smaller",
                ));
            }
            Ok(code)
        }
        Some(("oci", _)) => Err(wrong(
            "modules from registries of images are not fetched, as in Dapr",
            "write 'https://…'",
        )),
        Some(_) => Err(wrong(
            "unsupported URL scheme",
            "write 'https://…', 'http://…' or 'file://…'",
        )),
        None => Err(wrong("it is no address", "write 'https://…', 'http://…' or 'file://…'")),
    }
}

/// A module that can be called, with its first instance.
pub(super) fn translated(
    code: &[u8],
    config: Vec<u8>,
    is_strict: bool,
) -> Result<Result<Pool, MetadataError>, Failure> {
    let wrong = |reason: String| MetadataError::new("url", reason, "give a module for http-wasm's handler interface");
    let mut settings = Config::default();
    settings
        .consume_fuel(true)
        .set_max_recursion_depth(MAX_DEPTH)
        .ignore_custom_sections(true)
        .compilation_mode(CompilationMode::LazyTranslation);
    let engine = Engine::new(&settings);
    let module = match Module::new(&engine, code) {
        Ok(module) => module,
        Err(error) => return Ok(Err(wrong(error.to_string()))),
    };
    if let Err(reason) = check(&module) {
        return Ok(Err(wrong(reason)));
    }
    let mut linker = Linker::new(&engine);
    host::define(&mut linker)?;
    wasi::define(&mut linker)?;
    let is_body = |name: &str| ["read_body", "write_body"].contains(&name);
    let reads = module
        .imports()
        .any(|import| import.module() == host::MODULE && is_body(import.name()));
    let pool = Pool {
        engine,
        module,
        linker,
        config: config.into(),
        is_strict,
        reads,
        idle: Mutex::default(),
    };
    match pool.take() {
        Ok(guest) => pool.give_back(guest),
        Err(Failure::Broken(reason)) => return Ok(Err(wrong(format!("it cannot be started: {reason}")))),
        Err(failure) => return Err(failure),
    }
    Ok(Ok(pool))
}

/// Whether it has what is called.
fn check(module: &Module) -> Result<(), String> {
    let expected = [
        ("handle_request", FuncType::new([], [ValType::I64])),
        ("handle_response", FuncType::new([ValType::I32, ValType::I32], [])),
    ];
    for (name, signature) in expected {
        match module.get_export(name) {
            Some(ExternType::Func(found)) if found == signature => {}
            Some(ExternType::Func(_)) => return Err(format!("guest exports the wrong signature for func[{name}]")),
            _ => return Err(format!("guest doesn't export func[{name}]")),
        }
    }
    match module.get_export("memory") {
        Some(ExternType::Memory(_)) => Ok(()),
        _ => Err("guest doesn't export memory[memory]".to_owned()),
    }
}
