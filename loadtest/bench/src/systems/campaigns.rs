//! Campaigns, each made for one measurement.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use coupon_proto::v1;
use coupon_proto::v1::campaign_service_client::CampaignServiceClient;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use prost::Message as _;
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

use crate::load::requests::Requests;

/// A quota that no measurement uses up.
const QUOTA_LARGE: i64 = 1_000_000_000;

/// Deadline of a call about a campaign.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum time for which such a call is repeated.
const INSIST_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause before it is.
const INSIST_PAUSE: Duration = Duration::from_millis(100);

/// Time until the start of a campaign that does not start during a run.
const LATER: Duration = Duration::from_secs(24 * 3_600);

/// Creates and reads campaigns.
#[derive(Clone, Debug)]
pub(crate) struct Campaigns {
    client: CampaignServiceClient<Channel>,
    coupons: CouponServiceClient<Channel>,
}

impl Campaigns {
    /// Those behind a router.
    pub(crate) fn new(router: Channel) -> Self {
        let coupons = CouponServiceClient::new(router.clone());
        Self { client: CampaignServiceClient::new(router), coupons }
    }

    /// Creates a campaign that has started and is never sold out. Returns its id.
    pub(crate) async fn create_large(&mut self) -> anyhow::Result<String> {
        self.create(QUOTA_LARGE, None).await
    }

    /// Creates a campaign that does not start during the run. Returns its id.
    pub(crate) async fn create_for_later(&mut self) -> anyhow::Result<String> {
        self.create(QUOTA_LARGE, Some(SystemTime::now() + LATER)).await
    }

    /// Creates a campaign of one coupon, and issues that. Returns the campaign's id, and the size of the
    /// answer that had the coupon.
    pub(crate) async fn create_sold_out(&mut self) -> anyhow::Result<(String, usize)> {
        let campaign_id = self.create(1, None).await?;
        let request = Requests::new(&campaign_id).next();
        let issue = async |request| self.coupons.issue_coupon(request).await;
        let answer = insist("issue the only coupon", request, issue).await?;
        Ok((campaign_id, answer.encoded_len()))
    }

    async fn create(
        &mut self,
        quota: i64,
        start_time: Option<SystemTime>,
    ) -> anyhow::Result<String> {
        let (id, _) = Uuid::new_v4().as_u64_pair();
        let campaign_id = format!("bench-00-{id:016x}");
        let request = v1::CreateCampaignRequest {
            campaign_id: campaign_id.clone(),
            quota,
            start_time: start_time.map(Into::into),
            per_recipient_limit: 1,
            request_id: Uuid::new_v4().to_string(),
            ..v1::CreateCampaignRequest::default()
        };
        let create = async |request| self.client.create_campaign(request).await;
        insist("create a campaign", request, create).await?;
        Ok(campaign_id)
    }

    /// The number of coupons that a campaign has issued.
    pub(crate) async fn issued(&mut self, campaign_id: &str) -> anyhow::Result<i64> {
        let request = v1::GetCampaignRequest { campaign_id: campaign_id.to_owned() };
        let get = async |request| self.client.get_campaign(request).await;
        let answer = insist("read a campaign", request, get).await?;
        Ok(answer.campaign.context("the answer has no campaign")?.issued)
    }
}

/// Repeats a call while the cluster is busy, for instance with an election. All these calls are safe to
/// repeat: they read, or have a request id.
async fn insist<Q: Clone, A>(
    what: &'static str,
    message: Q,
    mut call: impl AsyncFnMut(Request<Q>) -> Result<Response<A>, Status>,
) -> anyhow::Result<A> {
    let deadline = Instant::now() + INSIST_TIMEOUT;
    loop {
        let mut request = Request::new(message.clone());
        request.set_timeout(CALL_TIMEOUT);
        match call(request).await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) => {
                let may_pass = matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded);
                if !may_pass || Instant::now() > deadline {
                    return Err(status).context(what);
                }
            }
        }
        sleep(INSIST_PAUSE).await;
    }
}
