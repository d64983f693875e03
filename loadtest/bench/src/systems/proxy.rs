//! The proxy: a hop that forwards IssueCoupon call by call to the echo, over one connection. It shows what
//! a router costs that does not bundle.

use anyhow::Context as _;
use coupon_proto::v1;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use coupon_proto::v1::coupon_service_server::{CouponService, CouponServiceServer};
use futures::stream::Empty;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::server;
use crate::load::connect::connect_once;

/// Forwards to the server at `to` until the process is killed.
pub(crate) async fn serve(to: &str) -> anyhow::Result<()> {
    let client = CouponServiceClient::new(connect_once(to).await?);
    let incoming = server::listen().await?;
    let service = CouponServiceServer::new(Proxy { client });
    server::server().add_service(service).serve_with_incoming(incoming).await.context("serve")
}

struct Proxy {
    client: CouponServiceClient<Channel>,
}

#[tonic::async_trait]
impl CouponService for Proxy {
    type StreamCouponsStream = Empty<Result<v1::StreamCouponsResponse, Status>>;

    async fn issue_coupon(
        &self,
        request: Request<v1::IssueCouponRequest>,
    ) -> Result<Response<v1::IssueCouponResponse>, Status> {
        self.client.clone().issue_coupon(request.into_inner()).await
    }

    async fn batch_issue_coupons(
        &self,
        _request: Request<v1::BatchIssueCouponsRequest>,
    ) -> Result<Response<v1::BatchIssueCouponsResponse>, Status> {
        Err(Status::unimplemented("the proxy forwards IssueCoupon alone"))
    }

    async fn list_coupons(
        &self,
        _request: Request<v1::ListCouponsRequest>,
    ) -> Result<Response<v1::ListCouponsResponse>, Status> {
        Err(Status::unimplemented("the proxy forwards IssueCoupon alone"))
    }

    async fn stream_coupons(
        &self,
        _request: Request<v1::StreamCouponsRequest>,
    ) -> Result<Response<Self::StreamCouponsStream>, Status> {
        Err(Status::unimplemented("the proxy forwards IssueCoupon alone"))
    }
}
