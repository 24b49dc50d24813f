//! Instances of a module: what they hold, how they are called, and when they are used again.
//!
//! One idea: an instance is one request's from the request until its answer, since it may remember something in between, and
//! then the next one's, as with Dapr's own host. Each call has so many steps. Must never use one again that broke off.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use palladium_component::CallError;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use wasmi::{Engine, Error, Linker, Module, Store, TrapCode, TypedFunc};

use super::exchange::Exchange;
use super::limits::{Limits, may_idle};
use super::wasi::Sources;

/// Steps of one call, and of getting an instance ready.
const CALL: u64 = 100_000_000;
const START: u64 = 500_000_000;
/// Idle instances of a module that are kept, if there is memory.
const MAX_IDLE: usize = 16;
/// Calls that run at a time in this process, and how long one waits for its turn.
static RUNNING: Semaphore = Semaphore::const_new(4);
const TURN: Duration = Duration::from_secs(10);

/// Why a module did not do what it was asked to.
#[derive(Debug)]
pub(super) enum Failure {
    /// All places were taken for too long.
    Busy,
    /// It broke off.
    Broken(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("all places for modules are taken"),
            Self::Broken(reason) => write!(f, "the module broke off: {reason}"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Broken(match error.as_trap_code() {
            Some(TrapCode::OutOfFuel) => "it took too many steps".to_owned(),
            _ => error.to_string(),
        })
    }
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Busy => CallError::Unavailable(failure.to_string()),
            Failure::Broken(_) => CallError::Other(failure.to_string()),
        }
    }
}

/// Work off the server's threads, when it has its turn.
pub(super) async fn away<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    // Never closed, so a place always comes.
    let Ok(Ok(place)) = timeout(TURN, RUNNING.acquire()).await else {
        return Err(Failure::Busy);
    };
    let done = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(place);
        done
    });
    done.await
        .unwrap_or_else(|_| Err(Failure::Broken("it cannot be run".to_owned())))
}

/// What the host's functions work on.
pub(super) struct State {
    pub(super) limits: Limits,
    pub(super) sources: Sources,
    pub(super) config: std::sync::Arc<[u8]>,
    /// Features that it asked for before the first request.
    pub(super) features: u32,
    /// `None` before the first request.
    pub(super) exchange: Option<Exchange>,
    /// What it has written to its standard streams in this call.
    pub(super) output: Vec<u8>,
}

/// One instance.
pub(super) struct Guest {
    store: Store<State>,
    handle_request: TypedFunc<(), i64>,
    handle_response: TypedFunc<(i32, i32), ()>,
}

impl Guest {
    /// What it is shown; an empty exchange before the first request.
    pub(super) fn exchange(&mut self) -> &mut Exchange {
        self.store.data_mut().exchange.get_or_insert_default()
    }

    /// Whether it has asked for a feature, ever or for this request.
    pub(super) fn has(&self, feature: u32) -> bool {
        let exchange = self.store.data().exchange.as_ref();
        exchange.is_some_and(|exchange| exchange.features & feature != 0)
    }

    /// Shows it a request. `None` = it has answered; otherwise what it wants to be told with the answer.
    pub(super) fn handle_request(&mut self, mut exchange: Exchange) -> Result<Option<u32>, Failure> {
        exchange.features = self.store.data().features;
        self.store.data_mut().exchange = Some(exchange);
        self.store.set_fuel(CALL)?;
        let said = self.handle_request.call(&mut self.store, ());
        self.flush();
        let said = said?.cast_unsigned();
        let (context, next) = ((said >> 32) as u32, said as u32);
        Ok((next != 0).then_some(context))
    }

    /// Shows it the answer that is in its exchange.
    pub(super) fn handle_response(&mut self, context: u32) -> Result<(), Failure> {
        self.store.set_fuel(CALL)?;
        let done = self.handle_response.call(&mut self.store, (context.cast_signed(), 0));
        self.flush();
        Ok(done?)
    }

    /// What it wrote is for whoever looks for it, as in Dapr.
    fn flush(&mut self) {
        let output = std::mem::take(&mut self.store.data_mut().output);
        if !output.is_empty() {
            tracing::debug!(output = %String::from_utf8_lossy(&output), "a module wrote");
        }
    }
}

/// A translated module with its idle instances.
pub(super) struct Pool {
    pub(super) engine: Engine,
    pub(super) module: Module,
    pub(super) linker: Linker<State>,
    pub(super) config: std::sync::Arc<[u8]>,
    pub(super) is_strict: bool,
    /// Whether it reads or writes bodies at all.
    pub(super) reads: bool,
    pub(super) idle: Mutex<Vec<Guest>>,
}

impl Pool {
    /// An idle instance, or a new one.
    pub(super) fn take(&self) -> Result<Guest, Failure> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(guest) => Ok(guest),
            None => self.instance(),
        }
    }

    /// One that has done its work.
    pub(super) fn give_back(&self, mut guest: Guest) {
        guest.store.data_mut().exchange = None;
        if !may_idle() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(guest);
        }
    }

    fn instance(&self) -> Result<Guest, Failure> {
        let state = State {
            limits: Limits::default(),
            sources: Sources::new(self.is_strict),
            config: self.config.clone(),
            features: 0,
            exchange: None,
            output: Vec::new(),
        };
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.limits);
        store.set_fuel(START)?;
        let instance = self.linker.instantiate_and_start(&mut store, &self.module)?;
        // A command's entry, or a library's.
        for name in ["_start", "_initialize"] {
            if let Ok(start) = instance.get_typed_func::<(), ()>(&store, name) {
                match start.call(&mut store, ()) {
                    Err(error) if error.i32_exit_status() == Some(0) => {}
                    started => started?,
                }
                break;
            }
        }
        let mut guest = Guest {
            handle_request: instance.get_typed_func(&store, "handle_request")?,
            handle_response: instance.get_typed_func(&store, "handle_response")?,
            store,
        };
        guest.flush();
        Ok(guest)
    }
}
