//! etcd's Put, by its gRPC interface; only the fields that a benchmark needs.

use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::load::call::{Call, fault};
use crate::load::requests::Requests;

/// `etcdserverpb.PutRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `etcdserverpb.PutResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
}

/// `etcdserverpb.StatusRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct StatusRequest {}

/// `etcdserverpb.StatusResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

/// `etcdserverpb.ResponseHeader`.
#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(uint64, tag = "2")]
    member_id: u64,
    #[prost(int64, tag = "3")]
    revision: i64,
}

/// Puts one key per call.
#[derive(Clone, Debug)]
pub(crate) struct Put {
    client: Grpc<Channel>,
    requests: Requests,
}

impl Put {
    /// One caller for each of the calls in flight, spread over the connections.
    pub(crate) fn callers(
        channels: &[Channel],
        in_flight: usize,
        requests: &Requests,
    ) -> Vec<Self> {
        let one = |channel: &Channel| Self {
            client: Grpc::new(channel.clone()),
            requests: requests.clone(),
        };
        channels.iter().cycle().take(in_flight).map(one).collect()
    }
}

impl Call for Put {
    async fn call(&mut self) -> Result<u64, String> {
        let request = self.requests.next();
        let put = PutRequest {
            key: request.recipient.into_bytes(),
            value: request.request_id.into_bytes(),
        };
        let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
        let answer: Result<PutResponse, Status> = unary(&mut self.client, path, put).await;
        match answer.map_err(|status| fault(&status))?.header {
            Some(Header { revision, .. }) if revision > 0 => Ok(1),
            _ => Err("etcd answers without a revision".to_owned()),
        }
    }
}

/// Whether the member behind a connection leads its cluster.
pub(crate) async fn is_leader(channel: &Channel) -> Result<bool, Status> {
    let path = PathAndQuery::from_static("/etcdserverpb.Maintenance/Status");
    let mut client = Grpc::new(channel.clone());
    let status: StatusResponse = unary(&mut client, path, StatusRequest {}).await?;
    Ok(status.leader != 0 && status.header.is_some_and(|header| header.member_id == status.leader))
}

async fn unary<Q, A>(
    client: &mut Grpc<Channel>,
    path: PathAndQuery,
    message: Q,
) -> Result<A, Status>
where
    Q: prost::Message + 'static,
    A: prost::Message + Default + 'static,
{
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let codec: ProstCodec<Q, A> = ProstCodec::default();
    Ok(client.unary(Request::new(message), path, codec).await?.into_inner())
}
