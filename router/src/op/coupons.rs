//! `coupon.v1.CouponService`: its methods, each of which has a file.

use std::sync::Arc;

use coupon_proto::v1::coupon_service_server::CouponService;
use coupon_proto::v1::{
    BatchIssueCouponsRequest, BatchIssueCouponsResponse, ConfirmHoldRequest, ConfirmHoldResponse,
    GetCouponRequest, GetCouponResponse, HoldCouponRequest, HoldCouponResponse, IssueCouponRequest,
    IssueCouponResponse, IssueStreamRequest, ListCouponsRequest, ListCouponsResponse,
    LookupCouponRequest, LookupCouponResponse, RedeemCouponRequest, RedeemCouponResponse,
    ReleaseHoldRequest, ReleaseHoldResponse, ReverseRedemptionRequest, ReverseRedemptionResponse,
    StreamCouponsRequest, StreamCouponsResponse, ValidateCouponRequest, ValidateCouponResponse,
    VoidCouponRequest, VoidCouponResponse,
};
use tonic::{Request, Response, Status, Streaming};

use super::batch_issue_coupons::batch_issue_coupons;
use super::confirm_hold::confirm_hold;
use super::exports::Exports;
use super::get_coupon::get_coupon;
use super::hold_coupon::hold_coupon;
use super::issue_coupon::issue_coupon;
use super::issue_stream::{Answers, issue_stream};
use super::limits::{Permits, Stopping};
use super::list_coupons::list_coupons;
use super::lookup_coupon::lookup_coupon;
use super::parts::Parts;
use super::redeem_coupon::redeem_coupon;
use super::release_hold::release_hold;
use super::reverse_redemption::reverse_redemption;
use super::stream_coupons::stream_coupons;
use super::validate_coupon::validate_coupon;
use super::void_coupon::void_coupon;
use super::{answered, client, deadline, memory};
use crate::shards::shard_client::ShardClient;

/// Issues coupons, holds them, shows them, redeems and voids them.
#[derive(Debug)]
pub(crate) struct Coupons {
    shards: Arc<ShardClient>,
    permits: Permits,
    exports: Exports,
    stopping: Stopping,
}

impl Coupons {
    /// The service in front of the shards. Batches and streams need more permits than the one they come with.
    pub(crate) fn new(shards: Arc<ShardClient>, permits: Permits, stopping: Stopping) -> Self {
        Self { shards, permits, exports: Exports::new(), stopping }
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

    type IssueStreamStream = Answers;

    async fn issue_stream(
        &self,
        request: Request<Streaming<IssueStreamRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let (memory, stopping) = (memory(&request), self.stopping.clone());
        let (shards, permits) = (&self.shards, &self.permits);
        Ok(Response::new(issue_stream(shards, permits, request.into_inner(), memory, stopping)))
    }

    async fn hold_coupon(
        &self,
        request: Request<HoldCouponRequest>,
    ) -> Result<Response<HoldCouponResponse>, Status> {
        let deadline = deadline(&request);
        answered(hold_coupon(&self.shards, request.into_inner(), deadline).await)
    }

    async fn confirm_hold(
        &self,
        request: Request<ConfirmHoldRequest>,
    ) -> Result<Response<ConfirmHoldResponse>, Status> {
        let deadline = deadline(&request);
        answered(confirm_hold(&self.shards, request.into_inner(), deadline).await)
    }

    async fn release_hold(
        &self,
        request: Request<ReleaseHoldRequest>,
    ) -> Result<Response<ReleaseHoldResponse>, Status> {
        let deadline = deadline(&request);
        answered(release_hold(&self.shards, request.into_inner(), deadline).await)
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
        let (client, deadline) = (client(&request), deadline(&request));
        let request = request.get_ref();
        let (shards, exports) = (&self.shards, &self.exports);
        let stopping = self.stopping.clone();
        answered(stream_coupons(shards, exports, request, client, deadline, stopping).await)
    }
}
