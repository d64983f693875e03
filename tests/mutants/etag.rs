//! Two administrators read a campaign and change it. The second one must learn of the first.

use coupon_proto::v1;
use coupon_proto::v1::campaign_service_client::CampaignServiceClient;
use tonic::Code;

use crate::support::campaign::{create, reason};
use crate::support::cluster::Cluster;

const CAMPAIGN: &str = "shared";

/// The answer to the second of two updates that name the same etag: the quota, or why there is none.
async fn update_twice(mutant: Option<&str>) -> Result<i64, (Code, String)> {
    let cluster = Cluster::start_with(mutant, &[]).await;
    create(&cluster, CAMPAIGN, 10).await;
    let mut client = CampaignServiceClient::new(cluster.connect());
    let request = v1::GetCampaignRequest { campaign_id: CAMPAIGN.to_owned() };
    let answer = client.get_campaign(request).await.expect("read the campaign");
    let read = answer.into_inner().campaign.expect("an answer has a campaign");
    let update = |quota| v1::UpdateCampaignRequest {
        campaign: Some(v1::Campaign {
            campaign_id: CAMPAIGN.to_owned(),
            etag: read.etag.clone(),
            quota,
            ..Default::default()
        }),
        ..Default::default()
    };
    client.update_campaign(update(11)).await.expect("the first one finds what it has read");
    let second = client.update_campaign(update(12)).await;
    second
        .map(|answer| answer.into_inner().campaign.expect("an answer has a campaign").quota)
        .map_err(|status| (status.code(), reason(&status)))
}

#[tokio::test]
async fn an_update_that_ignores_the_etag_undoes_another_one() {
    assert_eq!(update_twice(Some("etag-ignored")).await, Ok(12));
}

#[tokio::test]
async fn an_update_of_what_was_changed_is_refused() {
    let refused = Err((Code::Aborted, "ETAG_MISMATCH".to_owned()));
    assert_eq!(update_twice(None).await, refused);
}
