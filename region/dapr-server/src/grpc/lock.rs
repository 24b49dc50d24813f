//! The lock API over gRPC.
//!
//! Must never decide anything: `crate::lock` does, for both protocols.

use palladium_component::lock::Unlocked;
use palladium_proto::runtime::unlock_response::Status as Freed;
use palladium_proto::runtime::{TryLockRequest, TryLockResponse, UnlockRequest, UnlockResponse};
use tonic::Status;

use crate::errors::grpc_fault;
use crate::lock;
use crate::server::Server;

pub(super) async fn try_lock(server: &Server, request: TryLockRequest) -> Result<TryLockResponse, Status> {
    let TryLockRequest {
        store_name,
        resource_id,
        lock_owner,
        expiry_in_seconds,
    } = request;
    let taken = lock::try_lock(server, &store_name, &resource_id, &lock_owner, expiry_in_seconds).await;
    let success = taken.map_err(|fault| grpc_fault(server, &fault))?;
    Ok(TryLockResponse { success })
}

pub(super) async fn unlock(server: &Server, request: UnlockRequest) -> Result<UnlockResponse, Status> {
    let freed = lock::unlock(server, &request.store_name, &request.resource_id, &request.lock_owner).await;
    let status = match freed.map_err(|fault| grpc_fault(server, &fault))? {
        Unlocked::Success => Freed::Success,
        Unlocked::DoesNotExist => Freed::LockDoesNotExist,
        Unlocked::BelongsToOthers => Freed::LockBelongsToOthers,
    };
    Ok(UnlockResponse { status: status.into() })
}
