//! `coupon.v1.CampaignService`.

use std::collections::BTreeSet;
use std::sync::Arc;

use coupon_cluster::ShardId;
use coupon_proto::internal::{ListCampaignsQuery, ReadResponse, command, outcome, read_request};
use coupon_proto::v1::campaign_service_server::CampaignService;
use coupon_proto::v1::{
    Campaign, CreateCampaignRequest, CreateCampaignResponse, GetCampaignRequest,
    GetCampaignResponse, ListCampaignsRequest, ListCampaignsResponse,
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::deadline;
use super::listing::{self, Listing};
use crate::backend::Backend;
use crate::convert;
use crate::error::Fault;
use crate::page::Cursor;
use crate::topology::Topology;
use crate::validate;

const PAGE_DEFAULT: u32 = 50;

/// Creates and shows campaigns.
#[derive(Debug)]
pub(crate) struct Campaigns {
    backend: Arc<Backend>,
}

impl Campaigns {
    /// The service in front of a backend.
    pub(crate) fn new(backend: Arc<Backend>) -> Self {
        Self { backend }
    }

    async fn create(
        &self,
        request: CreateCampaignRequest,
        deadline: Instant,
    ) -> Result<CreateCampaignResponse, Fault> {
        let validate::Creation { campaign, identity, command } = validate::creation(request)?;
        let command = command::Command::CreateCampaign(command);
        let (outcome, topology) = self.backend.propose(&campaign, command, deadline).await?;
        match outcome.outcome {
            Some(outcome::Outcome::CampaignCreated(created)) => {
                let record = created.campaign;
                let record =
                    record.ok_or(Fault::Internal("a shard created a nameless campaign"))?;
                // Log time is its creation, unless that was long ago.
                let clock = self.backend.clock();
                let now = if created.replayed { clock.micros() } else { record.create_micros };
                Ok(CreateCampaignResponse {
                    campaign: Some(convert::campaign(record, now)),
                    replayed: created.replayed && !identity.generated,
                })
            }
            Some(outcome::Outcome::Refusal(refusal)) => Err(Fault::refused(refusal, &topology)),
            Some(outcome::Outcome::CouponIssued(_)) | None => {
                Err(Fault::Internal("a shard answered another question"))
            }
        }
    }

    async fn get(
        &self,
        request: GetCampaignRequest,
        deadline: Instant,
    ) -> Result<GetCampaignResponse, Fault> {
        let campaign = validate::campaign_id(&request.campaign_id)?;
        let response = self.backend.read_campaign(&campaign, deadline).await?;
        let now = response.log_time_micros;
        let record = response.campaigns.into_iter().next();
        let record = record.ok_or(Fault::Internal("a shard showed no campaign"))?;
        Ok(GetCampaignResponse { campaign: Some(convert::campaign(record, now)) })
    }

    async fn list(
        &self,
        request: ListCampaignsRequest,
        deadline: Instant,
    ) -> Result<ListCampaignsResponse, Fault> {
        let limit = validate::page_size(request.page_size, PAGE_DEFAULT)?;
        let token = &request.page_token;
        let page = listing::page(&AllCampaigns, &self.backend, token, limit, deadline).await?;
        let (campaigns, next_page_token) = page;
        Ok(ListCampaignsResponse { campaigns, next_page_token })
    }
}

#[tonic::async_trait]
impl CampaignService for Campaigns {
    async fn create_campaign(
        &self,
        request: Request<CreateCampaignRequest>,
    ) -> Result<Response<CreateCampaignResponse>, Status> {
        let deadline = deadline(&request);
        let created = self.create(request.into_inner(), deadline).await;
        created.map(Response::new).map_err(Fault::into_status)
    }

    async fn get_campaign(
        &self,
        request: Request<GetCampaignRequest>,
    ) -> Result<Response<GetCampaignResponse>, Status> {
        let deadline = deadline(&request);
        let campaign = self.get(request.into_inner(), deadline).await;
        campaign.map(Response::new).map_err(Fault::into_status)
    }

    async fn list_campaigns(
        &self,
        request: Request<ListCampaignsRequest>,
    ) -> Result<Response<ListCampaignsResponse>, Status> {
        let deadline = deadline(&request);
        let page = self.list(request.into_inner(), deadline).await;
        page.map(Response::new).map_err(Fault::into_status)
    }
}

/// All campaigns, by shard and id.
struct AllCampaigns;

impl Listing for AllCampaigns {
    type Item = Campaign;

    fn question(&self) -> Vec<&str> {
        vec!["campaigns"]
    }

    fn shards(&self, topology: &Topology) -> BTreeSet<ShardId> {
        topology.ring_shards().clone()
    }

    fn query(&self, cursor: &Cursor, limit: u32) -> read_request::Query {
        let after = cursor.after_campaign_id.clone();
        read_request::Query::ListCampaigns(ListCampaignsQuery { after, limit })
    }

    fn take(
        &self,
        response: ReadResponse,
        cursor: &mut Cursor,
        _: &Topology,
    ) -> Result<Vec<Campaign>, Fault> {
        if let Some(last) = response.campaigns.last() {
            cursor.after_campaign_id.clone_from(&last.campaign_id);
        }
        let now = response.log_time_micros;
        let campaigns = response.campaigns.into_iter();
        Ok(campaigns.map(|record| convert::campaign(record, now)).collect())
    }
}
