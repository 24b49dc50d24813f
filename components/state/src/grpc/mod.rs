//! A state store in another process, over `dapr.proto.components.v1`: the common part of `state.diagrid` and pluggable
//! components.
//!
//! The one idea: this is a client of Dapr's own component protocol over byte streams that somebody else authenticated.
//! A call is repeated only when it never reached the other side, or only reads; never when a write's fate is unknown.

mod convert;
mod status;

use std::sync::Arc;
use std::time::{Duration, Instant};

use palladium_component::state::{
    BulkGetItem, BulkOptions, DeleteRequest, Feature, Features, GetRequest, GetResponse, QueryRequest, QueryResponse,
    SetRequest, StateStore, TransactRequest,
};
use palladium_component::{Connector, Properties, Reply, StateError};
use palladium_components_pluggable::stream;
use palladium_proto::components as pb;
use pb::queriable_state_store_client::QueriableStateStoreClient;
use pb::state_store_client::StateStoreClient;
use pb::transactional_state_store_client::TransactionalStateStoreClient;
use pb::transactional_store_multi_max_size_client::TransactionalStoreMultiMaxSizeClient;
use tokio::sync::OnceCell;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// Greatest message in either direction.
const MAX_MESSAGE: usize = 256 << 20;
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a call that never arrived is repeated: the other process may just be restarting.
const REPEAT_FOR: Duration = Duration::from_secs(3);
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
}

/// The header by which the other side knows which component is meant.
pub(crate) struct Header {
    pub(crate) name: &'static str,
    pub(crate) value: MetadataValue<Ascii>,
}

pub(crate) struct RemoteStore {
    channel: Channel,
    header: Header,
    features: Features,
    /// Learned at the first transaction.
    max_operations: OnceCell<Option<usize>>,
    queryable: bool,
}

/// A channel over the connector's streams.
pub(crate) fn channel(connector: Arc<dyn Connector>) -> Channel {
    stream::over(stream::endpoint(), connector)
}

/// Calls a generated client's method with the sizes and type that all calls share.
macro_rules! call {
    ($self:ident, $kind:expr, $message:expr, $client:ident . $method:ident) => {
        $self.call($kind, $message, |channel, request| async move {
            let client = $client::new(channel).max_decoding_message_size(MAX_MESSAGE);
            client.max_encoding_message_size(MAX_MESSAGE).$method(request).await
        })
    };
}

impl RemoteStore {
    /// Initializes the component on the other side and learns what it can do.
    pub(crate) async fn open(channel: Channel, header: Header, properties: &Properties) -> Result<Self, StateError> {
        let mut store = RemoteStore {
            channel,
            header,
            features: Features::NONE,
            max_operations: OnceCell::new(),
            queryable: false,
        };
        let properties = properties
            .expose()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        let init = pb::InitRequest {
            metadata: Some(pb::MetadataRequest { properties }),
        };
        call!(store, Kind::Write, init, StateStoreClient.init).await?;
        let features = call!(store, Kind::Read, pb::FeaturesRequest {}, StateStoreClient.features)
            .await?
            .features;
        let known = features.iter().filter_map(|name| Feature::from_name(name));
        store.features = known.fold(Features::NONE, Features::with);
        Ok(store)
    }

    /// Lets queries through whatever the other side says about features, as upstream does for pluggable components.
    pub(crate) fn always_queryable(self) -> Self {
        RemoteStore {
            queryable: true,
            ..self
        }
    }

    async fn call<M, R, F>(
        &self,
        kind: Kind,
        message: M,
        send: impl Fn(Channel, Request<M>) -> F,
    ) -> Result<R, StateError>
    where
        M: Clone,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let mut request = Request::new(message.clone());
            request
                .metadata_mut()
                .insert(self.header.name, self.header.value.clone());
            let sent = tokio::time::timeout(CALL_TIMEOUT, send(self.channel.clone(), request)).await;
            let status = match sent {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("the component did not answer in time"),
            };
            let again = stream::never_sent(&status) || (kind == Kind::Read && status::is_away(&status));
            if !again || started.elapsed() + pause > REPEAT_FOR {
                return Err(status::to_error(&status));
            }
            tracing::debug!(%status, "call to a component is repeated");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

impl StateStore for RemoteStore {
    fn features(&self) -> Features {
        self.features
    }

