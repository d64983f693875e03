//! How far a campaign is while others give load to it.

use coupon_proto::v1::GetCampaignRequest;
use coupon_proto::v1::campaign_service_client::CampaignServiceClient;

use crate::support::cluster::Cluster;
use crate::support::wait::until;

/// Waits until so many coupons of a campaign are issued. Returns how many there are.
pub(crate) async fn until_issued(cluster: &Cluster, campaign_id: &str, goal: u64) -> u64 {
    let client = CampaignServiceClient::new(cluster.connect());
    let request = GetCampaignRequest { campaign_id: campaign_id.to_owned() };
    until("coupons to be issued", async || {
        // It is created by somebody else, and a leader may be missing.
        let answer = client.clone().get_campaign(request.clone()).await.ok()?.into_inner();
        let issued = answer.campaign.expect("an answer has a campaign").issued.unsigned_abs();
        (issued >= goal).then_some(issued)
    })
    .await
}
