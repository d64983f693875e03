//! IssueCoupon, call by call.

use std::sync::Arc;

use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use parking_lot::Mutex;
use tonic::transport::Channel;

use crate::load::audit::Audit;
use crate::load::call::{Call, fault};
use crate::load::requests::Requests;

/// Issues one coupon per call.
#[derive(Clone, Debug)]
pub(crate) struct Unary {
    client: CouponServiceClient<Channel>,
    requests: Requests,
    /// Where answers are checked; `None` for peers, whose answers mean nothing.
    audit: Option<Arc<Mutex<Audit>>>,
}

impl Unary {
    /// One caller for each of the calls in flight, spread over the connections.
    pub(crate) fn callers(
        channels: &[Channel],
        in_flight: usize,
        requests: &Requests,
        audit: Option<&Arc<Mutex<Audit>>>,
    ) -> Vec<Self> {
        let one = |channel: &Channel| Self {
            client: CouponServiceClient::new(channel.clone()),
            requests: requests.clone(),
            audit: audit.cloned(),
        };
        channels.iter().cycle().take(in_flight).map(one).collect()
    }
}

impl Call for Unary {
    async fn call(&mut self) -> Result<u64, String> {
        let request = self.requests.next();
        let answer = self.client.issue_coupon(request).await;
        let answer = answer.map_err(|status| fault(&status))?.into_inner();
        if let Some(audit) = &self.audit {
            let sequence = answer.coupon.map_or(0, |coupon| coupon.sequence);
            audit.lock().note(sequence);
        }
        Ok(1)
    }
}
