//! Bindings of the user's own, in processes beside the Dapr Server, over `dapr.proto.components.v1`.
//!
//! The one idea: a socket whose server has the service for one way is that way of the component type `bindings.<name of the
//! socket>`; it may have both. Only in a process of the user's own. Must never say that an event was handled before it was.

mod events;

use std::sync::Arc;
use std::time::Duration;

use palladium_component::bindings::{Answer, Binding, BindingError, Listener, Listening, Operation, Ways};
use palladium_component::error::RemoteError;
use palladium_component::{CallError, OpenContext, OpenError, Reply};
use palladium_components_pluggable::{Found, HEADER};
use palladium_proto::components as pb;
use palladium_tasks::Tasks;
use pb::input_binding_client::InputBindingClient;
use pb::output_binding_client::OutputBindingClient;
use tokio::time::timeout;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

const INPUT: &str = "dapr.proto.components.v1.InputBinding";
const OUTPUT: &str = "dapr.proto.components.v1.OutputBinding";
/// Greatest message in either direction.
const MAX_MESSAGE: usize = 256 << 20;
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Opens a component of a type that no driver has, if one of the sockets is meant.
pub async fn open(
    found: &[Found],
    type_name: &str,
    context: OpenContext,
) -> Option<Result<Arc<dyn Binding>, OpenError>> {
    let with = |service| found.iter().find(|found| found.is("bindings.", service, type_name));
    let (into, out) = (with(INPUT), with(OUTPUT));
    let socket = into.or(out)?;
    let ways = Ways {
        into: into.is_some(),
        out: out.is_some(),
    };
    Some(on_socket(socket, ways, context).await)
}

async fn on_socket(found: &Found, ways: Ways, context: OpenContext) -> Result<Arc<dyn Binding>, OpenError> {
    let instance = context
        .component
        .parse()
        .map_err(|_| OpenError::NotAllowed(format!("component name {:?} is not printable ASCII", context.component)))?;
    let mut remote = Remote {
        channel: found.socket.channel(),
        instance,
        ways,
        operations: Vec::new(),
    };
    let properties = context.properties.expose();
    let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let metadata = Some(pb::MetadataRequest {
        properties: properties.collect(),
    });
    let unavailable = |error: CallError| OpenError::Unavailable(error.to_string());
    if ways.into {
        let request = pb::InputBindingInitRequest {
            metadata: metadata.clone(),
        };
        let mut client = remote.input();
        answered(client.init(remote.request(request)))
            .await
            .map_err(unavailable)?;
    }
    if ways.out {
        let mut client = remote.output();
        let request = pb::OutputBindingInitRequest { metadata };
        answered(client.init(remote.request(request)))
            .await
            .map_err(unavailable)?;
        let request = remote.request(pb::ListOperationsRequest {});
        let listed = answered(client.list_operations(request)).await.map_err(unavailable)?;
        remote.operations = listed.operations;
    }
    Ok(Arc::new(remote))
}

#[derive(Clone)]
struct Remote {
    channel: Channel,
    instance: MetadataValue<Ascii>,
    ways: Ways,
    operations: Vec<String>,
}

impl Remote {
    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(HEADER, self.instance.clone());
        request
    }

    fn input(&self) -> InputBindingClient<Channel> {
        let client = InputBindingClient::new(self.channel.clone());
        client
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    fn output(&self) -> OutputBindingClient<Channel> {
        let client = OutputBindingClient::new(self.channel.clone());
        client
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }
}

async fn answered<R>(call: impl Future<Output = Result<Response<R>, Status>>) -> Result<R, CallError> {
    let late = || CallError::Unavailable("the component did not answer in time".to_owned());
    let answer = timeout(CALL_TIMEOUT, call).await.map_err(|_| late())?;
    answer.map(Response::into_inner).map_err(|status| {
        let remote = RemoteError {
            grpc_code: status.code() as u32,
            message: status.message().to_owned(),
            answer: None,
        };
        match status.code() {
            Code::Unavailable | Code::DeadlineExceeded => CallError::Unavailable(remote.to_string()),
            _ => CallError::Remote(Box::new(remote)),
        }
    })
}

impl Binding for Remote {
    fn ways(&self) -> Ways {
        self.ways
    }

    fn operations(&self) -> Vec<String> {
        self.operations.clone()
    }

    fn invoke<'a>(&'a self, operation: &'a Operation) -> Reply<'a, Answer, BindingError> {
        Reply::wait(async move {
            let message = pb::InvokeRequest {
                data: operation.data.clone(),
                metadata: operation.metadata.clone(),
                operation: operation.name.clone(),
            };
            let answer = answered(self.output().invoke(self.request(message))).await?;
            Ok(Answer {
                data: Some(answer.data),
                metadata: answer.metadata,
            })
        })
    }

    fn listen(&self, listener: Arc<dyn Listener>) -> Reply<'_, Listening, CallError> {
        let mut tasks = Tasks::new();
        tasks.spawn("bindings-pluggable", events::follow(self.clone(), listener));
        Reply::ready(Ok(Box::new(tasks)))
    }
}
