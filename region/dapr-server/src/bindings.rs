//! Bindings in one Dapr Server: calls out, which HTTP and gRPC share, and events in.
//!
//! One idea: a call out is a function of one call ([`send`]); events are a state that one task keeps ([`keeper`]). Must never
//! hand an event to an application that is not healthy, nor hold an answer that is in no budget.

mod deliver;
pub mod keeper;

use std::time::Instant;

use palladium_component::bindings::{Answer, BindingError, Metadata, Operation};
use palladium_engine_resiliency::{self as resiliency, ComponentKind};
use tonic::Code;

use crate::errors::Fault;
use crate::resiliency::outbound;
use crate::server::Server;

/// A call out that failed.
pub(crate) struct Failed {
    /// What the caller is told.
    pub(crate) fault: Fault,
    /// What the service said about it.
    pub(crate) metadata: Metadata,
}

/// Carries out one operation.
pub(crate) async fn send(server: &Server, name: &str, operation: &Operation) -> Result<Answer, Failed> {
    let answer = carry_out(server, name, operation).await.map_err(|(reason, metadata)| {
        let message = format!("error invoking output binding {name}: {reason}");
        let fault = Fault::plain(500, Code::Internal, "ERR_INVOKE_OUTPUT_BINDING", "binding", message);
        Failed { fault, metadata }
    })?;
    let Answer { data, metadata } = answer;
    match data.map(|data| server.budget.tie(data)).transpose() {
        Ok(data) => Ok(Answer { data, metadata }),
        Err(_) => Err(Failed {
            fault: Fault::busy(),
            metadata,
        }),
    }
}

async fn carry_out(server: &Server, name: &str, operation: &Operation) -> Result<Answer, (String, Metadata)> {
    let plain = |reason: String| (reason, Metadata::new());
    if operation.name.is_empty() {
        return Err(plain("operation field is missing from request".to_owned()));
    }
    let entry = server.components.load().binding(name).cloned();
    let Some(entry) = entry.filter(|entry| entry.is_output) else {
        return Err(plain(format!("couldn't find output binding {name}")));
    };
    let known = entry.out.driver.operations();
    if !known.contains(&operation.name) {
        let (operation, known) = (&operation.name, known.join(" "));
        return Err(plain(format!(
            "binding {name} does not support operation {operation}. supported operations:{known}"
        )));
    }
    let start = Instant::now();
    let policy = outbound(server, name, ComponentKind::Binding);
    let answer = policy.run(|_| entry.out.driver.invoke(operation)).await;
    entry
        .out
        .calls
        .observe(&operation.name, answer.is_ok(), start.elapsed());
    answer.map_err(|failed| match failed {
        resiliency::Failed::Operation(BindingError { error, metadata }) => (error.to_string(), metadata),
        other => plain(other.to_string()),
    })
}
