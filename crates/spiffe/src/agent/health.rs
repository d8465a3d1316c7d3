//! gRPC's health checking protocol: whether the agent has heard from its server.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::core::Core;
use super::follow::Answers;
use super::workload::caller_of;
use crate::proto::health::health_check_response::ServingStatus;
use crate::proto::health::health_server::Health;
use crate::proto::health::{HealthCheckRequest, HealthCheckResponse};

/// The services that can be asked for; the empty name is the agent itself.
const SERVICES: [&str; 3] =
    ["", "SpiffeWorkloadAPI", "envoy.service.secret.v3.SecretDiscoveryService"];

/// The service.
pub(super) struct HealthService {
    core: Arc<Core>,
}

impl HealthService {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

fn response(core: &Core, service: &str) -> HealthCheckResponse {
    let status = match (SERVICES.contains(&service), core.registry.borrow().is_some()) {
        (false, _) => ServingStatus::ServiceUnknown,
        (true, true) => ServingStatus::Serving,
        (true, false) => ServingStatus::NotServing,
    };
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for HealthService {
    type WatchStream = Answers<HealthCheckResponse>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = &request.get_ref().service;
        if !SERVICES.contains(&service.as_str()) {
            return Err(Status::not_found("unknown service"));
        }
        Ok(Response::new(response(&self.core, service)))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let place = self.core.open_stream(&*caller_of(&request)?)?;
        let service = request.into_inner().service;
        let (sender, receiver) = mpsc::channel(1);
        let core = self.core.clone();
        tokio::spawn(async move {
            let _place = place;
            let mut changes = core.registry.clone();
            let mut told = None;
            loop {
                changes.mark_unchanged();
                let response = response(&core, &service);
                if told != Some(response.status) {
                    told = Some(response.status);
                    if sender.send(Ok(response)).await.is_err() {
                        return;
                    }
                }
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return },
                    () = sender.closed() => return,
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
