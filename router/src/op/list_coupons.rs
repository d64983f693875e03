//! `ListCoupons`.

use std::collections::BTreeSet;

use coupon_cluster::{CampaignName, ShardId};
use coupon_proto::internal::{ListCouponsQuery, ReadResponse, read_request};
use coupon_proto::v1::{Coupon, ListCouponsRequest, ListCouponsResponse};
use tokio::time::Instant;

use super::check::{self, Check};
use super::listing::{self, Listing};
use super::page::Cursor;
use crate::answer::convert;
use crate::answer::error::Fault;
use crate::route::topology::Topology;
use crate::shards::shard_client::ShardClient;

const PAGE_DEFAULT: u32 = 100;

/// Lists coupons.
///
/// # Errors
/// [`Fault`].
pub(super) async fn list_coupons(
    shards: &ShardClient,
    request: ListCouponsRequest,
    deadline: Instant,
) -> Result<ListCouponsResponse, Fault> {
    let token = request.page_token.clone();
    let (found, limit) = question(request)?;
    let page = listing::page(&found, shards, &token, limit, deadline).await?;
    let (coupons, next_page_token, unreachable) = page.into_parts();
    Ok(ListCouponsResponse { coupons, next_page_token, unreachable })
}

/// Checks `ListCoupons` but for its page token. Returns what is asked for, and how many at a time.
///
/// # Errors
/// [`Fault::Invalid`] with all violations.
fn question(request: ListCouponsRequest) -> Result<(Found, u32), Fault> {
    let mut check = Check::default();
    let limit = check.page_size(request.page_size, PAGE_DEFAULT);
    let campaign = if request.campaign_id.is_empty() {
        if request.recipient.is_empty() {
            check.fail("campaign_id", "must be set where recipient is not");
        }
        None
    } else {
        check.campaign_id(&request.campaign_id)
    };
    check.recipient(&request.recipient);
    check.result()?;
    let found = Found { campaign, recipient: request.recipient };
    Ok((found, limit.unwrap_or(PAGE_DEFAULT)))
}

/// The coupons of a campaign, of a recipient, or both.
struct Found {
    campaign: Option<CampaignName>,
    recipient: String,
}

impl Listing for Found {
    type Item = Coupon;

    fn question(&self) -> Vec<&str> {
        let campaign = self.campaign.as_ref().map_or("", CampaignName::as_str);
        vec!["coupons", check::tenant().as_str(), campaign, &self.recipient]
    }

    fn shards(&self, topology: &Topology) -> BTreeSet<ShardId> {
        match &self.campaign {
            Some(campaign) => BTreeSet::from([topology.owner(campaign)]),
            None => topology.ring_shards().clone(),
        }
    }

    fn asked_at_once(&self) -> usize {
        // A recipient holds little, and it may be anywhere. At most 8 MiB of answers wait.
        8
    }

    fn query(&self, cursor: &Cursor, limit: u32) -> read_request::Query {
        read_request::Query::ListCoupons(ListCouponsQuery {
            tenant: check::tenant().to_string(),
            campaign_id: self.campaign.as_ref().map_or("", CampaignName::id).to_owned(),
            recipient: self.recipient.clone(),
            after: cursor.after_place,
            as_of: None,
            limit,
        })
    }

    fn take(
        &self,
        response: ReadResponse,
        cursor: &mut Cursor,
        topology: &Topology,
    ) -> Result<Vec<Coupon>, Fault> {
        cursor.after_place = response.last_place.or(cursor.after_place);
        let now = response.log_time_micros;
        let coupons = response.coupons.into_iter();
        let shown = coupons.map(|found| {
            convert::coupon(found.campaign_id, found.coupon.unwrap_or_default(), topology, now)
        });
        shown.collect()
    }
}
