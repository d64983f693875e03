//! `GetCampaign` of the older API: the only method whose answer grows with what a campaign has issued.

use std::sync::Arc;

use coupon_cluster::CampaignName;
use coupon_proto::couponpb::{Campaign, GetCampaignRequest, GetCampaignResponse};
use coupon_proto::internal::{CouponPlace, ListCouponsQuery, read_request};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::names::{name_in, read};
use crate::answer::convert;
use crate::answer::error::Fault;
use crate::op::check;
use crate::route::retry::Unanswered;
use crate::shards::shard_client::ShardClient;

/// How many codes an answer lists at most: as many as fit into the 4 MiB that gRPC clients take unless told otherwise,
/// at 32 bytes each. Codes with a prefix may be longer; campaigns that are created through this API have none.
const CODES_MAX: u32 = 130_000;

/// How many codes all answers on their way list at most, at about 60 bytes each.
pub(super) const LISTED_MAX: usize = 8 * CODES_MAX as usize;

/// How many coupons are read at a time.
const PAGE: u32 = 1_000;

/// Shows a campaign with all its codes, while `listed` has a permit for each of them.
///
/// # Errors
/// [`Fault`].
pub(super) async fn get_campaign(
    shards: &ShardClient,
    listed: &Semaphore,
    request: &GetCampaignRequest,
    deadline: Instant,
) -> Result<GetCampaignResponse, Fault> {
    let (_, record, log_time_micros) = read(shards, request.campaign_id, deadline).await?;
    let name = name_in(&record)?;
    let issued = record.counters.as_ref().map_or(0, |counters| counters.issued);
    let count = u32::try_from(issued).ok().filter(|count| *count <= CODES_MAX);
    let count = count.ok_or(Fault::TooManyCoupons { issued, listed_max: CODES_MAX })?;
    let _listed = listed.try_acquire_many(count).map_err(|_| Fault::Overloaded)?;
    let coupon_codes = codes(shards, &name, count, deadline).await?;

    let shown = convert::campaign(record, log_time_micros);
    let named = Some(shown.display_name).filter(|name| !name.is_empty());
    let campaign = Campaign {
        id: request.campaign_id,
        name: named.unwrap_or(shown.campaign_id),
        start_time: shown.start_time,
        total_coupons: shown.quota,
    };
    Ok(GetCampaignResponse { campaign: Some(campaign), coupon_codes })
}

/// The codes of the first `count` coupons of a campaign that has issued as many. Sequence numbers have no gaps and
/// coupons never change their codes, so the pages are those of one moment.
async fn codes(
    shards: &ShardClient,
    campaign: &CampaignName,
    count: u32,
    deadline: Instant,
) -> Result<Vec<String>, Fault> {
    let mut codes = Vec::new();
    let mut missing = count;
    while missing > 0 {
        let topology = shards.topology(deadline).await?;
        let query = read_request::Query::ListCoupons(ListCouponsQuery {
            tenant: check::tenant().to_string(),
            campaign_id: campaign.id().to_owned(),
            after: Some(CouponPlace {
                sequence: u64::from(count - missing),
                ..CouponPlace::default()
            }),
            limit: missing.min(PAGE),
            ..Default::default()
        });
        let owner = topology.owner(campaign);
        let Some(page) = shards.read(owner, &topology, query, deadline).await? else { continue };
        let coupons = page.coupons.iter().filter_map(|found| found.coupon.as_ref());
        let keyed = shards.with_keys(Arc::clone(&topology), coupons.clone(), deadline).await;
        let keyed = keyed.ok_or(Fault::Unanswered(Unanswered::NoLeader))?;
        let before = codes.len();
        for coupon in coupons {
            codes.push(convert::code(coupon, &keyed)?);
        }
        let found = u32::try_from(codes.len() - before).unwrap_or(u32::MAX);
        if found == 0 || found > missing {
            return Err(Fault::Internal("a shard listed another number of coupons than it issued"));
        }
        missing -= found;
    }
    Ok(codes)
}
