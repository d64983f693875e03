//! `coupon.v1.EventService`: its methods, each of which has a file.

use std::sync::Arc;

use coupon_proto::v1::event_service_server::EventService;
use coupon_proto::v1::{
    ListEventsRequest, ListEventsResponse, StreamEventsRequest, StreamEventsResponse,
};
use tonic::{Request, Response, Status};

use super::limits::Stopping;
use super::list_events::list_events;
use super::parts::Parts;
use super::shares::Shares;
use super::stream_events::{BOUNDS, stream_events};
use super::{answered, client, deadline};
use crate::shards::shard_client::ShardClient;

/// Tells what happened.
#[derive(Debug)]
pub(crate) struct Events {
    shards: Arc<ShardClient>,
    streams: Shares,
    stopping: Stopping,
}

impl Events {
    /// The service in front of the shards. Its streams end with `stopping`.
    pub(crate) fn new(shards: Arc<ShardClient>, stopping: Stopping) -> Self {
        Self { shards, streams: Shares::new(BOUNDS), stopping }
    }
}

#[tonic::async_trait]
impl EventService for Events {
    async fn list_events(
        &self,
        request: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        answered(list_events(&self.shards, request.get_ref(), deadline(&request)).await)
    }

    type StreamEventsStream = Parts<StreamEventsResponse>;

    async fn stream_events(
        &self,
        request: Request<StreamEventsRequest>,
    ) -> Result<Response<Parts<StreamEventsResponse>>, Status> {
        let (client, deadline) = (client(&request), deadline(&request));
        let Self { shards, streams, stopping } = self;
        let (request, stopping) = (request.get_ref(), stopping.clone());
        answered(stream_events(shards, streams, request, client, deadline, stopping).await)
    }
}
