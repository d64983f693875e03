//! Campaigns, each made for one measurement.

use std::time::Duration;

use anyhow::Context as _;
use coupon_proto::v1;
use coupon_proto::v1::campaign_service_client::CampaignServiceClient;
use tonic::Request;
use tonic::transport::Channel;
use uuid::Uuid;

/// A quota that no measurement uses up.
pub(crate) const QUOTA_LARGE: i64 = 1_000_000_000;

/// Deadline of a call about a campaign.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Creates and reads campaigns.
#[derive(Clone, Debug)]
pub(crate) struct Campaigns {
    client: CampaignServiceClient<Channel>,
}

impl Campaigns {
    /// Those behind a router.
    pub(crate) fn new(router: Channel) -> Self {
        Self { client: CampaignServiceClient::new(router) }
    }

    /// Creates a campaign that has started, with a limit of one coupon per recipient. Returns its id.
    pub(crate) async fn create(&mut self, quota: i64) -> anyhow::Result<String> {
        let (id, _) = Uuid::new_v4().as_u64_pair();
        let campaign_id = format!("bench-00-{id:016x}");
        let mut request = Request::new(v1::CreateCampaignRequest {
            campaign_id: campaign_id.clone(),
            quota,
            per_recipient_limit: 1,
            request_id: Uuid::new_v4().to_string(),
            ..v1::CreateCampaignRequest::default()
        });
        request.set_timeout(CALL_TIMEOUT);
        self.client.create_campaign(request).await.context("create a campaign")?;
        Ok(campaign_id)
    }

    /// The number of coupons that a campaign has issued.
    pub(crate) async fn issued(&mut self, campaign_id: &str) -> anyhow::Result<i64> {
        let campaign_id = campaign_id.to_owned();
        let mut request = Request::new(v1::GetCampaignRequest { campaign_id });
        request.set_timeout(CALL_TIMEOUT);
        let answer = self.client.get_campaign(request).await.context("read a campaign")?;
        Ok(answer.into_inner().campaign.context("the answer has no campaign")?.issued)
    }
}
