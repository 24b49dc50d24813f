//! The secrets API over gRPC.
//!
//! Must never decide anything: `crate::secret_stores` does, for both protocols.

use palladium_proto::runtime::{
    GetBulkSecretRequest, GetBulkSecretResponse, GetSecretRequest, GetSecretResponse, SecretResponse,
};
use tonic::Status;

use crate::errors::grpc_fault;
use crate::secret_stores;
use crate::server::Server;

pub(super) async fn get(server: &Server, request: GetSecretRequest) -> Result<GetSecretResponse, Status> {
    let secret = secret_stores::get(server, &request.store_name, &request.key, &request.metadata).await;
    let secret = secret.map_err(|fault| grpc_fault(server, &fault))?;
    Ok(GetSecretResponse {
        data: secret.0.into_iter().collect(),
    })
}

pub(super) async fn get_all(server: &Server, request: GetBulkSecretRequest) -> Result<GetBulkSecretResponse, Status> {
    let secrets = secret_stores::get_all(server, &request.store_name, &request.metadata).await;
    let secrets = secrets.map_err(|fault| grpc_fault(server, &fault))?;
    let data = secrets.into_iter().map(|(name, secret)| {
        let secrets = secret.0.into_iter().collect();
        (name, SecretResponse { secrets })
    });
    Ok(GetBulkSecretResponse { data: data.collect() })
}
