//! Drivers whose errors say no secret.
//!
//! One idea: a component's secrets are taken out where its driver answers, so that whoever calls it, an engine or an API,
//! never sees an error with them. State stores have the same at the one place that counts their calls. Must never change an
//! answer, nor leave out a method of a driver's contract: what it had would be lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use palladium_component::bindings::{Answer as Answered, BindingError, Listener, Listening, Operation, Ways};
use palladium_component::configuration::{Items, Listener as Watcher, Listening as Watching, Selection};
use palladium_component::conversation::{Answer as Said, Request};
use palladium_component::error::RemoteError;
use palladium_component::lock::Unlocked;
use palladium_component::middleware::{Revise, Verdict};
use palladium_component::pubsub::{
    BulkPublishFailure, BulkPublishRequest, Features, PublishRequest, SubscribeRequest, Subscription,
};
use palladium_component::secrets::Secret;
use palladium_component::state::Metadata;
use palladium_component::{
    Binding, CallError, ConfigurationStore, Conversation, CryptoProvider, LockStore, Middleware, PubSub, PubsubError,
    Reply, SecretStore,
};
use secrecy::SecretSlice;

use super::Secrets;

/// A driver and what its errors must not say.
pub struct Guarded<D: ?Sized> {
    driver: Arc<D>,
    secrets: Arc<Secrets>,
}

impl<D: ?Sized> Guarded<D> {
    /// Guards an open component's driver.
    pub fn new(driver: Arc<D>, secrets: Secrets) -> Arc<Self> {
        let secrets = Arc::new(secrets);
        Arc::new(Self { driver, secrets })
    }

    fn clean<'a, T: 'a, E: 'a>(&'a self, reply: Reply<'a, T, E>, how: fn(&Secrets, E) -> E) -> Reply<'a, T, E> {
        let secrets = &self.secrets;
        let clean = move |outcome: Result<T, E>| outcome.map_err(|error| how(secrets, error));
        match reply {
            Reply::Ready(outcome) => Reply::Ready(outcome.map(clean)),
            Reply::Wait(future) => Reply::wait(async move { clean(future.await) }),
        }
    }
}

fn remote(secrets: &Secrets, error: RemoteError) -> Box<RemoteError> {
    Box::new(RemoteError {
        message: secrets.out_of(error.message),
        ..error
    })
}

fn call(secrets: &Secrets, error: CallError) -> CallError {
    let clean = |text| secrets.out_of(text);
    match error {
        CallError::NotSupported(text) => CallError::NotSupported(clean(text)),
        CallError::Invalid(text) => CallError::Invalid(clean(text)),
        CallError::Remote(error) => CallError::Remote(remote(secrets, *error)),
        CallError::Unavailable(text) => CallError::Unavailable(clean(text)),
        CallError::Other(text) => CallError::Other(clean(text)),
    }
}

fn binding(secrets: &Secrets, failed: BindingError) -> BindingError {
    let metadata = failed.metadata.into_iter();
    BindingError {
        error: call(secrets, failed.error),
        metadata: metadata.map(|(name, value)| (name, secrets.out_of(value))).collect(),
    }
}

fn pubsub(secrets: &Secrets, error: PubsubError) -> PubsubError {
    let clean = |text| secrets.out_of(text);
    match error {
        PubsubError::NotSupported(text) => PubsubError::NotSupported(clean(text)),
        PubsubError::Invalid(text) => PubsubError::Invalid(clean(text)),
        PubsubError::Closed => PubsubError::Closed,
        PubsubError::Remote(error) => PubsubError::Remote(remote(secrets, *error)),
        PubsubError::Unavailable(text) => PubsubError::Unavailable(clean(text)),
        PubsubError::Other(text) => PubsubError::Other(clean(text)),
    }
}

impl PubSub for Guarded<dyn PubSub> {
    fn features(&self) -> Features {
        self.driver.features()
    }

    fn publish<'a>(&'a self, request: &'a PublishRequest) -> Reply<'a, (), PubsubError> {
        self.clean(self.driver.publish(request), pubsub)
    }

    fn bulk_publish<'a>(&'a self, request: &'a BulkPublishRequest) -> Reply<'a, Vec<BulkPublishFailure>, PubsubError> {
        let published = self.clean(self.driver.bulk_publish(request), pubsub);
        Reply::wait(async move {
            let failures = published.await?.into_iter();
            let clean = |failure: BulkPublishFailure| BulkPublishFailure {
                error: pubsub(&self.secrets, failure.error),
                ..failure
            };
            Ok(failures.map(clean).collect())
        })
    }

    fn subscribe(&self, request: SubscribeRequest) -> Reply<'_, Subscription, PubsubError> {
        self.clean(self.driver.subscribe(request), pubsub)
    }

    fn pause(&self) -> Reply<'_, (), PubsubError> {
        self.clean(self.driver.pause(), pubsub)
    }

    fn ping(&self) -> Reply<'_, (), PubsubError> {
        self.clean(self.driver.ping(), pubsub)
    }

    fn close(&self) -> Reply<'_, (), PubsubError> {
        self.clean(self.driver.close(), pubsub)
    }
}

