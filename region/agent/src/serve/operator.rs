//! Dapr's Operator API: what a Dapr Server may know of its project's resources.
//!
//! The one idea: the namespace in a request is compared with the certificate and never believed. Kinds that this release
//! does not have are answered with nothing, and their streams stay open and silent, as an empty project's would.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use palladium_kinds::{component, configuration, http_endpoint, resiliency, subscription};
use palladium_proto::operator::operator_server::Operator;
use palladium_proto::operator::{
    ComponentUpdateEvent, ComponentUpdateRequest, ConfigurationUpdateEvent, ConfigurationUpdateRequest,
    GetConfigurationRequest, GetConfigurationResponse, GetResiliencyRequest, GetResiliencyResponse,
    HttpEndpointUpdateEvent, HttpEndpointUpdateRequest, ListComponentResponse, ListComponentsRequest,
    ListHttpEndpointsRequest, ListHttpEndpointsResponse, ListMcpServersRequest, ListMcpServersResponse,
    ListResiliencyRequest, ListResiliencyResponse, ListSubscriptionsRequest, ListSubscriptionsResponse,
    ListWorkflowAccessPolicyRequest, ListWorkflowAccessPolicyResponse, McpServerUpdateEvent, McpServerUpdateRequest,
    ResiliencyUpdateEvent, ResiliencyUpdateRequest, SubscriptionUpdateEvent, SubscriptionUpdateRequest,
    WorkflowAccessPolicyUpdateEvent, WorkflowAccessPolicyUpdateRequest,
};
use palladium_tasks::Shutdown;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::events::events;
use super::{Caller, resource};
use crate::region::Region;

/// The service.
pub(crate) struct Service {
    pub(crate) region: Arc<Region>,
    pub(crate) shutdown: Shutdown,
}

impl Service {
    /// The caller's App ID, once its claim about the namespace holds.
    fn caller<T>(&self, request: &Request<T>, namespace: impl Fn(&T) -> &str) -> Result<(String, String), Status> {
        let (project_id, app_id) = Caller::from(&self.region, request)?.0.app()?;
        let claimed = namespace(request.get_ref());
        // Nothing claimed is nothing to compare.
        if !claimed.is_empty() && claimed != project_id {
            tracing::warn!(project_id, app_id, "a Dapr Server asked for another namespace");
            return Err(Status::permission_denied(
                "the namespace is not the one in the certificate",
            ));
        }
        Ok((project_id, app_id))
    }

    /// What the caller is given of a kind.
    fn list(&self, kind: &str, (project_id, app_id): &(String, String)) -> Vec<Bytes> {
        let all = resource::all(&self.region, kind, project_id, app_id);
        all.into_iter().map(|resource| resource.json).collect()
    }

    /// What changes in it.
    fn updates<M: Send + 'static>(
        &self,
        kind: &'static str,
        caller: (String, String),
        message: fn(Bytes, i32) -> M,
    ) -> Response<BoxStream<M>> {
        let events = events(self.region.clone(), self.shutdown.clone(), kind, caller, message);
        Response::new(events.boxed())
    }

    /// For kinds that do not exist yet: nothing ever happens, until the agent stops.
    fn silence<M: Send + 'static>(&self) -> Response<BoxStream<M>> {
        let shutdown = self.shutdown.clone();
        let silent = stream::once(async move {
            shutdown.wait().await;
            Err(Status::unavailable("the agent is stopping"))
        });
        Response::new(silent.boxed())
    }
}

#[tonic::async_trait]
impl Operator for Service {
    async fn list_components(
        &self,
        request: Request<ListComponentsRequest>,
    ) -> Result<Response<ListComponentResponse>, Status> {
        let caller = self.caller(&request, |request| &request.namespace)?;
        let components = self.list(component::KIND.kind, &caller);
        Ok(Response::new(ListComponentResponse { components }))
    }

    async fn component_update(
        &self,
        request: Request<ComponentUpdateRequest>,
    ) -> Result<Response<BoxStream<ComponentUpdateEvent>>, Status> {
        let caller = self.caller(&request, |request| &request.namespace)?;
        let message = |component, r#type| ComponentUpdateEvent { component, r#type };
        Ok(self.updates(component::KIND.kind, caller, message))
    }

    async fn get_configuration(
        &self,
        request: Request<GetConfigurationRequest>,
    ) -> Result<Response<GetConfigurationResponse>, Status> {
        let (project_id, app_id) = self.caller(&request, |request| &request.namespace)?;
        let named = {
            let desired = self.region.desired();
            let app = desired.app(&project_id, &app_id).and_then(|app| app.app());
            app.map(|app| app.app_config.clone()).unwrap_or_default()
        };
        let asked = &request.get_ref().name;
        if !asked.is_empty() && *asked != named {
            return Err(Status::not_found("this App ID names another Configuration, or none"));
        }
        if named.is_empty() {
            return Ok(Response::new(GetConfigurationResponse::default()));
        }
        // Not an empty one: that would be a Dapr Server without the access control that its owner relies on.
        let found = self.list(configuration::KIND.kind, &(project_id, app_id)).pop();
        let configuration = found.ok_or_else(|| {
            Status::unavailable("the Configuration that this App ID names is not in this region, or lacks a secret")
        })?;
        Ok(Response::new(GetConfigurationResponse { configuration }))
    }

