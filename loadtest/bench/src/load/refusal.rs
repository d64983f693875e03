//! IssueCoupon of a campaign that must refuse.

use coupon_client::Reason;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use tonic::Code;
use tonic::transport::Channel;

use crate::load::call::{Call, fault};
use crate::load::requests::Requests;

/// Is refused once per call.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    client: CouponServiceClient<Channel>,
    requests: Requests,
    reason: Reason,
}

impl Refusal {
    /// One caller for each of the calls in flight, spread over the connections. All expect the same reason.
    pub(crate) fn callers(
        channels: &[Channel],
        in_flight: usize,
        requests: &Requests,
        reason: Reason,
    ) -> Vec<Self> {
        let one = |channel: &Channel| Self {
            client: CouponServiceClient::new(channel.clone()),
            requests: requests.clone(),
            reason,
        };
        channels.iter().cycle().take(in_flight).map(one).collect()
    }
}

impl Call for Refusal {
    async fn call(&mut self) -> Result<u64, String> {
        match self.client.issue_coupon(self.requests.next()).await {
            Ok(_) => Err(format!("a coupon instead of {}", self.reason.as_str())),
            // The encoded details contain the reason as it is; to decode all of them would cost more.
            Err(status)
                if status.code() == Code::FailedPrecondition
                    && contains(status.details(), self.reason.as_str()) =>
            {
                Ok(1)
            }
            Err(status) => Err(fault(&status)),
        }
    }
}

fn contains(details: &[u8], reason: &str) -> bool {
    details.windows(reason.len()).any(|window| window == reason.as_bytes())
}
