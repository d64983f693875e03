//! A whole campaign is read while its shard loses its leader, and its coupons change.

use coupon_client::{Client, RetryPolicy, v1};
use coupon_proto::v1::campaign_service_client::CampaignServiceClient;
use futures::StreamExt as _;
use futures::stream;

use crate::support::campaign::create;
use crate::support::cluster::Cluster;
use crate::support::process::run;

/// How many coupons the campaign has: many parts of a stream.
const COUPONS: usize = 20_000;

/// How many coupons are issued before one is answered.
const IN_FLIGHT: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_shows_one_revision_although_its_leader_dies_and_coupons_change() {
    let mut cluster = Cluster::start(&[]).await;
    create(&cluster, "export", 2 * COUPONS as i64).await;
    let client = Client::connect([&cluster.router], RetryPolicy::default()).await.unwrap();
    let requests = (0..COUPONS).map(|number| v1::IssueCouponRequest {
        campaign_id: "export".to_owned(),
        recipient: format!("recipient-{number}"),
        ..v1::IssueCouponRequest::default()
    });
    let mut issued = client.issue_stream(stream::iter(requests), IN_FLIGHT);
    let mut codes = Vec::new();
    while let Some(issued) = issued.next().await {
        codes.push(issued.answer.unwrap().coupon.unwrap().code);
    }
    drop(issued);
    assert_eq!(codes.len(), COUPONS);

    let request = v1::StreamCouponsRequest {
        campaign_id: "export".to_owned(),
        ..v1::StreamCouponsRequest::default()
    };
    let mut parts = client.stream_coupons(request);
    let first = parts.next().await.unwrap().unwrap();
    let mut coupons = first.coupons;
    assert!(coupons.len() < COUPONS / 10);

    // The last coupons are redeemed before they are read, and others are issued.
    for code in codes.iter().rev().take(20) {
        let request = v1::RedeemCouponRequest { code: code.clone(), ..Default::default() };
        client.redeem_coupon(request).await.unwrap();
    }
    let late = v1::IssueCouponRequest {
        campaign_id: "export".to_owned(),
        recipient: "late".to_owned(),
        ..v1::IssueCouponRequest::default()
    };
    client.issue_coupon(late).await.unwrap();
    let leader = cluster.leader_of(Cluster::shard_of("export")).await;
    cluster.kill(leader);
    while let Some(part) = parts.next().await.unwrap() {
        assert_eq!(part.revision, first.revision);
        coupons.extend(part.coupons);
    }
    let sequences: Vec<_> = coupons.iter().map(|coupon| coupon.sequence).collect();
    assert_eq!(sequences, (1..=COUPONS as i64).collect::<Vec<_>>());
    let is_issued = |coupon: &v1::Coupon| coupon.state() == v1::CouponState::Issued;
    assert!(coupons.iter().all(is_issued), "none was redeemed at that revision");

    // The command writes what there is now.
    let path = cluster.dir().join("export.csv");
    let file = path.to_string_lossy();
    let output = run(&["export", "export", "--file", &file, "--router", &cluster.router]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), COUPONS + 2, "a header, and the late one");
    assert_eq!(text.lines().filter(|line| line.contains(",REDEEMED,")).count(), 20);
    let mut campaigns = CampaignServiceClient::new(cluster.connect());
    let request = v1::GetCampaignRequest { campaign_id: "export".to_owned() };
    let campaign = campaigns.get_campaign(request).await.unwrap().into_inner().campaign.unwrap();
    assert_eq!((campaign.issued, campaign.redeemed), (COUPONS as i64 + 1, 20));
}
