//! Lists over several shards: whole, in order, and named where shards cannot be reached.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use coupon_proto::v1::{Coupon, ListCampaignsRequest, ListCouponsRequest, ListCouponsResponse};
use support::fake_cluster::FakeCluster;
use support::{Fixture, config, issue, reason};
use tonic::{Code, Request};

const SHARDS: [u32; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

/// Shards without a leader.
const LOST: [u32; 3] = [2, 5, 8];

const CAMPAIGNS: usize = 40;

/// How long callers wait. A list must not take as long.
const TIMEOUT: Duration = Duration::from_secs(8);

/// A router in front of campaigns on all shards, of each of which alice holds two coupons.
async fn fixture() -> Fixture {
    let cluster = FakeCluster::start(3, &SHARDS).await;
    let config = config(&cluster);
    let mut t = Fixture::with(cluster, config).await;
    for number in 0..CAMPAIGNS {
        let campaign = format!("campaign-{number}");
        t.create(&campaign, 10).await;
        for recipient in ["alice", "bob", "alice"] {
            t.coupons.issue_coupon(issue(&campaign, recipient)).await.expect("it is issued");
        }
    }
    t
}

async fn page(t: &mut Fixture, request: &ListCouponsRequest) -> ListCouponsResponse {
    let mut request = Request::new(request.clone());
    request.set_timeout(TIMEOUT);
    t.coupons.list_coupons(request).await.expect("it is listed").into_inner()
}

/// All pages of what alice holds: the coupons, and the shards that could not be reached.
async fn held(t: &mut Fixture, page_size: i32) -> (Vec<Coupon>, Vec<String>) {
    let mut request = ListCouponsRequest {
        recipient: "alice".to_owned(),
        page_size,
        ..ListCouponsRequest::default()
    };
    let (mut coupons, mut unreachable) = (Vec::new(), Vec::new());
    loop {
        let page = page(t, &request).await;
        assert!(i32::try_from(page.coupons.len()).is_ok_and(|found| found <= page_size));
        coupons.extend(page.coupons);
        unreachable.extend(page.unreachable);
        if page.next_page_token.is_empty() {
            return (coupons, unreachable);
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test]
async fn what_a_recipient_holds_is_listed_once_and_in_the_same_order_in_pages_of_any_size() {
    let mut t = fixture().await;
    let (all, unreachable) = held(&mut t, 1_000).await;
    assert_eq!(unreachable, Vec::<String>::new());
    let codes: BTreeSet<_> = all.iter().map(|coupon| &coupon.code).collect();
    assert_eq!((all.len(), codes.len()), (2 * CAMPAIGNS, 2 * CAMPAIGNS));
    let mut of_campaigns = BTreeMap::<_, Vec<_>>::new();
    for coupon in &all {
        assert_eq!(coupon.recipient, "alice");
        of_campaigns.entry(&coupon.campaign_id).or_default().push(coupon.sequence);
    }
    assert!(of_campaigns.values().all(|sequences| *sequences == [1, 3]));
    for page_size in [1, 2, 3, 7, 50] {
        assert_eq!(held(&mut t, page_size).await.0, all, "in pages of {page_size}");
    }
}

#[tokio::test]
async fn shards_that_cannot_be_reached_are_named_long_before_the_deadline() {
    let mut t = fixture().await;
    let (all, _) = held(&mut t, 1_000).await;
    t.cluster.lose(LOST);
    let names: Vec<_> = LOST.iter().map(|shard| format!("shards/{shard}")).collect();
    let began = Instant::now();
    let (found, unreachable) = held(&mut t, 1_000).await;
    assert!(began.elapsed() < TIMEOUT / 2, "it took {:?}", began.elapsed());
    assert_eq!(unreachable, names);
    assert!(!found.is_empty() && found.len() < all.len(), "{}", found.len());
    let rest: Vec<_> = all.iter().filter(|coupon| found.contains(coupon)).cloned().collect();
    assert_eq!(found, rest);

    let mut request = Request::new(ListCampaignsRequest { page_size: 1_000, ..Default::default() });
    request.set_timeout(TIMEOUT);
    let began = Instant::now();
    let page = t.campaigns.list_campaigns(request).await.unwrap().into_inner();
    assert!(began.elapsed() < TIMEOUT / 2, "it took {:?}", began.elapsed());
    assert_eq!(page.unreachable, names);
    assert_eq!(page.campaigns.len(), found.len() / 2);

    // One campaign is on one shard, and without that there is no answer.
    let missing = all.iter().find(|coupon| !found.contains(coupon)).unwrap();
    let mut request = Request::new(ListCouponsRequest {
        campaign_id: missing.campaign_id.clone(),
        recipient: "alice".to_owned(),
        ..ListCouponsRequest::default()
    });
    request.set_timeout(Duration::from_millis(400));
    let refused = t.coupons.list_coupons(request).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, "NO_LEADER"));

    t.cluster.lose([]);
    assert_eq!(held(&mut t, 1_000).await, (all, Vec::new()));
}
