//! BatchIssueCoupons, batch by batch.

use std::sync::Arc;

use coupon_proto::v1;
use coupon_proto::v1::batch_issue_coupons_result::Result as ItemResult;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use parking_lot::Mutex;
use tonic::transport::Channel;

use crate::load::audit::Audit;
use crate::load::call::{Call, fault};
use crate::load::requests::Requests;

/// Number of coupons in a batch.
pub(crate) const BATCH: usize = 256;

/// Issues [`BATCH`] coupons per call.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    client: CouponServiceClient<Channel>,
    requests: Requests,
    audit: Arc<Mutex<Audit>>,
}

impl Batch {
    /// One caller for each of the batches in flight, spread over the connections.
    pub(crate) fn callers(
        channels: &[Channel],
        in_flight: usize,
        requests: &Requests,
        audit: &Arc<Mutex<Audit>>,
    ) -> Vec<Self> {
        let one = |channel: &Channel| Self {
            client: CouponServiceClient::new(channel.clone()),
            requests: requests.clone(),
            audit: Arc::clone(audit),
        };
        channels.iter().cycle().take(in_flight).map(one).collect()
    }
}

impl Call for Batch {
    async fn call(&mut self) -> Result<u64, String> {
        let requests = (0..BATCH).map(|_| self.requests.next()).collect();
        let request = v1::BatchIssueCouponsRequest { requests };
        let answer = self.client.batch_issue_coupons(request).await;
        let results = answer.map_err(|status| fault(&status))?.into_inner().results;
        let mut audit = self.audit.lock();
        let mut refused = None;
        let mut issued = 0;
        for item in results {
            match item.result {
                Some(ItemResult::Response(response)) => {
                    audit.note(response.coupon.map_or(0, |coupon| coupon.sequence));
                    issued += 1;
                }
                Some(ItemResult::Error(status)) => refused = Some(status.message),
                None => refused = Some("a result is empty".to_owned()),
            }
        }
        match refused {
            None => Ok(issued),
            Some(why) => Err(format!("a request of a batch: {why}")),
        }
    }
}