    fn max_transaction_operations(&self) -> Reply<'_, Option<usize>> {
        if let Some(max) = self.max_operations.get() {
            return Reply::ready(Ok(*max));
        }
        Reply::wait(async move {
            let max = call!(
                self,
                Kind::Read,
                pb::MultiMaxSizeRequest {},
                TransactionalStoreMultiMaxSizeClient.multi_max_size
            );
            // Who does not know the question has no limit.
            let max = self.max_operations.get_or_init(|| async {
                max.await
                    .ok()
                    .and_then(|answer| usize::try_from(answer.max_size).ok())
                    .filter(|max| *max > 0)
            });
            Ok(*max.await)
        })
    }

    fn queryable(&self) -> bool {
        self.queryable || self.features.has(Feature::QueryApi)
    }

    fn get<'a>(&'a self, request: &'a GetRequest) -> Reply<'a, GetResponse> {
        Reply::wait(async move {
            let answer = call!(self, Kind::Read, convert::get(request), StateStoreClient.get).await?;
            Ok(convert::got(answer))
        })
    }

    fn set<'a>(&'a self, request: &'a SetRequest) -> Reply<'a, ()> {
        Reply::wait(async move {
            call!(self, Kind::Write, convert::set(request), StateStoreClient.set)
                .await
                .map(|_| ())
        })
    }

    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> Reply<'a, ()> {
        Reply::wait(async move {
            call!(self, Kind::Write, convert::delete(request), StateStoreClient.delete)
                .await
                .map(|_| ())
        })
    }

    fn bulk_get<'a>(&'a self, requests: &'a [GetRequest], options: BulkOptions) -> Reply<'a, Vec<BulkGetItem>> {
        Reply::wait(async move {
            let message = pb::BulkGetRequest {
                items: requests.iter().map(convert::get).collect(),
                options: Some(pb::BulkGetRequestOptions {
                    parallelism: convert::count(options.parallelism),
                }),
            };
            let answer = call!(self, Kind::Read, message, StateStoreClient.bulk_get).await?;
            Ok(answer.items.into_iter().map(convert::item).collect())
        })
    }

    fn bulk_set<'a>(&'a self, requests: &'a [SetRequest], options: BulkOptions) -> Reply<'a, ()> {
        Reply::wait(async move {
            let message = pb::BulkSetRequest {
                items: requests.iter().map(convert::set).collect(),
                options: Some(pb::BulkSetRequestOptions {
                    parallelism: convert::count(options.parallelism),
                }),
            };
            call!(self, Kind::Write, message, StateStoreClient.bulk_set)
                .await
                .map(|_| ())
        })
    }

    fn bulk_delete<'a>(&'a self, requests: &'a [DeleteRequest], options: BulkOptions) -> Reply<'a, ()> {
        Reply::wait(async move {
            let message = pb::BulkDeleteRequest {
                items: requests.iter().map(convert::delete).collect(),
                options: Some(pb::BulkDeleteRequestOptions {
                    parallelism: convert::count(options.parallelism),
                }),
            };
            call!(self, Kind::Write, message, StateStoreClient.bulk_delete)
                .await
                .map(|_| ())
        })
    }

    fn transact<'a>(&'a self, request: &'a TransactRequest) -> Reply<'a, ()> {
        Reply::wait(async move {
            call!(
                self,
                Kind::Write,
                convert::transact(request),
                TransactionalStateStoreClient.transact
            )
            .await
            .map(|_| ())
        })
    }

    fn query<'a>(&'a self, request: &'a QueryRequest) -> Reply<'a, QueryResponse> {
        Reply::wait(async move {
            let answer = call!(
                self,
                Kind::Read,
                convert::query(request),
                QueriableStateStoreClient.query
            )
            .await?;
            Ok(convert::found(answer))
        })
    }

    fn ping(&self) -> Reply<'_, ()> {
        Reply::wait(async move {
            call!(self, Kind::Read, pb::PingRequest {}, StateStoreClient.ping)
                .await
                .map(|_| ())
        })
    }
}
