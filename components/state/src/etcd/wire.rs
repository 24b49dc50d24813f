//! The part of etcd's gRPC API that this driver speaks: messages by their wire numbers, and one way to call.
//!
//! Must never grow into a client: what the driver does not use is not here.

use bytes::Bytes;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

/// One call of etcd.
pub(super) async fn call<M, R>(channel: &Channel, path: &'static str, message: M) -> Result<R, Status>
where
    M: prost::Message + 'static,
    R: prost::Message + Default + 'static,
{
    let mut grpc = Grpc::new(channel.clone()).max_decoding_message_size(64 << 20);
    grpc.ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let codec: ProstCodec<M, R> = ProstCodec::default();
    let answer = grpc
        .unary(Request::new(message), PathAndQuery::from_static(path), codec)
        .await?;
    Ok(answer.into_inner())
}

/// A method of etcd.
#[derive(Clone, Copy)]
pub(super) struct Method {
    pub(super) path: &'static str,
    /// It changes nothing, so that it may be asked again.
    pub(super) reads: bool,
}

const fn method(path: &'static str, reads: bool) -> Method {
    Method { path, reads }
}

pub(super) const RANGE: Method = method("/etcdserverpb.KV/Range", true);
pub(super) const TXN: Method = method("/etcdserverpb.KV/Txn", false);
pub(super) const LEASE_GRANT: Method = method("/etcdserverpb.Lease/LeaseGrant", false);
pub(super) const LEASE_REVOKE: Method = method("/etcdserverpb.Lease/LeaseRevoke", false);
pub(super) const LEASE_TIME_TO_LIVE: Method = method("/etcdserverpb.Lease/LeaseTimeToLive", true);

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RangeResponse {
    #[prost(message, repeated, tag = "2")]
    pub(super) kvs: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct KeyValue {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: Bytes,
    #[prost(int64, tag = "3")]
    pub(super) mod_revision: i64,
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) value: Bytes,
    /// 0 = none.
    #[prost(int64, tag = "6")]
    pub(super) lease: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: Bytes,
    #[prost(int64, tag = "3")]
    pub(super) lease: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct DeleteRangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: Bytes,
}

/// A condition: equality of one property of one key.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Compare {
    /// 0 = equal.
    #[prost(int32, tag = "1")]
    result: i32,
    #[prost(int32, tag = "2")]
    target: i32,
    #[prost(bytes = "bytes", tag = "3")]
    key: Bytes,
    #[prost(oneof = "Property", tags = "5, 6")]
    property: Option<Property>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Property {
    #[prost(int64, tag = "5")]
    CreateRevision(i64),
    #[prost(int64, tag = "6")]
    ModRevision(i64),
}

impl Compare {
    /// The key does not exist.
    pub(super) fn absent(key: Bytes) -> Self {
        Self {
            result: 0,
            target: 1,
            key,
            property: Some(Property::CreateRevision(0)),
        }
    }

    /// The key was last written at this revision.
    pub(super) fn written_at(key: Bytes, revision: i64) -> Self {
        Self {
            result: 0,
            target: 2,
            key,
            property: Some(Property::ModRevision(revision)),
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RequestOp {
    #[prost(oneof = "Op", tags = "2, 3")]
    pub(super) op: Option<Op>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Op {
    #[prost(message, tag = "2")]
    Put(PutRequest),
    #[prost(message, tag = "3")]
    Delete(DeleteRangeRequest),
}

impl Op {
    /// The lease that it would give to its key.
    pub(super) fn lease(&self) -> Option<i64> {
        match self {
            Self::Put(put) => Some(put.lease).filter(|lease| *lease != 0),
            Self::Delete(_) => None,
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TxnRequest {
    #[prost(message, repeated, tag = "1")]
    pub(super) compare: Vec<Compare>,
    #[prost(message, repeated, tag = "2")]
    pub(super) success: Vec<RequestOp>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TxnResponse {
    #[prost(bool, tag = "2")]
    pub(super) succeeded: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LeaseGrantRequest {
    #[prost(int64, tag = "1")]
    pub(super) ttl: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LeaseGrantResponse {
    #[prost(int64, tag = "2")]
    pub(super) id: i64,
}

/// Of `LeaseRevoke` and `LeaseTimeToLive`, which name a lease alike.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LeaseRequest {
    #[prost(int64, tag = "1")]
    pub(super) id: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LeaseRevokeResponse {}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LeaseTimeToLiveResponse {
    /// Seconds that are left; -1 when the lease has ended.
    #[prost(int64, tag = "3")]
    pub(super) ttl: i64,
}
