//! The echo: a tonic server that answers IssueCoupon without doing anything. It is the ceiling for any
//! service behind the same interface.

use coupon_proto::v1;
use tonic::{Response, Status};

use super::server::{self, Issue};
use crate::load::requests::usual_answer;

/// Serves until the process is killed.
pub(crate) async fn serve() -> anyhow::Result<()> {
    server::serve(Echo { answer: usual_answer() }).await
}

struct Echo {
    answer: v1::IssueCouponResponse,
}

impl Issue for Echo {
    async fn issue(
        &self,
        _request: v1::IssueCouponRequest,
    ) -> Result<Response<v1::IssueCouponResponse>, Status> {
        Ok(Response::new(self.answer.clone()))
    }
}
