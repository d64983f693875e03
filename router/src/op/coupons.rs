//! `coupon.v1.CouponService`: its methods, each of which has a file.

use std::sync::Arc;

use coupon_proto::v1::coupon_service_server::CouponService;
use coupon_proto::v1::{
    BatchIssueCouponsRequest, BatchIssueCouponsResponse, GetCouponRequest, GetCouponResponse,
    IssueCouponRequest, IssueCouponResponse, ListCouponsRequest, ListCouponsResponse,
    LookupCouponRequest, LookupCouponResponse, RedeemCouponRequest, RedeemCouponResponse,
    ReverseRedemptionRequest, ReverseRedemptionResponse, StreamCouponsRequest,
    StreamCouponsResponse, ValidateCouponRequest, ValidateCouponResponse, VoidCouponRequest,
    VoidCouponResponse,
};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::batch_issue_coupons::batch_issue_coupons;
use super::get_coupon::get_coupon;
use super::issue_coupon::issue_coupon;
use super::limits::Permits;
use super::list_coupons::list_coupons;
use super::lookup_coupon::lookup_coupon;
use super::parts::Parts;
use super::redeem_coupon::redeem_coupon;
use super::reverse_redemption::reverse_redemption;
use super::stream_coupons::stream_coupons;
use super::validate_coupon::validate_coupon;
use super::void_coupon::void_coupon;
use super::{answered, deadline};
use crate::shards::pool::EXPORTS_MAX;
use crate::shards::shard_client::ShardClient;

/// Issues coupons, shows them, redeems and voids them.
#[derive(Debug)]
pub(crate) struct Coupons {
    shards: Arc<ShardClient>,
    permits: Permits,
    exports: Arc<Semaphore>,
}

impl Coupons {
    /// The service in front of the shards. Batches need more permits than the one they come with.
    pub(crate) fn new(shards: Arc<ShardClient>, permits: Permits) -> Self {
        Self { shards, permits, exports: Arc::new(Semaphore::new(EXPORTS_MAX)) }
    }
}

#[tonic::async_trait]
impl CouponService for Coupons {
    async fn issue_coupon(
        &self,
        request: Request<IssueCouponRequest>,
    ) -> Result<Response<IssueCouponResponse>, Status> {
        let deadline = deadline(&request);
        answered(issue_coupon(&self.shards, request.into_inner(), deadline).await)
    }

    async fn batch_issue_coupons(
        &self,
        request: Request<BatchIssueCouponsRequest>,
    ) -> Result<Response<BatchIssueCouponsResponse>, Status> {
        let deadline = deadline(&request);
        let batch = request.into_inner();
        answered(batch_issue_coupons(&self.shards, &self.permits, batch, deadline).await)
    }

    async fn redeem_coupon(
        &self,
        request: Request<RedeemCouponRequest>,
    ) -> Result<Response<RedeemCouponResponse>, Status> {
        let deadline = deadline(&request);
        answered(redeem_coupon(&self.shards, request.into_inner(), deadline).await)
    }

    async fn reverse_redemption(
        &self,
        request: Request<ReverseRedemptionRequest>,
    ) -> Result<Response<ReverseRedemptionResponse>, Status> {
        let deadline = deadline(&request);
        answered(reverse_redemption(&self.shards, request.into_inner(), deadline).await)
    }

    async fn void_coupon(
        &self,
        request: Request<VoidCouponRequest>,
    ) -> Result<Response<VoidCouponResponse>, Status> {
        let deadline = deadline(&request);
        answered(void_coupon(&self.shards, request.into_inner(), deadline).await)
    }

    async fn validate_coupon(
        &self,
        request: Request<ValidateCouponRequest>,
    ) -> Result<Response<ValidateCouponResponse>, Status> {
        answered(validate_coupon(&self.shards, request.get_ref(), deadline(&request)).await)
    }

    async fn get_coupon(
        &self,
        request: Request<GetCouponRequest>,
    ) -> Result<Response<GetCouponResponse>, Status> {
        answered(get_coupon(&self.shards, request.get_ref(), deadline(&request)).await)
    }

    async fn lookup_coupon(
        &self,
        request: Request<LookupCouponRequest>,
    ) -> Result<Response<LookupCouponResponse>, Status> {
        answered(lookup_coupon(&self.shards, request.get_ref(), deadline(&request)).await)
    }

    async fn list_coupons(
        &self,
        request: Request<ListCouponsRequest>,
    ) -> Result<Response<ListCouponsResponse>, Status> {
        let deadline = deadline(&request);
        answered(list_coupons(&self.shards, request.into_inner(), deadline).await)
    }

    type StreamCouponsStream = Parts<StreamCouponsResponse>;

    async fn stream_coupons(
        &self,
        request: Request<StreamCouponsRequest>,
    ) -> Result<Response<Parts<StreamCouponsResponse>>, Status> {
        let deadline = deadline(&request);
        answered(stream_coupons(&self.shards, &self.exports, request.get_ref(), deadline).await)
    }
}
