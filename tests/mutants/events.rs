//! A consumer that reads all events of a campaign, page by page, misses none.

use coupon_client::{Client, RetryPolicy, new_request_id, v1};

use crate::support::campaign::{create, request};
use crate::support::cluster::Cluster;

/// The revisions that are missing among the events of a campaign that was changed between its coupons.
async fn missing(mutant: Option<&str>) -> Vec<i64> {
    let cluster = Cluster::start_with(mutant, &[]).await;
    create(&cluster, "spring", 100).await;
    let client = Client::connect([&cluster.router], RetryPolicy::default()).await.expect("connect");
    let campaign_id = || "spring".to_owned();
    for round in 0..4 {
        let issued = client.issue_coupon(request("spring", &format!("r-{round}"))).await;
        let coupon = issued.expect("coupons are left").coupon.expect("an answer has a coupon");
        let redeem = v1::RedeemCouponRequest { code: coupon.code, ..Default::default() };
        client.redeem_coupon(redeem).await.expect("it is not used");
        let (campaign_id, request_id) = (campaign_id(), new_request_id());
        let pause = v1::PauseCampaignRequest { campaign_id: campaign_id.clone(), request_id };
        client.pause_campaign(pause).await.expect("it is active");
        let resume = v1::ResumeCampaignRequest { campaign_id, request_id: new_request_id() };
        client.resume_campaign(resume).await.expect("it is paused");
    }
    let mut seen = Vec::new();
    let mut after_revision = 0;
    loop {
        let request = v1::ListEventsRequest {
            campaign_id: campaign_id(),
            after_revision,
            page_size: 2,
            ..Default::default()
        };
        // A router that is given a page with a gap refuses to show it.
        let Ok(page) = client.list_events(request).await else { break };
        let revision = page.revision;
        seen.extend(page.events.iter().map(|event| event.revision));
        after_revision = page.events.last().map_or(revision, |last| last.revision);
        if after_revision >= revision {
            break;
        }
    }
    (1..=17).filter(|revision| !seen.contains(revision)).collect()
}

#[tokio::test]
async fn a_node_that_skips_events_is_found() {
    assert!(!missing(Some("event-skipped")).await.is_empty());
}

#[tokio::test]
async fn no_event_is_missing() {
    assert_eq!(missing(None).await, [0; 0]);
}
