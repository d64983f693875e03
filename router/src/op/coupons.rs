//! `coupon.v1.CouponService`: its methods, each of which has a file.

use std::sync::Arc;

use coupon_proto::v1::coupon_service_server::CouponService;
use coupon_proto::v1::{
    BatchIssueCouponsRequest, BatchIssueCouponsResponse, IssueCouponRequest, IssueCouponResponse,
    ListCouponsRequest, ListCouponsResponse, StreamCouponsRequest,
};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::batch_issue_coupons::batch_issue_coupons;
use super::issue_coupon::issue_coupon;
use super::limits::Permits;
use super::list_coupons::list_coupons;
use super::stream_coupons::{Parts, stream_coupons};
use super::{answered, deadline};
use crate::shards::pool::EXPORTS_MAX;
use crate::shards::shard_client::ShardClient;

/// Issues coupons and shows them.
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

    async fn list_coupons(
        &self,
        request: Request<ListCouponsRequest>,
    ) -> Result<Response<ListCouponsResponse>, Status> {
        let deadline = deadline(&request);
        answered(list_coupons(&self.shards, request.into_inner(), deadline).await)
    }

    type StreamCouponsStream = Parts;

    async fn stream_coupons(
        &self,
        request: Request<StreamCouponsRequest>,
    ) -> Result<Response<Parts>, Status> {
        let deadline = deadline(&request);
        answered(stream_coupons(&self.shards, &self.exports, request.get_ref(), deadline).await)
    }
}