impl SecretStore for Guarded<dyn SecretStore> {
    fn capabilities(&self) -> &'static [&'static str] {
        self.driver.capabilities()
    }

    fn get<'a>(&'a self, name: &'a str, metadata: &'a Metadata) -> Reply<'a, Secret, CallError> {
        self.clean(self.driver.get(name, metadata), call)
    }

    fn get_all<'a>(&'a self, metadata: &'a Metadata) -> Reply<'a, BTreeMap<String, Secret>, CallError> {
        self.clean(self.driver.get_all(metadata), call)
    }

    fn close(&self) -> Reply<'_, (), CallError> {
        self.clean(self.driver.close(), call)
    }
}

impl Binding for Guarded<dyn Binding> {
    fn ways(&self) -> Ways {
        self.driver.ways()
    }

    fn operations(&self) -> Vec<String> {
        self.driver.operations()
    }

    fn invoke<'a>(&'a self, operation: &'a Operation) -> Reply<'a, Answered, BindingError> {
        self.clean(self.driver.invoke(operation), binding)
    }

    fn listen(&self, listener: Arc<dyn Listener>) -> Reply<'_, Listening, CallError> {
        self.clean(self.driver.listen(listener), call)
    }

    fn close(&self) -> Reply<'_, (), CallError> {
        self.clean(self.driver.close(), call)
    }
}

/// Who is shown an answer later, with the secrets that its errors must not say.
struct GuardedRevise(Box<dyn Revise>, Arc<Secrets>);

impl Revise for GuardedRevise {
    fn changes(&self) -> bool {
        self.0.changes()
    }

    fn revise(self: Box<Self>, answer: Response<Bytes>) -> Reply<'static, Response<Bytes>, CallError> {
        let Self(inner, secrets) = *self;
        let reply = inner.revise(answer);
        Reply::wait(async move { reply.await.map_err(|error| call(&secrets, error)) })
    }
}

impl Guarded<dyn Middleware> {
    fn guard<'a>(&'a self, reply: Reply<'a, Verdict, CallError>) -> Reply<'a, Verdict, CallError> {
        let guarded = |verdict| match verdict {
            Verdict::Revise(headers, revise) => {
                Verdict::Revise(headers, Box::new(GuardedRevise(revise, self.secrets.clone())))
            }
            verdict => verdict,
        };
        match self.clean(reply, call) {
            Reply::Ready(outcome) => Reply::Ready(outcome.map(|outcome| outcome.map(guarded))),
            Reply::Wait(future) => Reply::wait(async move { future.await.map(guarded) }),
        }
    }
}

impl Middleware for Guarded<dyn Middleware> {
    fn judge<'a>(&'a self, head: &'a mut Parts) -> Reply<'a, Verdict, CallError> {
        self.guard(self.driver.judge(head))
    }

    fn reads(&self) -> bool {
        self.driver.reads()
    }

    fn judge_whole<'a>(&'a self, head: &'a mut Parts, body: &'a mut Bytes) -> Reply<'a, Verdict, CallError> {
        self.guard(self.driver.judge_whole(head, body))
    }

    fn rewrites(&self) -> bool {
        self.driver.rewrites()
    }

    fn rewrite(&self, body: Bytes) -> Bytes {
        self.driver.rewrite(body)
    }
}

impl Conversation for Guarded<dyn Conversation> {
    fn converse<'a>(&'a self, request: &'a Request) -> Reply<'a, Said, CallError> {
        self.clean(self.driver.converse(request), call)
    }

    fn close(&self) -> Reply<'_, (), CallError> {
        self.clean(self.driver.close(), call)
    }
}

impl ConfigurationStore for Guarded<dyn ConfigurationStore> {
    fn get<'a>(&'a self, selection: &'a Selection) -> Reply<'a, Items, CallError> {
        self.clean(self.driver.get(selection), call)
    }

    fn subscribe<'a>(&'a self, selection: &'a Selection, listener: Arc<dyn Watcher>) -> Reply<'a, Watching, CallError> {
        self.clean(self.driver.subscribe(selection, listener), call)
    }

    fn close(&self) -> Reply<'_, (), CallError> {
        self.clean(self.driver.close(), call)
    }
}

impl LockStore for Guarded<dyn LockStore> {
    fn try_lock<'a>(&'a self, resource: &'a str, owner: &'a str, expiry: Duration) -> Reply<'a, bool, CallError> {
        self.clean(self.driver.try_lock(resource, owner, expiry), call)
    }

    fn unlock<'a>(&'a self, resource: &'a str, owner: &'a str) -> Reply<'a, Unlocked, CallError> {
        self.clean(self.driver.unlock(resource, owner), call)
    }

    fn close(&self) -> Reply<'_, (), CallError> {
        self.clean(self.driver.close(), call)
    }
}

impl CryptoProvider for Guarded<dyn CryptoProvider> {
    fn wrap_key<'a>(
        &'a self,
        key: &'a SecretSlice<u8>,
        algorithm: &'a str,
        name: &'a str,
    ) -> Reply<'a, Vec<u8>, CallError> {
        self.clean(self.driver.wrap_key(key, algorithm, name), call)
    }

    fn unwrap_key<'a>(
        &'a self,
        wrapped: &'a [u8],
        algorithm: &'a str,
        name: &'a str,
    ) -> Reply<'a, SecretSlice<u8>, CallError> {
        self.clean(self.driver.unwrap_key(wrapped, algorithm, name), call)
    }

    fn close(&self) -> Reply<'_, (), CallError> {
        self.clean(self.driver.close(), call)
    }
}

#[cfg(test)]
mod tests;
