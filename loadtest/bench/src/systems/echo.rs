//! The echo: a tonic server that answers IssueCoupon without doing anything. It is the ceiling for any
//! service behind the same interface.

use anyhow::Context as _;
use coupon_proto::v1;
use coupon_proto::v1::coupon_service_server::{CouponService, CouponServiceServer};
use futures::stream::Empty;
use tonic::{Request, Response, Status};

use super::server;
use crate::load::requests::usual_answer;

/// Serves until the process is killed.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let incoming = server::listen().await?;
    let service = CouponServiceServer::new(Echo { answer: usual_answer() });
    server::server().add_service(service).serve_with_incoming(incoming).await.context("serve")
}

struct Echo {
    answer: v1::IssueCouponResponse,
}

#[tonic::async_trait]
impl CouponService for Echo {
    type StreamCouponsStream = Empty<Result<v1::StreamCouponsResponse, Status>>;

    async fn issue_coupon(
        &self,
        _request: Request<v1::IssueCouponRequest>,
    ) -> Result<Response<v1::IssueCouponResponse>, Status> {
        Ok(Response::new(self.answer.clone()))
    }

    async fn batch_issue_coupons(
        &self,
        _request: Request<v1::BatchIssueCouponsRequest>,
    ) -> Result<Response<v1::BatchIssueCouponsResponse>, Status> {
        Err(Status::unimplemented("the echo issues nothing"))
    }

    async fn list_coupons(
        &self,
        _request: Request<v1::ListCouponsRequest>,
    ) -> Result<Response<v1::ListCouponsResponse>, Status> {
        Err(Status::unimplemented("the echo keeps nothing"))
    }

    async fn stream_coupons(
        &self,
        _request: Request<v1::StreamCouponsRequest>,
    ) -> Result<Response<Self::StreamCouponsStream>, Status> {
        Err(Status::unimplemented("the echo keeps nothing"))
    }
}
