//! A file of codes that has one twice.

use coupon_client::{Client, RetryPolicy, new_request_id, v1};

use crate::support::cluster::Cluster;

const CAMPAIGN: &str = "gifts";

/// The codes of all coupons that can be issued after an import.
async fn codes(mutant: Option<&str>) -> Vec<String> {
    let cluster = Cluster::start_with(mutant, &[]).await;
    let client = Client::connect([&cluster.router], RetryPolicy::default());
    let client = client.await.expect("the router listens");
    let request = v1::CreateCampaignRequest {
        campaign_id: CAMPAIGN.to_owned(),
        quota: 10,
        code_source: v1::CodeSource::Imported.into(),
        ..Default::default()
    };
    client.create_campaign(request).await.expect("create a campaign");
    let import = client.import_codes(CAMPAIGN.to_owned(), new_request_id());
    let lines = ["GIFT-1", "GIFT-2", "GIFT-1"].map(str::to_owned);
    import.send(1, lines.into()).await.expect("it takes codes");
    let mut codes = Vec::new();
    let request =
        || v1::IssueCouponRequest { campaign_id: CAMPAIGN.to_owned(), ..Default::default() };
    while let Ok(issued) = client.issue_coupon(request()).await {
        codes.push(issued.coupon.expect("an answer has a coupon").code);
    }
    codes
}

#[tokio::test]
async fn a_code_that_is_imported_twice_is_given_twice() {
    assert_eq!(codes(Some("import-duplicates")).await, ["GIFT-1", "GIFT-2", "GIFT-1"]);
}

#[tokio::test]
async fn a_code_is_imported_once() {
    assert_eq!(codes(None).await, ["GIFT-1", "GIFT-2"]);
}
