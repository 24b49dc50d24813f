//! The configuration API over gRPC.
//!
//! One idea: a subscription is a stream that begins with its name; it ends with the stream, and the stream with it. Must
//! never tell of a change before the name.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use futures_util::Stream;
use palladium_component::configuration::{Item, Items, Listener, Selection};
use palladium_component::reply::BoxFuture;
use palladium_engine_configuration::{ConfigurationError, not_unsubscribed};
use palladium_proto::common::ConfigurationItem;
use palladium_proto::runtime::{
    GetConfigurationRequest, GetConfigurationResponse, SubscribeConfigurationRequest, SubscribeConfigurationResponse,
    UnsubscribeConfigurationRequest, UnsubscribeConfigurationResponse,
};
use tokio::sync::mpsc;
use tonic::Status;

use crate::configuration::{self, grpc_fault as fault};
use crate::entry::ConfigurationEntry;
use crate::errors::{Fault, grpc_fault};
use crate::server::Server;

/// Changes on their way into the stream.
const AHEAD: usize = 16;

type Sent = Result<SubscribeConfigurationResponse, Status>;

fn refused(server: &Server, error: &ConfigurationError) -> Status {
    grpc_fault(server, &fault(error))
}

pub(super) async fn get(server: &Server, request: GetConfigurationRequest) -> Result<GetConfigurationResponse, Status> {
    let selection = Selection {
        keys: request.keys,
        metadata: request.metadata,
    };
    let items = configuration::get(server, &request.store_name, &selection).await;
    let items = items.map_err(|error| refused(server, &error))?;
    Ok(GetConfigurationResponse { items: wire(items) })
}

fn wire(items: Items) -> std::collections::HashMap<String, ConfigurationItem> {
    let item = |item: Item| ConfigurationItem {
        value: item.value,
        version: item.version,
        metadata: item.metadata,
    };
    items.into_iter().map(|(key, one)| (key, item(one))).collect()
}

/// What the caller receives. Dropping it ends the subscription.
pub struct Updates {
    receiver: mpsc::Receiver<Sent>,
    /// Done when this process ends: so does the stream, and well.
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
    id: String,
    /// Not held: a component that is removed does not wait for its subscribers.
    entry: Weak<ConfigurationEntry>,
}

impl Stream for Updates {
    type Item = Sent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Sent>> {
        match self.receiver.poll_recv(cx) {
            Poll::Pending => self.end.as_mut().poll(cx).map(|()| None),
            ready => ready,
        }
    }
}

impl Drop for Updates {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.upgrade() {
            configuration::unsubscribe(&entry, &self.id);
        }
    }
}

/// The caller, as it listens.
struct ToCaller {
    id: String,
    sender: mpsc::Sender<Sent>,
}

impl Listener for ToCaller {
    fn changed(&self, items: Items) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let message = SubscribeConfigurationResponse {
                id: self.id.clone(),
                items: wire(items),
            };
            // An end of the stream also ends the subscription.
            let _ = self.sender.send(Ok(message)).await;
        })
    }
}

pub(super) async fn subscribe(server: &Server, request: SubscribeConfigurationRequest) -> Result<Updates, Status> {
    let entry = configuration::find(server, &request.store_name).map_err(|error| refused(server, &error))?;
    let mut selection = Selection {
        keys: request.keys,
        metadata: request.metadata,
    };
    selection.keys.sort();
    let (sender, receiver) = mpsc::channel(AHEAD);
    let id = configuration::new_id();
    let named = SubscribeConfigurationResponse {
        id: id.clone(),
        ..SubscribeConfigurationResponse::default()
    };
    // There is room: nothing was sent yet.
    let _ = sender.try_send(Ok(named));
    let listener = ToCaller { id: id.clone(), sender };
    let subscribed = configuration::subscribe(server, &entry, &selection, &id, Arc::new(listener), true).await;
    subscribed.map_err(|error| refused(server, &error))?;
    let shutdown = server.shutdown.clone();
    Ok(Updates {
        receiver,
        end: Box::pin(async move { shutdown.wait().await }),
        id,
        entry: Arc::downgrade(&entry),
    })
}

pub(super) fn unsubscribe(
    server: &Server,
    request: &UnsubscribeConfigurationRequest,
) -> UnsubscribeConfigurationResponse {
    let components = server.components.load();
    let ok = components
        .configuration_stores()
        .any(|entry| entry.subscriptions.end_stream(&request.id));
    let message = if ok {
        String::new()
    } else {
        // Told in an answer that is none of an error, and counted all the same.
        server.metrics.fault(&Fault::plain(
            500,
            tonic::Code::Internal,
            "ERR_CONFIGURATION_UNSUBSCRIBE",
            "configuration",
            "subscription does not exist",
        ));
        not_unsubscribed(&request.id, "subscription does not exist")
    };
    UnsubscribeConfigurationResponse { ok, message }
}
