//! `dapr.proto.runtime.v1.Dapr`: the methods that this program has. All others answer UNIMPLEMENTED by themselves.
//!
//! One idea: a table of hand-overs, one line per method, and where a trace wants to know it, what the call is about. Must
//! never decide anything: token and rules were checked in
//! [`super::handle`], the rest is the module's that is called.

use std::sync::Arc;

use palladium_proto::common::InvokeResponse;
use palladium_proto::runtime::dapr_server::Dapr;
use palladium_proto::runtime::{
    BulkPublishRequest, BulkPublishResponse, ConversationRequest, ConversationRequestAlpha2, ConversationResponse,
    ConversationResponseAlpha2, DecryptRequest, DecryptResponse, DeleteBulkStateRequest, DeleteStateRequest,
    EncryptRequest, EncryptResponse, ExecuteStateTransactionRequest, GetBulkSecretRequest, GetBulkSecretResponse,
    GetBulkStateRequest, GetBulkStateResponse, GetConfigurationRequest, GetConfigurationResponse, GetMetadataRequest,
    GetMetadataResponse, GetSecretRequest, GetSecretResponse, GetStateRequest, GetStateResponse, InvokeBindingRequest,
    InvokeBindingResponse, InvokeServiceRequest, PublishEventRequest, QueryStateRequest, QueryStateResponse,
    SaveStateRequest, SetMetadataRequest, ShutdownRequest, SubscribeConfigurationRequest,
    SubscribeConfigurationResponse, SubscribeTopicEventsRequestAlpha1, SubscribeTopicEventsResponseAlpha1,
    TryLockRequest, TryLockResponse, UnlockRequest, UnlockResponse, UnsubscribeConfigurationRequest,
    UnsubscribeConfigurationResponse,
};
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::traced::{about, stored};
use super::{bindings, configuration, conversation, crypto, invoke, lock, publish, secrets, state};
use crate::errors::grpc_status;
use crate::metadata;
use crate::pubsub::stream;
use crate::server::Server;

