//! `ListCampaigns`.

use std::collections::BTreeSet;

use coupon_cluster::ShardId;
use coupon_proto::internal::{CampaignCondition, ListCampaignsQuery, ReadResponse, read_request};
use coupon_proto::v1::{Campaign, ListCampaignsRequest, ListCampaignsResponse};
use tokio::time::Instant;

use super::campaign_filter;
use super::check::{self, Check};
use super::listing::{self, Listing};
use super::page::Cursor;
use crate::answer::convert;
use crate::answer::error::Fault;
use crate::route::topology::Topology;
use crate::shards::shard_client::ShardClient;

const PAGE_DEFAULT: u32 = 50;

/// Lists the campaigns of all shards.
///
/// # Errors
/// [`Fault`].
pub(super) async fn list_campaigns(
    shards: &ShardClient,
    request: &ListCampaignsRequest,
    deadline: Instant,
) -> Result<ListCampaignsResponse, Fault> {
    let mut check = Check::default();
    let limit = check.page_size(request.page_size, PAGE_DEFAULT);
    let conditions = campaign_filter::conditions(&request.filter);
    let conditions = conditions.map_err(|why| check.fail("filter", why)).unwrap_or_default();
    check.result()?;
    let limit = limit.unwrap_or(PAGE_DEFAULT);
    let (listing, token) = (Filtered { filter: &request.filter, conditions }, &request.page_token);
    let page = listing::page(&listing, shards, token, limit, deadline).await?;
    let (campaigns, next_page_token, unreachable) = page.into_parts();
    Ok(ListCampaignsResponse { campaigns, next_page_token, unreachable })
}

/// The campaigns that meet all conditions, by shard and id.
struct Filtered<'a> {
    filter: &'a str,
    conditions: Vec<CampaignCondition>,
}

impl Listing for Filtered<'_> {
    type Item = Campaign;

    fn question(&self) -> Vec<&str> {
        vec!["campaigns", check::tenant().as_str(), self.filter]
    }

    fn shards(&self, topology: &Topology) -> BTreeSet<ShardId> {
        topology.ring_shards().clone()
    }

    fn asked_at_once(&self) -> usize {
        // The first shard has a whole page, mostly.
        1
    }

    fn query(&self, cursor: &Cursor, limit: u32) -> read_request::Query {
        let (tenant, after) = (check::tenant().to_string(), cursor.after_campaign_id.clone());
        let conditions = self.conditions.clone();
        read_request::Query::ListCampaigns(ListCampaignsQuery { tenant, after, limit, conditions })
    }

    fn take(
        &self,
        response: ReadResponse,
        cursor: &mut Cursor,
        _: &Topology,
    ) -> Result<Vec<Campaign>, Fault> {
        let now = response.log_time_micros;
        let campaigns = response.campaigns.into_iter();
        let campaigns: Vec<_> = campaigns.map(|record| convert::campaign(record, now)).collect();
        if !response.searched_campaign_id.is_empty() {
            cursor.after_campaign_id = response.searched_campaign_id;
        } else if let Some(last) = campaigns.last() {
            cursor.after_campaign_id.clone_from(&last.campaign_id);
        }
        Ok(campaigns)
    }
}
