//! The verdict: every campaign is read back through the router and judged against what was recorded.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use coupon_checker::{Campaign, Coupon, check};
use coupon_proto::v1;
use coupon_proto::v1::campaign_service_client::CampaignServiceClient;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use tonic::transport::Channel;

use super::load::{Recorded, Traffic, record};
use super::progress::rate;
use crate::failure::CallError;
use crate::{client, output};

/// How many campaigns are asked for at a time.
const PAGE: i32 = 1_000;

/// Judges all campaigns of a cluster and prints the verdict.
///
/// # Errors
/// When a check fails, when load was given and nothing was issued, or when the campaigns cannot be
/// read.
pub(super) async fn run(router: SocketAddr, traffic: Option<Traffic>) -> anyhow::Result<()> {
    eprintln!("reading all campaigns back");
    let gave_load = traffic.is_some();
    let mut issued = 0;
    let mut recorded = BTreeMap::new();
    if let Some(traffic) = traffic {
        issued = u64::try_from(traffic.issued()).unwrap_or(u64::MAX);
        let seconds = traffic.elapsed.as_secs_f64();
        let rate = rate(issued, seconds);
        output::line(format!("\nissued {issued} coupons in {seconds:.1} s: {rate} a second"))?;
        recorded.extend(traffic.campaigns.into_iter().map(|one| (one.id.clone(), one)));
    }
    let channel = client::connect(&router.to_string()).await?;
    let verdict = check(&read(channel, recorded).await.context("read the campaigns back")?);
    output::line(format!("\n{}", verdict.to_string().trim_end()))?;
    if !verdict.is_ok() {
        bail!("the cluster broke a promise");
    }
    if gave_load && issued == 0 {
        bail!("nothing was issued");
    }
    Ok(())
}

/// Reads every campaign, and adds what was recorded.
async fn read(
    channel: Channel,
    mut recorded: BTreeMap<String, Recorded>,
) -> anyhow::Result<Vec<Campaign>> {
    let listed = list(CampaignServiceClient::new(channel.clone())).await?;
    let mut coupons = CouponServiceClient::new(channel);
    let mut campaigns = Vec::new();
    for campaign in listed {
        let rows = rows(&mut coupons, &campaign.campaign_id).await?;
        let seen = recorded.remove(&campaign.campaign_id);
        campaigns.push(judged(campaign, rows, seen));
    }
    // A campaign that is gone has lost all that was answered about it.
    campaigns.extend(recorded.into_values().map(|seen| {
        let gone = v1::Campaign { campaign_id: seen.id.clone(), ..v1::Campaign::default() };
        judged(gone, Vec::new(), Some(seen))
    }));
    Ok(campaigns)
}

fn judged(campaign: v1::Campaign, rows: Vec<Coupon>, seen: Option<Recorded>) -> Campaign {
    let unknown = Campaign {
        id: campaign.campaign_id,
        quota: campaign.quota.unsigned_abs(),
        per_recipient_limit: campaign.per_recipient_limit.unsigned_abs().into(),
        rows,
        ..Campaign::default()
    };
    let Some(Recorded { acknowledged, unanswered, sold_out, .. }) = seen else { return unknown };
    Campaign { acknowledged, unanswered: Some(unanswered), sold_out, ..unknown }
}

async fn list(mut client: CampaignServiceClient<Channel>) -> anyhow::Result<Vec<v1::Campaign>> {
    let mut campaigns = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListCampaignsRequest { page_size: PAGE, page_token };
        let page = client.list_campaigns(request).await.map_err(CallError::from)?.into_inner();
        campaigns.extend(page.campaigns);
        if page.next_page_token.is_empty() {
            return Ok(campaigns);
        }
        page_token = page.next_page_token;
    }
}

async fn rows(
    client: &mut CouponServiceClient<Channel>,
    campaign_id: &str,
) -> anyhow::Result<Vec<Coupon>> {
    let request = v1::StreamCouponsRequest { campaign_id: campaign_id.to_owned() };
    let mut stream = client.stream_coupons(request).await.map_err(CallError::from)?.into_inner();
    let mut rows = Vec::new();
    while let Some(part) = stream.message().await.map_err(CallError::from)? {
        for coupon in part.coupons {
            rows.push(record(coupon)?);
        }
    }
    Ok(rows)
}