/// The API of one Dapr Server.
pub struct Api(pub Arc<Server>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Dapr for Api {
    async fn invoke_service(&self, request: Request<InvokeServiceRequest>) -> Answer<InvokeResponse> {
        about(&request, |about, call| {
            let method = call.message.as_ref().map_or("", |message| message.method.as_str());
            about.invoked(&call.id, method);
        });
        invoke::call(&self.0, request).await
    }

    async fn get_state(&self, request: Request<GetStateRequest>) -> Answer<GetStateResponse> {
        stored(&request, "state", "GetState", |call| &call.store_name);
        state::get(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn get_bulk_state(&self, request: Request<GetBulkStateRequest>) -> Answer<GetBulkStateResponse> {
        state::bulk_get(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn save_state(&self, request: Request<SaveStateRequest>) -> Answer<()> {
        stored(&request, "state", "SaveState", |call| &call.store_name);
        state::save(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn query_state_alpha1(&self, request: Request<QueryStateRequest>) -> Answer<QueryStateResponse> {
        state::query(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn delete_state(&self, request: Request<DeleteStateRequest>) -> Answer<()> {
        stored(&request, "state", "DeleteState", |call| &call.store_name);
        state::delete(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn delete_bulk_state(&self, request: Request<DeleteBulkStateRequest>) -> Answer<()> {
        state::bulk_delete(&self.0, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn execute_state_transaction(&self, request: Request<ExecuteStateTransactionRequest>) -> Answer<()> {
        state::transaction(&self.0, request).await.map(Response::new)
    }

    async fn publish_event(&self, request: Request<PublishEventRequest>) -> Answer<()> {
        about(&request, |about, call| {
            about.say("rpc.service", "Dapr");
            about.messaged(&call.topic);
        });
        publish::single(&self.0, request).await.map(Response::new)
    }

    async fn bulk_publish_event(&self, request: Request<BulkPublishRequest>) -> Answer<BulkPublishResponse> {
        about(&request, |about, call| {
            about.say("rpc.service", "Dapr");
            about.messaged(&call.topic);
        });
        publish::bulk(&self.0, request).await.map(Response::new)
    }

    async fn bulk_publish_event_alpha1(&self, request: Request<BulkPublishRequest>) -> Answer<BulkPublishResponse> {
        about(&request, |about, call| {
            about.say("rpc.service", "Dapr");
            about.messaged(&call.topic);
        });
        publish::bulk(&self.0, request).await.map(Response::new)
    }

    async fn subscribe_topic_events_alpha1(
        &self,
        request: Request<Streaming<SubscribeTopicEventsRequestAlpha1>>,
    ) -> Answer<BoxStream<SubscribeTopicEventsResponseAlpha1>> {
        let events = stream::serve(self.0.clone(), request.into_inner()).await?;
        Ok(Response::new(Box::pin(events)))
    }

    async fn get_secret(&self, request: Request<GetSecretRequest>) -> Answer<GetSecretResponse> {
        stored(&request, "secrets", "GetSecret", |call| &call.store_name);
        secrets::get(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn get_bulk_secret(&self, request: Request<GetBulkSecretRequest>) -> Answer<GetBulkSecretResponse> {
        secrets::get_all(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn invoke_binding(&self, request: Request<InvokeBindingRequest>) -> Answer<InvokeBindingResponse> {
        stored(&request, "bindings", "InvokeBinding", |call| &call.name);
        bindings::invoke(&self.0, request).await
    }

    async fn get_configuration(&self, request: Request<GetConfigurationRequest>) -> Answer<GetConfigurationResponse> {
        configuration::get(&self.0, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn get_configuration_alpha1(
        &self,
        request: Request<GetConfigurationRequest>,
    ) -> Answer<GetConfigurationResponse> {
        self.get_configuration(request).await
    }

    async fn subscribe_configuration(
        &self,
        request: Request<SubscribeConfigurationRequest>,
    ) -> Answer<BoxStream<SubscribeConfigurationResponse>> {
        let updates = configuration::subscribe(&self.0, request.into_inner()).await?;
        Ok(Response::new(Box::pin(updates)))
    }

    async fn subscribe_configuration_alpha1(
        &self,
        request: Request<SubscribeConfigurationRequest>,
    ) -> Answer<BoxStream<SubscribeConfigurationResponse>> {
        self.subscribe_configuration(request).await
    }

    async fn unsubscribe_configuration(
        &self,
        request: Request<UnsubscribeConfigurationRequest>,
    ) -> Answer<UnsubscribeConfigurationResponse> {
        Ok(Response::new(configuration::unsubscribe(&self.0, request.get_ref())))
    }

    async fn unsubscribe_configuration_alpha1(
        &self,
        request: Request<UnsubscribeConfigurationRequest>,
    ) -> Answer<UnsubscribeConfigurationResponse> {
        self.unsubscribe_configuration(request).await
    }

    async fn try_lock_alpha1(&self, request: Request<TryLockRequest>) -> Answer<TryLockResponse> {
        lock::try_lock(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn unlock_alpha1(&self, request: Request<UnlockRequest>) -> Answer<UnlockResponse> {
        lock::unlock(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn encrypt_alpha1(&self, request: Request<Streaming<EncryptRequest>>) -> Answer<BoxStream<EncryptResponse>> {
        let document = crypto::encrypt(self.0.clone(), request.into_inner()).await?;
        Ok(Response::new(Box::pin(document)))
    }

    async fn decrypt_alpha1(&self, request: Request<Streaming<DecryptRequest>>) -> Answer<BoxStream<DecryptResponse>> {
        let document = crypto::decrypt(self.0.clone(), request.into_inner()).await?;
        Ok(Response::new(Box::pin(document)))
    }

    async fn converse_alpha1(&self, request: Request<ConversationRequest>) -> Answer<ConversationResponse> {
        about(&request, |about, call| about.say("rpc.system", &call.name));
        conversation::alpha1(&self.0, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn converse_alpha2(&self, request: Request<ConversationRequestAlpha2>) -> Answer<ConversationResponseAlpha2> {
        about(&request, |about, call| about.say("rpc.system", &call.name));
        conversation::alpha2(&self.0, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn get_metadata(&self, _: Request<GetMetadataRequest>) -> Answer<GetMetadataResponse> {
        Ok(Response::new(metadata::describe(&self.0)))
    }

    async fn set_metadata(&self, request: Request<SetMetadataRequest>) -> Answer<()> {
        let SetMetadataRequest { key, value } = request.into_inner();
        metadata::set(&self.0, key, value).map_err(|fault| {
            self.0.metrics.fault(&fault);
            grpc_status(&fault.report)
        })?;
        Ok(Response::new(()))
    }

    async fn shutdown(&self, request: Request<ShutdownRequest>) -> Answer<()> {
        self.0
            .end(request.metadata().as_ref())
            .map_err(Status::permission_denied)?;
        Ok(Response::new(()))
    }
}
