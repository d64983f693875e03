//! `coupon.v1.CampaignService`: its methods, each of which has a file.

use std::sync::Arc;

use coupon_proto::v1::campaign_service_server::CampaignService;
use coupon_proto::v1::{
    ArchiveCampaignRequest, ArchiveCampaignResponse, CreateCampaignRequest, CreateCampaignResponse,
    DeleteCampaignRequest, DeleteCampaignResponse, EndCampaignRequest, EndCampaignResponse,
    GetCampaignRequest, GetCampaignResponse, ImportCodesRequest, ListCampaignsRequest,
    ListCampaignsResponse, PauseCampaignRequest, PauseCampaignResponse, ResumeCampaignRequest,
    ResumeCampaignResponse, UpdateCampaignRequest, UpdateCampaignResponse, WatchCampaignRequest,
};
use tonic::{Request, Response, Status, Streaming};

use super::archive_campaign::archive_campaign;
use super::create_campaign::create_campaign;
use super::delete_campaign::delete_campaign;
use super::end_campaign::end_campaign;
use super::get_campaign::get_campaign;
use super::import_codes::{Answers, import_codes};
use super::limits::{Permits, Stopping};
use super::list_campaigns::list_campaigns;
use super::pause_campaign::pause_campaign;
use super::resume_campaign::resume_campaign;
use super::update_campaign::update_campaign;
use super::watch_campaign::{Changes, Watching, watch_campaign};
use super::{answered, client, deadline, memory};
use crate::shards::shard_client::ShardClient;

/// Creates, changes and shows campaigns.
#[derive(Debug)]
pub(crate) struct Campaigns {
    shards: Arc<ShardClient>,
    permits: Permits,
    stopping: Stopping,
    watching: Watching,
}

impl Campaigns {
    /// The service in front of the shards. Streams need more permits than the one they come with, and end with
    /// `stopping`.
    pub(crate) fn new(shards: Arc<ShardClient>, permits: Permits, stopping: Stopping) -> Self {
        let watching = Watching::new(stopping.clone());
        Self { shards, permits, stopping, watching }
    }
}

#[tonic::async_trait]
impl CampaignService for Campaigns {
    async fn create_campaign(
        &self,
        request: Request<CreateCampaignRequest>,
    ) -> Result<Response<CreateCampaignResponse>, Status> {
        let deadline = deadline(&request);
        answered(create_campaign(&self.shards, request.into_inner(), deadline).await)
    }

    async fn get_campaign(
        &self,
        request: Request<GetCampaignRequest>,
    ) -> Result<Response<GetCampaignResponse>, Status> {
        answered(get_campaign(&self.shards, request.get_ref(), deadline(&request)).await)
    }

    type ImportCodesStream = Answers;

    async fn import_codes(
        &self,
        request: Request<Streaming<ImportCodesRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let (memory, stopping) = (memory(&request), self.stopping.clone());
        let messages = request.into_inner();
        Ok(Response::new(import_codes(&self.shards, &self.permits, messages, memory, stopping)))
    }

    async fn list_campaigns(
        &self,
        request: Request<ListCampaignsRequest>,
    ) -> Result<Response<ListCampaignsResponse>, Status> {
        answered(list_campaigns(&self.shards, request.get_ref(), deadline(&request)).await)
    }

    async fn pause_campaign(
        &self,
        request: Request<PauseCampaignRequest>,
    ) -> Result<Response<PauseCampaignResponse>, Status> {
        let deadline = deadline(&request);
        answered(pause_campaign(&self.shards, request.into_inner(), deadline).await)
    }

    async fn resume_campaign(
        &self,
        request: Request<ResumeCampaignRequest>,
    ) -> Result<Response<ResumeCampaignResponse>, Status> {
        let deadline = deadline(&request);
        answered(resume_campaign(&self.shards, request.into_inner(), deadline).await)
    }

    async fn update_campaign(
        &self,
        request: Request<UpdateCampaignRequest>,
    ) -> Result<Response<UpdateCampaignResponse>, Status> {
        let deadline = deadline(&request);
        answered(update_campaign(&self.shards, request.into_inner(), deadline).await)
    }

    async fn end_campaign(
        &self,
        request: Request<EndCampaignRequest>,
    ) -> Result<Response<EndCampaignResponse>, Status> {
        let deadline = deadline(&request);
        answered(end_campaign(&self.shards, request.into_inner(), deadline).await)
    }

    async fn archive_campaign(
        &self,
        request: Request<ArchiveCampaignRequest>,
    ) -> Result<Response<ArchiveCampaignResponse>, Status> {
        let deadline = deadline(&request);
        answered(archive_campaign(&self.shards, request.into_inner(), deadline).await)
    }

    async fn delete_campaign(
        &self,
        request: Request<DeleteCampaignRequest>,
    ) -> Result<Response<DeleteCampaignResponse>, Status> {
        let deadline = deadline(&request);
        answered(delete_campaign(&self.shards, request.into_inner(), deadline).await)
    }

    type WatchCampaignStream = Changes;

    async fn watch_campaign(
        &self,
        request: Request<WatchCampaignRequest>,
    ) -> Result<Response<Changes>, Status> {
        let (client, deadline) = (client(&request), deadline(&request));
        let request = request.get_ref();
        answered(watch_campaign(&self.shards, &self.watching, request, client, deadline).await)
    }
}
