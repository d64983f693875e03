//! `ListCampaigns`.

use std::collections::BTreeSet;

use coupon_cluster::ShardId;
use coupon_proto::internal::{ListCampaignsQuery, ReadResponse, read_request};
use coupon_proto::v1::{Campaign, ListCampaignsRequest, ListCampaignsResponse};
use tokio::time::Instant;

use super::check;
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
    let limit = check::page_size(request.page_size, PAGE_DEFAULT)?;
    let token = &request.page_token;
    let (campaigns, next_page_token) =
        listing::page(&AllCampaigns, shards, token, limit, deadline).await?;
    Ok(ListCampaignsResponse { campaigns, next_page_token })
}

/// All campaigns, by shard and id.
struct AllCampaigns;

impl Listing for AllCampaigns {
    type Item = Campaign;

    fn question(&self) -> Vec<&str> {
        vec!["campaigns", check::tenant().as_str()]
    }

    fn shards(&self, topology: &Topology) -> BTreeSet<ShardId> {
        topology.ring_shards().clone()
    }

    fn query(&self, cursor: &Cursor, limit: u32) -> read_request::Query {
        let (tenant, after) = (check::tenant().to_string(), cursor.after_campaign_id.clone());
        read_request::Query::ListCampaigns(ListCampaignsQuery { tenant, after, limit })
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
        if let Some(last) = campaigns.last() {
            cursor.after_campaign_id.clone_from(&last.campaign_id);
        }
        Ok(campaigns)
    }
}
