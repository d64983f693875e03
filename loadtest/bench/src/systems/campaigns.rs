//! Campaigns, each made for one measurement.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use coupon_client::{Channels, Client, RetryPolicy, new_request_id, v1};
use prost::Message as _;
use tonic::transport::Channel;
use uuid::Uuid;

use crate::load::requests::Requests;

/// A quota that no measurement uses up.
const QUOTA_LARGE: i64 = 1_000_000_000;

/// How calls about campaigns are repeated while the cluster is busy, for instance with an election.
const RETRY_POLICY: RetryPolicy = RetryPolicy {
    attempt_timeout: Duration::from_secs(10),
    give_up_after: Duration::from_secs(30),
    backoff_min: Duration::from_millis(100),
    backoff_max: Duration::from_secs(1),
};

/// Time until the start of a campaign that does not start during a run.
const LATER: Duration = Duration::from_secs(24 * 3_600);

/// The id of a new campaign.
pub(crate) fn new_id() -> String {
    let (id, _) = Uuid::new_v4().as_u64_pair();
    format!("bench-00-{id:016x}")
}

/// Creates and reads campaigns.
#[derive(Clone, Debug)]
pub(crate) struct Campaigns {
    client: Client,
}

impl Campaigns {
    /// Those behind a router.
    pub(crate) fn new(router: Channel) -> Self {
        Self { client: Client::from_channels(Channels::new(vec![router]), RETRY_POLICY) }
    }

    /// Creates a campaign that has started and is never sold out. Returns its id.
    pub(crate) async fn create_large(&self) -> anyhow::Result<String> {
        self.create(QUOTA_LARGE, None).await
    }

    /// Creates a campaign that does not start during the run. Returns its id.
    pub(crate) async fn create_for_later(&self) -> anyhow::Result<String> {
        self.create(QUOTA_LARGE, Some(SystemTime::now() + LATER)).await
    }

    /// Creates a campaign of one coupon, and issues that. Returns the campaign's id, and the size of the
    /// answer that had the coupon.
    pub(crate) async fn create_sold_out(&self) -> anyhow::Result<(String, usize)> {
        let campaign_id = self.create(1, None).await?;
        let request = Requests::new(&campaign_id).next();
        let answer = self.client.issue_coupon(request).await.context("issue the only coupon")?;
        Ok((campaign_id, answer.encoded_len()))
    }

    async fn create(&self, quota: i64, start_time: Option<SystemTime>) -> anyhow::Result<String> {
        let campaign_id = new_id();
        self.create_with_id(&campaign_id, quota, start_time).await?;
        Ok(campaign_id)
    }

    /// Creates a campaign with an id of [`new_id`] that has started and is never sold out.
    pub(crate) async fn create_large_with_id(&self, campaign_id: &str) -> anyhow::Result<()> {
        self.create_with_id(campaign_id, QUOTA_LARGE, None).await
    }

    async fn create_with_id(
        &self,
        campaign_id: &str,
        quota: i64,
        start_time: Option<SystemTime>,
    ) -> anyhow::Result<()> {
        let request = v1::CreateCampaignRequest {
            campaign_id: campaign_id.to_owned(),
            quota,
            start_time: start_time.map(Into::into),
            per_recipient_limit: 1,
            request_id: new_request_id(),
            ..v1::CreateCampaignRequest::default()
        };
        self.client.create_campaign(request).await.context("create a campaign")?;
        Ok(())
    }

    /// The number of coupons that a campaign has issued.
    pub(crate) async fn issued(&self, campaign_id: &str) -> anyhow::Result<i64> {
        let request = v1::GetCampaignRequest { campaign_id: campaign_id.to_owned() };
        let answer = self.client.get_campaign(request).await.context("read a campaign")?;
        Ok(answer.campaign.context("the answer has no campaign")?.issued)
    }
}