    async fn list_subscriptions(&self, request: Request<()>) -> Result<Response<ListSubscriptionsResponse>, Status> {
        let caller = self.caller(&request, |()| "")?;
        let subscriptions = self.list(subscription::KIND.kind, &caller);
        Ok(Response::new(ListSubscriptionsResponse { subscriptions }))
    }

    async fn list_subscriptions_v2(
        &self,
        request: Request<ListSubscriptionsRequest>,
    ) -> Result<Response<ListSubscriptionsResponse>, Status> {
        let caller = self.caller(&request, |request| &request.namespace)?;
        let subscriptions = self.list(subscription::KIND.kind, &caller);
        Ok(Response::new(ListSubscriptionsResponse { subscriptions }))
    }

    async fn get_resiliency(
        &self,
        request: Request<GetResiliencyRequest>,
    ) -> Result<Response<GetResiliencyResponse>, Status> {
        let (project_id, app_id) = self.caller(&request, |request| &request.namespace)?;
        let all = resource::all(&self.region, resiliency::KIND.kind, &project_id, &app_id);
        let found = all.into_iter().find(|one| one.name == request.get_ref().name);
        let found = found.ok_or_else(|| Status::not_found("there is no such resiliency policy"))?;
        Ok(Response::new(GetResiliencyResponse { resiliency: found.json }))
    }

    async fn list_resiliency(
        &self,
        request: Request<ListResiliencyRequest>,
    ) -> Result<Response<ListResiliencyResponse>, Status> {
        let caller = self.caller(&request, |request| &request.namespace)?;
        let resiliencies = self.list(resiliency::KIND.kind, &caller);
        Ok(Response::new(ListResiliencyResponse { resiliencies }))
    }

    async fn list_http_endpoints(
        &self,
        request: Request<ListHttpEndpointsRequest>,
    ) -> Result<Response<ListHttpEndpointsResponse>, Status> {
        let caller = self.caller(&request, |request| &request.namespace)?;
        let http_endpoints = self.list(http_endpoint::KIND.kind, &caller);
        Ok(Response::new(ListHttpEndpointsResponse { http_endpoints }))
    }

    async fn list_mcp_servers(
        &self,
        request: Request<ListMcpServersRequest>,
    ) -> Result<Response<ListMcpServersResponse>, Status> {
        self.caller(&request, |request| &request.namespace)?;
        Ok(Response::new(ListMcpServersResponse::default()))
    }

    async fn list_workflow_access_policy(
        &self,
        request: Request<ListWorkflowAccessPolicyRequest>,
    ) -> Result<Response<ListWorkflowAccessPolicyResponse>, Status> {
        self.caller(&request, |request| &request.namespace)?;
        Ok(Response::new(ListWorkflowAccessPolicyResponse::default()))
    }

    async fn subscription_update(
        &self,
        request: Request<SubscriptionUpdateRequest>,
    ) -> Result<Response<BoxStream<SubscriptionUpdateEvent>>, Status> {
        let caller = self.caller(&request, |request| &request.namespace)?;
        let message = |subscription, r#type| SubscriptionUpdateEvent { subscription, r#type };
        Ok(self.updates(subscription::KIND.kind, caller, message))
    }

    async fn http_endpoint_update(
        &self,
        request: Request<HttpEndpointUpdateRequest>,
    ) -> Result<Response<BoxStream<HttpEndpointUpdateEvent>>, Status> {
        let caller = self.caller(&request, |request| &request.namespace)?;
        let message = |http_endpoints, r#type| HttpEndpointUpdateEvent { http_endpoints, r#type };
        Ok(self.updates(http_endpoint::KIND.kind, caller, message))
    }

    async fn mcp_server_update(
        &self,
        request: Request<McpServerUpdateRequest>,
    ) -> Result<Response<BoxStream<McpServerUpdateEvent>>, Status> {
        self.caller(&request, |request| &request.namespace)?;
        Ok(self.silence())
    }

    async fn configuration_update(
        &self,
        request: Request<ConfigurationUpdateRequest>,
    ) -> Result<Response<BoxStream<ConfigurationUpdateEvent>>, Status> {
        let caller = self.caller(&request, |request| &request.namespace)?;
        let message = |configuration, r#type| ConfigurationUpdateEvent { configuration, r#type };
        Ok(self.updates(configuration::KIND.kind, caller, message))
    }

    async fn resiliency_update(
        &self,
        request: Request<ResiliencyUpdateRequest>,
    ) -> Result<Response<BoxStream<ResiliencyUpdateEvent>>, Status> {
        let caller = self.caller(&request, |request| &request.namespace)?;
        let message = |resiliency, r#type| ResiliencyUpdateEvent { resiliency, r#type };
        Ok(self.updates(resiliency::KIND.kind, caller, message))
    }

    async fn workflow_access_policy_update(
        &self,
        request: Request<WorkflowAccessPolicyUpdateRequest>,
    ) -> Result<Response<BoxStream<WorkflowAccessPolicyUpdateEvent>>, Status> {
        self.caller(&request, |request| &request.namespace)?;
        Ok(self.silence())
    }
}
