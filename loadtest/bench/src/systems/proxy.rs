//! The proxy: a hop that forwards IssueCoupon call by call to the echo, over one connection. It shows what
//! a router costs that does not bundle.

use coupon_proto::v1;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::server::{self, Issue};
use crate::load::connect::connect_once;

/// Forwards to the server at `to` until the process is killed.
pub(crate) async fn serve(to: &str) -> anyhow::Result<()> {
    let client = CouponServiceClient::new(connect_once(to).await?);
    server::serve(Proxy { client }).await
}

struct Proxy {
    client: CouponServiceClient<Channel>,
}

impl Issue for Proxy {
    async fn issue(
        &self,
        request: v1::IssueCouponRequest,
    ) -> Result<Response<v1::IssueCouponResponse>, Status> {
        self.client.clone().issue_coupon(request).await
    }
}
