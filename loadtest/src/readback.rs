//! What is there when all is over: every campaign is read back through a router.

use std::time::{Duration, Instant, SystemTime};

use coupon_checker::{Coupon, CouponState};
use coupon_client::{Channels, Client, RetryPolicy, v1};
use uuid::Uuid;

use crate::error::LoadError;

/// Number of campaigns in a page of the list.
const PAGE: i32 = 1_000;

/// Timeout of an attempt to read something small, so that a silent router does not take all the time.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum time until a cluster can be read that was just hurt.
const PATIENCE: Duration = Duration::from_secs(60);

/// The client that reads everything back.
pub(crate) fn client(channels: Channels) -> Client {
    let policy = RetryPolicy {
        attempt_timeout: ATTEMPT_TIMEOUT,
        give_up_after: PATIENCE,
        ..RetryPolicy::default()
    };
    Client::from_channels(channels, policy)
}

/// The coupons of a campaign.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// In the order of issuance.
    pub(crate) coupons: Vec<Coupon>,
    /// How many of them were issued before the start, by log time.
    pub(crate) before_start: u64,
    /// When the last one was issued, by log time.
    pub(crate) last_issued: Option<SystemTime>,
}

/// All campaigns of the cluster. While shards cannot be reached, the list is begun again.
pub(crate) async fn list(client: &Client) -> Result<Vec<v1::Campaign>, LoadError> {
    let patience_end = Instant::now() + PATIENCE;
    loop {
        let (campaigns, unreachable) = list_once(client).await?;
        if unreachable.is_empty() {
            return Ok(campaigns);
        }
        if Instant::now() > patience_end {
            return Err(LoadError::Unreachable(unreachable.join(", ")));
        }
    }
}

/// The campaigns, and the shards that could not be reached.
async fn list_once(client: &Client) -> Result<(Vec<v1::Campaign>, Vec<String>), LoadError> {
    let (mut campaigns, mut unreachable) = (Vec::new(), Vec::new());
    let mut page_token = String::new();
    loop {
        let request =
            v1::ListCampaignsRequest { page_size: PAGE, page_token, ..Default::default() };
        let page = client.list_campaigns(request).await;
        let page = page.map_err(LoadError::call("list the campaigns"))?;
        campaigns.extend(page.campaigns);
        unreachable.extend(page.unreachable);
        if page.next_page_token.is_empty() {
            return Ok((campaigns, unreachable));
        }
        page_token = page.next_page_token;
    }
}

/// Reads all coupons of a campaign.
pub(crate) async fn rows(
    client: &Client,
    campaign_id: &str,
    start: Option<SystemTime>,
) -> Result<Rows, LoadError> {
    let campaign_id = campaign_id.to_owned();
    let request = v1::StreamCouponsRequest { campaign_id, ..v1::StreamCouponsRequest::default() };
    let mut parts = client.stream_coupons(request);
    let mut rows = Rows::default();
    while let Some(part) = parts.next().await.map_err(LoadError::call("read a campaign back"))? {
        rows.coupons.reserve(part.coupons.len());
        for coupon in part.coupons {
            let issued = coupon.issue_time.and_then(|time| SystemTime::try_from(time).ok());
            let is_early = issued.zip(start).is_some_and(|(issued, start)| issued < start);
            rows.before_start += u64::from(is_early);
            rows.last_issued = rows.last_issued.max(issued);
            rows.coupons.push(row(coupon)?);
        }
    }
    Ok(rows)
}

/// A coupon as the checker knows it.
fn row(coupon: v1::Coupon) -> Result<Coupon, LoadError> {
    let state = match coupon.state() {
        v1::CouponState::Redeemed => CouponState::Redeemed,
        v1::CouponState::Voided if coupon.quota_returned => CouponState::Returned,
        v1::CouponState::Voided => CouponState::Voided,
        v1::CouponState::Unspecified | v1::CouponState::Issued | v1::CouponState::Expired => {
            CouponState::Issued
        }
    };
    let request_id = coupon.request_id.parse::<Uuid>();
    let sequence = u64::try_from(coupon.sequence);
    let (Ok(request_id), Ok(sequence)) = (request_id, sequence) else {
        return Err(LoadError::BrokenAnswer("a coupon without a request id or a sequence number"));
    };
    Ok(Coupon {
        sequence,
        code: coupon.code.into(),
        recipient: coupon.recipient.into(),
        request_id: request_id.as_u128(),
        state,
    })
}
