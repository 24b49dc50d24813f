//! `middleware.http.wasm`: requests and answers pass through a WebAssembly module.
//!
//! The one idea: the module speaks http-wasm's handler interface ([`host`]) with what it is shown of an exchange
//! ([`exchange`]); it is translated once ([`module`]) and runs in instances that are used again, one request at a time
//! ([`guest`]), interpreted, with counted steps and counted memory, off the server's threads. Must never give a module more
//! than the exchange it is asked about, the time and chance, nor use an instance again that broke off.

mod exchange;
mod guest;
mod host;
mod limits;
mod memory;
mod module;
mod wasi;

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};
use palladium_component::middleware::{Middleware, MiddlewareDriver, Revise, Verdict};
use palladium_component::{CallError, ComponentMetadata, Hosted, OpenContext, OpenError, Reply, Status};

use exchange::{BUFFER_RESPONSE, Exchange};
use guest::{Failure, Guest, Pool, away};

/// The driver.
pub const DRIVER: MiddlewareDriver = MiddlewareDriver {
    type_name: "middleware.http.wasm",
    aliases: &[],
    versions: &["v1"],
    status: Status::Alpha,
    // Its steps are counted and still many: a tenant's could keep processors busy that others share. It may also name a file.
    hosted: Hosted::Refused,
    fields: ModuleMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// What a component says.
#[derive(Debug, ComponentMetadata)]
struct ModuleMetadata {
    /// Where the module is: an address that begins with 'https://' or 'http://', or 'file://' and a path.
    url: String,
    /// Any text, for the module to read.
    guest_config: Option<String>,
    /// Whether the module gets a clock and chance that are the same each time.
    #[metadata(default = "false")]
    strict_sandbox: bool,
}

async fn open(context: OpenContext) -> Result<Arc<dyn Middleware>, OpenError> {
    let metadata = ModuleMetadata::parse(&context.properties)?;
    let code = module::fetch(&metadata.url).await?;
    let config = metadata.guest_config.unwrap_or_default().into_bytes();
    let pool = away(move || module::translated(&code, config, metadata.strict_sandbox)).await;
    let pool = pool.map_err(|failure| OpenError::Unavailable(failure.to_string()))??;
    Ok(Arc::new(Wasm(Arc::new(pool))))
}

struct Wasm(Arc<Pool>);

impl Wasm {
    async fn handle(&self, head: &mut Parts, body: Option<&mut Bytes>) -> Result<Verdict, CallError> {
        let shown = body.as_deref().cloned().unwrap_or_default();
        let exchange = Exchange::new(head, shown);
        let pool = self.0.clone();
        let handled = away(move || {
            let mut guest = pool.take()?;
            let next = guest.handle_request(exchange)?;
            Ok((guest, next))
        });
        let (mut guest, next) = match handled.await {
            Ok(handled) => handled,
            Err(Failure::Busy) => return Ok(Verdict::refuse(StatusCode::SERVICE_UNAVAILABLE, "middleware is busy")),
            Err(failure) => return Err(failure.into()),
        };
        let Some(context) = next else {
            let answer = guest.exchange().answer();
            self.0.give_back(guest);
            return Ok(Verdict::Answer(answer));
        };
        let (headers, replaced) = guest.exchange().go_on(head);
        if let (Some(body), Some(replaced)) = (body, replaced) {
            *body = replaced;
        }
        let pool = self.0.clone();
        Ok(Verdict::Revise(headers, Box::new(Back { pool, guest, context })))
    }
}

impl Middleware for Wasm {
    fn judge<'a>(&'a self, head: &'a mut Parts) -> Reply<'a, Verdict, CallError> {
        Reply::wait(self.handle(head, None))
    }

    fn reads(&self) -> bool {
        self.0.reads
    }

    fn judge_whole<'a>(&'a self, head: &'a mut Parts, body: &'a mut Bytes) -> Reply<'a, Verdict, CallError> {
        Reply::wait(self.handle(head, Some(body)))
    }
}

/// The instance that saw a request, for the answer to it.
struct Back {
    pool: Arc<Pool>,
    guest: Guest,
    /// What it gave itself to remember.
    context: u32,
}

impl Revise for Back {
    fn changes(&self) -> bool {
        self.guest.has(BUFFER_RESPONSE)
    }

    fn revise(self: Box<Self>, answer: Response<Bytes>) -> Reply<'static, Response<Bytes>, CallError> {
        Reply::wait(async move {
            let Self {
                pool,
                mut guest,
                context,
            } = *self;
            guest.exchange().answered(answer);
            let handled = away(move || {
                guest.handle_response(context)?;
                Ok(guest)
            });
            let mut guest = handled.await?;
            let answer = guest.exchange().answer();
            pool.give_back(guest);
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod tests;
