//! `couponpb.CouponService`, the older API: its methods, each of which has a file.
//!
//! It is another form of the operations of `coupon.v1`, which do all the work. What it adds is that a campaign's number
//! leads to the campaign.

mod create_campaign;
mod get_campaign;
mod issue_coupon;
mod names;

use std::sync::Arc;

use coupon_proto::couponpb::coupon_service_server::CouponService;
use coupon_proto::couponpb::{
    CreateCampaignRequest, CreateCampaignResponse, GetCampaignRequest, GetCampaignResponse,
    IssueCouponRequest, IssueCouponResponse,
};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use self::create_campaign::create_campaign;
use self::get_campaign::{LISTED_MAX, get_campaign};
use self::issue_coupon::issue_coupon;
use self::names::Names;
use super::{answered, deadline};
use crate::shards::shard_client::ShardClient;

/// Serves the older API.
#[derive(Debug)]
pub(crate) struct OlderCoupons {
    shards: Arc<ShardClient>,
    names: Names,
    /// A permit for each code that answers on their way may list.
    listed: Semaphore,
}

impl OlderCoupons {
    /// The service in front of the shards.
    pub(crate) fn new(shards: Arc<ShardClient>) -> Self {
        Self { shards, names: Names::default(), listed: Semaphore::new(LISTED_MAX) }
    }
}

#[tonic::async_trait]
impl CouponService for OlderCoupons {
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
        let deadline = deadline(&request);
        answered(get_campaign(&self.shards, &self.listed, request.get_ref(), deadline).await)
    }

    async fn issue_coupon(
        &self,
        request: Request<IssueCouponRequest>,
    ) -> Result<Response<IssueCouponResponse>, Status> {
        let deadline = deadline(&request);
        answered(issue_coupon(&self.shards, &self.names, request.get_ref(), deadline).await)
    }
}
