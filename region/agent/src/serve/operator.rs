//! Dapr's Operator API: what a Dapr Server may know of its project's resources.
//!
//! The one idea: the namespace in a request is compared with the certificate and never believed. Kinds that this release
//! does not have are answered with nothing, and their streams stay open and silent, as an empty project's would.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use palladium_proto::operator::operator_server::Operator;
use palladium_proto::operator::{
    ComponentUpdateEvent, ComponentUpdateRequest, ConfigurationUpdateEvent, ConfigurationUpdateRequest,
    GetConfigurationRequest, GetConfigurationResponse, GetResiliencyRequest, GetResiliencyResponse,
    HttpEndpointUpdateEvent, HttpEndpointUpdateRequest, ListComponentResponse, ListComponentsRequest,
    ListHttpEndpointsRequest, ListHttpEndpointsResponse, ListMcpServersRequest, ListMcpServersResponse,
    ListResiliencyRequest, ListResiliencyResponse, ListSubscriptionsRequest, ListSubscriptionsResponse,
    ListWorkflowAccessPolicyRequest, ListWorkflowAccessPolicyResponse, McpServerUpdateEvent, McpServerUpdateRequest,
    ResiliencyUpdateEvent, ResiliencyUpdateRequest, ResourceEventType, SubscriptionUpdateEvent,
    SubscriptionUpdateRequest, WorkflowAccessPolicyUpdateEvent, WorkflowAccessPolicyUpdateRequest,
};
use palladium_tasks::Shutdown;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::Caller;
use super::component::{self, Resource};
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

type Known = BTreeMap<String, Bytes>;

fn known(resources: Vec<Resource>) -> Known {
    resources
        .into_iter()
        .map(|resource| (resource.name, resource.json))
        .collect()
}

/// What changed between two looks.
fn differences(before: &Known, now: &Known) -> Vec<ComponentUpdateEvent> {
    let event = |json: &Bytes, kind: ResourceEventType| ComponentUpdateEvent {
        component: json.clone(),
        r#type: kind.into(),
    };
    let gone = before.iter().filter(|(name, _)| !now.contains_key(*name));
    let gone = gone.map(|(_, json)| event(json, ResourceEventType::Deleted));
    let changed = now.iter().filter_map(|(name, json)| match before.get(name) {
        None => Some(event(json, ResourceEventType::Created)),
        Some(old) if old != json => Some(event(json, ResourceEventType::Updated)),
        Some(_) => None,
    });
    gone.chain(changed).collect()
}

fn component_events(
    region: Arc<Region>,
    shutdown: Shutdown,
    project_id: String,
    app_id: String,
) -> impl Stream<Item = Result<ComponentUpdateEvent, Status>> + Send {
    // Taken now, not at the first poll: a caller lists after it has subscribed, and nothing may fall between.
    let changed = region.versions.subscribe();
    let before = known(component::all(&region, &project_id, &app_id));
    let state = (region, shutdown, changed, before, project_id, app_id);
    stream::unfold(Some(state), async |state| {
        let (region, shutdown, mut changed, before, project_id, app_id) = state?;
        loop {
            if !matches!(shutdown.unless(changed.changed()).await, Some(Ok(()))) {
                return Some((vec![Err(Status::unavailable("the agent is stopping"))], None));
            }
            if region.desired().app(&project_id, &app_id).is_none() {
                return Some((
                    vec![Err(Status::permission_denied("this App ID does not exist any more"))],
                    None,
                ));
            }
            let now = known(component::all(&region, &project_id, &app_id));
            let events = differences(&before, &now);
            if !events.is_empty() {
                let events = events.into_iter().map(Ok).collect();
                return Some((events, Some((region, shutdown, changed, now, project_id, app_id))));
            }
        }
    })
    .flat_map(stream::iter)
}

#[tonic::async_trait]
impl Operator for Service {
    async fn list_components(
        &self,
        request: Request<ListComponentsRequest>,
    ) -> Result<Response<ListComponentResponse>, Status> {
        let (project_id, app_id) = self.caller(&request, |request| &request.namespace)?;
        let components = component::all(&self.region, &project_id, &app_id);
        let components = components.into_iter().map(|resource| resource.json).collect();
        Ok(Response::new(ListComponentResponse { components }))
    }

    async fn component_update(
        &self,
        request: Request<ComponentUpdateRequest>,
    ) -> Result<Response<BoxStream<ComponentUpdateEvent>>, Status> {
        let (project_id, app_id) = self.caller(&request, |request| &request.namespace)?;
        let events = component_events(self.region.clone(), self.shutdown.clone(), project_id, app_id);
        Ok(Response::new(events.boxed()))
    }

    async fn get_configuration(
        &self,
        request: Request<GetConfigurationRequest>,
    ) -> Result<Response<GetConfigurationResponse>, Status> {
        self.caller(&request, |request| &request.namespace)?;
        Ok(Response::new(GetConfigurationResponse::default()))
    }

    async fn list_subscriptions(&self, request: Request<()>) -> Result<Response<ListSubscriptionsResponse>, Status> {
        self.caller(&request, |()| "")?;
        Ok(Response::new(ListSubscriptionsResponse::default()))
    }

    async fn list_subscriptions_v2(
        &self,
        request: Request<ListSubscriptionsRequest>,
    ) -> Result<Response<ListSubscriptionsResponse>, Status> {
        self.caller(&request, |request| &request.namespace)?;
        Ok(Response::new(ListSubscriptionsResponse::default()))
    }

    async fn get_resiliency(
        &self,
        request: Request<GetResiliencyRequest>,
    ) -> Result<Response<GetResiliencyResponse>, Status> {
        self.caller(&request, |request| &request.namespace)?;
        Err(Status::not_found("there is no such resiliency policy"))
    }

    async fn list_resiliency(
        &self,
        request: Request<ListResiliencyRequest>,
    ) -> Result<Response<ListResiliencyResponse>, Status> {
        self.caller(&request, |request| &request.namespace)?;
        Ok(Response::new(ListResiliencyResponse::default()))
    }

    async fn list_http_endpoints(
        &self,
        request: Request<ListHttpEndpointsRequest>,
    ) -> Result<Response<ListHttpEndpointsResponse>, Status> {
        self.caller(&request, |request| &request.namespace)?;
        Ok(Response::new(ListHttpEndpointsResponse::default()))
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
        self.caller(&request, |request| &request.namespace)?;
        Ok(self.silence())
    }

    async fn http_endpoint_update(
        &self,
        request: Request<HttpEndpointUpdateRequest>,
    ) -> Result<Response<BoxStream<HttpEndpointUpdateEvent>>, Status> {
        self.caller(&request, |request| &request.namespace)?;
        Ok(self.silence())
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
        self.caller(&request, |request| &request.namespace)?;
        Ok(self.silence())
    }

    async fn resiliency_update(
        &self,
        request: Request<ResiliencyUpdateRequest>,
    ) -> Result<Response<BoxStream<ResiliencyUpdateEvent>>, Status> {
        self.caller(&request, |request| &request.namespace)?;
        Ok(self.silence())
    }

    async fn workflow_access_policy_update(
        &self,
        request: Request<WorkflowAccessPolicyUpdateRequest>,
    ) -> Result<Response<BoxStream<WorkflowAccessPolicyUpdateEvent>>, Status> {
        self.caller(&request, |request| &request.namespace)?;
        Ok(self.silence())
    }
}
