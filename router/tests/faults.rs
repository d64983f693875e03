//! What clients see of a router in front of nodes that fail.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use coupon_proto::internal::command::Operation;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use coupon_proto::v1::{
    BatchIssueCouponsRequest, GetCampaignRequest, IssueCouponRequest, StreamCouponsRequest,
    batch_issue_coupons_result,
};
use coupon_router::{RouterConfig, RouterError};
use support::fake_cluster::FakeCluster;
use support::state::{Seen, Trick};
use support::{Fixture, Raw, config, connect_narrow, issue, reason};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

/// The request ids of the issue commands that reached nodes.
fn request_ids(seen: &[Seen]) -> Vec<Vec<u8>> {
    let ids = seen.iter().filter_map(|seen| match seen.command.operation.as_ref()? {
        Operation::Issue(issue) => Some(issue.request_id.clone()),
        Operation::CreateCampaign(_)
        | Operation::PauseCampaign(_)
        | Operation::ResumeCampaign(_)
        | Operation::UpdateCampaign(_)
        | Operation::EndCampaign(_)
        | Operation::ArchiveCampaign(_)
        | Operation::DeleteCampaign(_)
        | Operation::HoldCoupon(_)
        | Operation::ConfirmHold(_)
        | Operation::ReleaseHold(_)
        | Operation::ImportCodes(_) => None,
        Operation::RedeemCoupon(_) | Operation::ReverseRedemption(_) | Operation::VoidCoupon(_) => {
            None
        }
    });
    ids.collect()
}

fn export(campaign_id: &str) -> StreamCouponsRequest {
    StreamCouponsRequest { campaign_id: campaign_id.to_owned(), ..Default::default() }
}

fn within(millis: u64, request: IssueCouponRequest) -> Request<IssueCouponRequest> {
    let mut request = Request::new(request);
    request.set_timeout(Duration::from_millis(millis));
    request
}

fn assert_unavailable(status: &Status, expected: &str) {
    assert_eq!((status.code(), reason(status).as_str()), (Code::Unavailable, expected));
    assert!(status.get_details_retry_info().is_some(), "it says when to come back");
}

#[tokio::test]
async fn a_lost_reply_is_asked_for_again_with_the_same_request_id() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    t.cluster.play([Trick::ApplyAndBreak]);
    let answer = t.coupons.issue_coupon(issue("spring", "a")).await.unwrap().into_inner();
    assert!(!answer.replayed, "the id was the router's own");
    let ids = request_ids(&t.cluster.seen());
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
    assert_eq!(t.cluster.issued("spring"), 1);
}

#[tokio::test]
async fn every_stream_has_a_greater_number() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    t.cluster.play([Trick::ApplyAndBreak, Trick::TooManyReplies, Trick::Unknown]);
    t.coupons.issue_coupon(issue("spring", "a")).await.unwrap();
    let seen = t.cluster.seen();
    let numbers: BTreeSet<_> = seen.iter().map(|seen| seen.hello.stream_number).collect();
    assert_eq!(numbers, BTreeSet::from([1, 3, 5]), "2 and 4 asked who leads");
    let routers: BTreeSet<_> = seen.iter().map(|seen| seen.hello.router_id).collect();
    assert_eq!(routers.len(), 1);
    assert_eq!(t.cluster.issued("spring"), 1);
}

#[tokio::test]
async fn a_new_leader_is_found_by_its_name() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    for leader in [3, 2, 1, 3] {
        t.cluster.lead(leader);
        t.coupons.issue_coupon(issue("spring", "a")).await.unwrap();
        let last = t.cluster.seen().pop().unwrap();
        assert_eq!(last.node_id, leader);
        let request = GetCampaignRequest { campaign_id: "spring".to_owned() };
        t.campaigns.get_campaign(request).await.unwrap();
    }
    assert_eq!(t.cluster.issued("spring"), 4);
}

#[tokio::test]
async fn a_paused_leader_is_left_although_its_connection_lives() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    t.cluster.pause(1);
    t.cluster.lead(2);
    t.coupons.issue_coupon(issue("spring", "a")).await.unwrap();
    let request = GetCampaignRequest { campaign_id: "spring".to_owned() };
    t.campaigns.get_campaign(request).await.unwrap();
    let request = export("spring");
    t.coupons.stream_coupons(request).await.unwrap();
    assert_eq!(t.cluster.issued("spring"), 1);
}

#[tokio::test]
async fn a_slow_leader_keeps_its_stream() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    // Much longer than the router waits for a silent one.
    t.cluster.slow_down(4 * config(&t.cluster).timing.reply);
    for recipient in ["a", "b"] {
        t.coupons.issue_coupon(issue("spring", recipient)).await.unwrap();
    }
    let numbers: BTreeSet<_> =
        t.cluster.seen().iter().map(|seen| seen.hello.stream_number).collect();
    assert_eq!(numbers.len(), 1, "one stream carried everything, once: {numbers:?}");
    assert_eq!(request_ids(&t.cluster.seen()).len(), 2, "nothing was sent twice");
}

#[tokio::test]
async fn a_leader_out_of_reach_is_reached_through_another_node() {
    let mut t = Fixture::start().await;
    t.create("spring", 1_000_000).await;
    // It leads, as all others say, and does not answer this router.
    t.cluster.pause(1);
    t.coupons.issue_coupon(issue("spring", "a")).await.unwrap();
    let last = t.cluster.seen().pop().unwrap();
    assert!(last.node_id != 1 && last.hello.forward, "{last:?}");
    let request = GetCampaignRequest { campaign_id: "spring".to_owned() };
    t.campaigns.get_campaign(request).await.unwrap();
    let request = export("spring");
    t.coupons.stream_coupons(request).await.unwrap();
    assert_eq!(t.cluster.issued("spring"), 1);

    // Once it can be reached again, nobody else is troubled any more.
    t.cluster.resume(1);
    loop {
        t.coupons.issue_coupon(issue("spring", "b")).await.unwrap();
        let last = t.cluster.seen().pop().unwrap();
        if last.node_id == 1 {
            assert!(!last.hello.forward);
            break;
        }
        tokio::task::yield_now().await;
    }
    t.campaigns
        .get_campaign(GetCampaignRequest { campaign_id: "spring".to_owned() })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_detour_is_left_although_the_leader_that_it_led_to_is_gone() {
    let mut t = Fixture::start().await;
    t.create("spring", 1_000_000).await;
    t.cluster.pause(1);
    t.coupons.issue_coupon(issue("spring", "a")).await.unwrap();
    assert!(t.cluster.last_seen().hello.forward);
    t.cluster.lead(3);
    while t.cluster.last_seen().hello.forward {
        t.coupons.issue_coupon(issue("spring", "a")).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(t.cluster.last_seen().node_id, 3);
}

#[tokio::test]
async fn reads_alone_go_back_to_a_leader_that_can_be_reached_again() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    t.cluster.pause(1);
    let request = GetCampaignRequest { campaign_id: "spring".to_owned() };
    while t.cluster.passed_on() == 0 {
        t.campaigns.get_campaign(request.clone()).await.unwrap();
    }
    t.cluster.resume(1);
    loop {
        let before = t.cluster.passed_on();
        t.campaigns.get_campaign(request.clone()).await.unwrap();
        if t.cluster.passed_on() == before {
            break;
        }
    }
}

#[tokio::test]
async fn an_election_is_waited_out() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    t.cluster.lead(0);
    let (mut coupons, mut campaigns) = (t.coupons.clone(), t.campaigns.clone());
    let request = GetCampaignRequest { campaign_id: "spring".to_owned() };
    let (issued, read, ()) = tokio::join!(
        coupons.issue_coupon(issue("spring", "a")),
        campaigns.get_campaign(request),
        async {
            t.cluster.until_refused(5).await;
            t.cluster.lead(2);
        }
    );
    issued.unwrap();
    read.unwrap();
}

#[tokio::test]
async fn silence_until_the_deadline_is_an_unknown_outcome() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    t.cluster.play([Trick::ApplySilently; 100]);
    let request_id = support::REQUEST_ID.to_owned();
    let request = IssueCouponRequest { request_id, ..issue("spring", "a") };
    let answer = t.coupons.issue_coupon(within(700, request)).await;
    assert_unavailable(&answer.unwrap_err(), "OUTCOME_UNKNOWN");
    let ids: BTreeSet<_> = request_ids(&t.cluster.seen()).into_iter().collect();
    assert_eq!(ids.len(), 1, "all attempts are one request");
}

/// Libraries repeat UNAVAILABLE by themselves, and would issue a second coupon.
#[tokio::test]
async fn an_unknown_outcome_without_a_request_id_is_not_to_be_repeated() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    t.cluster.play([Trick::ApplySilently; 100]);
    let request = IssueCouponRequest { request_id: String::new(), ..issue("spring", "a") };
    let error = t.coupons.issue_coupon(within(700, request)).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unknown);
    assert_eq!(error.get_details_error_info().unwrap().reason, "OUTCOME_UNKNOWN");
    assert!(error.get_details_retry_info().is_none());
}

#[tokio::test]
async fn no_leader_until_the_deadline_is_no_outcome() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    t.cluster.lead(0);
    let answer = t.coupons.issue_coupon(within(400, issue("spring", "a"))).await;
    assert_unavailable(&answer.unwrap_err(), "NO_LEADER");
    assert_eq!(t.cluster.issued("spring"), 0);
    let mut request = Request::new(GetCampaignRequest { campaign_id: "spring".to_owned() });
    request.set_timeout(Duration::from_millis(400));
    assert_unavailable(&t.campaigns.get_campaign(request).await.unwrap_err(), "NO_LEADER");
}

#[tokio::test]
async fn an_overloaded_shard_is_asked_three_times() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    t.cluster.play([Trick::Overloaded; 2]);
    t.coupons.issue_coupon(issue("spring", "a")).await.unwrap();
    t.cluster.play([Trick::Overloaded; 3]);
    let refused = t.coupons.issue_coupon(issue("spring", "a")).await.unwrap_err();
    assert_unavailable(&refused, "OVERLOADED");
    assert_eq!(t.cluster.issued("spring"), 1);
}

#[tokio::test]
async fn a_shard_that_always_needs_the_log_is_asked_eight_times() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    t.cluster.play([Trick::NeedsLog]);
    t.coupons.issue_coupon(issue("spring", "a")).await.unwrap();
    assert_eq!(request_ids(&t.cluster.seen()).len(), 2);
    let before = t.cluster.seen().len();
    t.cluster.play([Trick::NeedsLog; 100]);
    let refused = t.coupons.issue_coupon(issue("spring", "a")).await.unwrap_err();
    assert_unavailable(&refused, "OVERLOADED");
    assert_eq!(t.cluster.seen().len() - before, 8);
    assert_eq!(t.cluster.issued("spring"), 1);
}

#[tokio::test]
async fn a_node_whose_clock_is_ahead_does_not_expire_requests() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    t.cluster.play([Trick::Expired]);
    t.coupons.issue_coupon(issue("spring", "a")).await.unwrap();
    let deadlines: Vec<_> =
        t.cluster.seen().iter().map(|seen| seen.deadline_micros).skip(1).collect();
    assert!(deadlines[0] > 0);
    assert_eq!(deadlines[1], 0);
}

#[tokio::test]
async fn a_full_router_refuses_at_once_and_stays_healthy() {
    let cluster = FakeCluster::start(1, &[1]).await;
    let config = RouterConfig { requests_max: 1, ..config(&cluster) };
    let mut t = Fixture::with(cluster, config).await;
    t.create("spring", 10).await;
    t.cluster.lead(0);
    let mut coupons = t.coupons.clone();
    let waiting = tokio::spawn(async move { coupons.issue_coupon(issue("spring", "a")).await });
    t.cluster.until_refused(1).await;
    let refused = t.coupons.issue_coupon(issue("spring", "b")).await.unwrap_err();
    assert_unavailable(&refused, "OVERLOADED");
    let health = HealthClient::new(t.channel.clone()).check(HealthCheckRequest::default()).await;
    assert_eq!(health.unwrap().into_inner().status, 1);
    t.cluster.lead(1);
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_batch_counts_as_many_as_it_has_requests() {
    let cluster = FakeCluster::start(1, &[1]).await;
    let config = RouterConfig { requests_max: 4, ..config(&cluster) };
    let mut t = Fixture::with(cluster, config).await;
    t.create("spring", 100).await;
    let batch = |count| BatchIssueCouponsRequest { requests: vec![issue("spring", ""); count] };
    t.cluster.lead(0);
    let mut coupons = t.coupons.clone();
    let waiting = tokio::spawn(async move { coupons.issue_coupon(issue("spring", "a")).await });
    t.cluster.until_refused(1).await;
    let refused = t.coupons.batch_issue_coupons(batch(4)).await.unwrap_err();
    assert_unavailable(&refused, "OVERLOADED");
    t.cluster.lead(1);
    waiting.await.unwrap().unwrap();
    t.coupons.batch_issue_coupons(batch(4)).await.unwrap();
    t.coupons.batch_issue_coupons(batch(9)).await.expect("it takes what there is");
    assert_eq!(t.cluster.issued("spring"), 14);
}

#[tokio::test]
async fn a_request_that_never_arrives_as_a_whole_loses_its_place() {
    let cluster = FakeCluster::start(1, &[1]).await;
    let config = RouterConfig {
        requests_max: 1,
        default_deadline: Duration::from_millis(100),
        ..config(&cluster)
    };
    let mut t = Fixture::with(cluster, config).await;
    for path in ["IssueCoupon", "BatchIssueCoupons", "StreamCoupons"] {
        let mut client = tonic::client::Grpc::new(t.channel.clone());
        client.ready().await.expect("the router serves");
        let path = format!("/coupon.v1.CouponService/{path}").parse().unwrap();
        let nothing = Request::new(futures::stream::pending());
        let status = client.streaming(nothing, path, Raw).await.unwrap_err();
        let expected = (Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
        assert_eq!((status.code(), reason(&status).as_str()), expected);
    }
    t.create("spring", 10).await;
}

#[tokio::test]
async fn exports_that_nobody_reads_hold_up_nothing_else() {
    let mut t = Fixture::start().await;
    t.create("many", 20_000).await;
    t.cluster.fill("many", 20_000);
    t.create("spring", 1_000_000).await;
    let mut unread = Vec::new();
    for _ in 0..20 {
        // Each client has a connection of its own, so that only the router's can be full.
        let mut coupons = CouponServiceClient::new(connect_narrow(&t.router));
        unread.push(coupons.stream_coupons(export("many")).await.unwrap());
    }
    // Until the router has read of the exports what it may.
    let mut read = 0;
    while read < unread.len() || read != t.cluster.parts_read() {
        read = t.cluster.parts_read();
        for _ in 0..50 {
            t.coupons.issue_coupon(within(2_000, issue("spring", "b"))).await.unwrap();
        }
    }
    let request = GetCampaignRequest { campaign_id: "spring".to_owned() };
    t.campaigns.get_campaign(request).await.unwrap();
    // Another one, which is read, gets everything.
    let mut parts = t.coupons.stream_coupons(export("many")).await.unwrap().into_inner();
    let mut coupons = 0;
    while let Some(part) = parts.message().await.unwrap() {
        coupons += part.coupons.len();
    }
    assert_eq!(coupons, 20_000);
}

#[tokio::test]
async fn a_newer_ring_is_followed() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    t.cluster.fence(2);
    let mut coupons = t.coupons.clone();
    let mut campaigns = t.campaigns.clone();
    let request = GetCampaignRequest { campaign_id: "spring".to_owned() };
    let (issued, read, ()) = tokio::join!(
        coupons.issue_coupon(issue("spring", "a")),
        campaigns.get_campaign(request),
        async {
            t.cluster.until_seen(2).await;
            t.cluster.change_map(|map| map.epoch = 2);
        }
    );
    issued.unwrap();
    read.unwrap();
    let epochs: Vec<_> = t.cluster.seen().iter().map(|seen| seen.command.epoch).collect();
    assert_eq!((epochs[1], epochs.last()), (1, Some(&2)));
}

#[tokio::test]
async fn the_items_of_a_batch_follow_a_newer_ring_and_keep_their_places() {
    let mut t = Fixture::start().await;
    t.create("spring", 1_000).await;
    t.cluster.fence(2);
    let recipients: Vec<_> = (0..300).map(|number| format!("recipient-{number}")).collect();
    let mut requests: Vec<_> = recipients.iter().map(|name| issue("spring", name)).collect();
    requests[100].campaign_id = "No Campaign".to_owned();
    let mut coupons = t.coupons.clone();
    let (answer, ()) =
        tokio::join!(coupons.batch_issue_coupons(BatchIssueCouponsRequest { requests }), async {
            t.cluster.until_seen(300).await;
            t.cluster.change_map(|map| map.epoch = 2);
        });
    let results = answer.unwrap().into_inner().results;
    for (place, (result, recipient)) in results.iter().zip(&recipients).enumerate() {
        match result.result.as_ref().unwrap() {
            batch_issue_coupons_result::Result::Response(response) => {
                assert_eq!(&response.coupon.as_ref().unwrap().recipient, recipient);
            }
            batch_issue_coupons_result::Result::Error(error) => {
                assert_eq!((place, error.code), (100, i32::from(Code::InvalidArgument)));
            }
        }
    }
    let request = GetCampaignRequest { campaign_id: "spring".to_owned() };
    let campaign = t.campaigns.get_campaign(request).await.unwrap().into_inner().campaign;
    assert_eq!(campaign.unwrap().issued, 299);
}

#[tokio::test]
async fn a_key_that_the_map_does_not_have_yet_is_waited_for() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    let key = {
        let mut key = None;
        t.cluster.change_map(|map| {
            key = map.code_keys.pop();
            let mut other = key.clone().unwrap();
            other.key_id = 2;
            map.code_keys.push(other);
        });
        key.unwrap()
    };
    // The campaign's key is gone from the map, until somebody puts it back.
    let mut coupons = t.coupons.clone();
    let (issued, ()) = tokio::join!(coupons.issue_coupon(issue("spring", "a")), async {
        t.cluster.until_seen(2).await;
        t.cluster.change_map(|map| map.code_keys.insert(0, key));
    });
    issued.unwrap();
}

#[tokio::test]
async fn a_router_listens_before_there_is_a_cluster() {
    let cluster = FakeCluster::start(1, &[1]).await;
    let nowhere = RouterConfig { nodes: vec!["127.0.0.1:1".to_owned()], ..config(&cluster) };
    let router = coupon_router::start(nowhere).await.unwrap();
    let address = format!("http://{}", router.local_addr());
    let channel = tonic::transport::Endpoint::from_shared(address).unwrap().connect_lazy();
    let health = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await;
    assert_eq!(health.unwrap().into_inner().status, 2, "it does not serve");
    let mut coupons = CouponServiceClient::new(channel);
    let answer = coupons.issue_coupon(within(200, issue("spring", "a"))).await;
    assert_unavailable(&answer.unwrap_err(), "NO_LEADER");
    router.shutdown().await.unwrap();

    let nobody = RouterConfig { nodes: Vec::new(), ..config(&cluster) };
    assert!(matches!(coupon_router::start(nobody).await, Err(RouterError::NoNodes)));
    let wrong = RouterConfig { nodes: vec!["no address".to_owned()], ..config(&cluster) };
    let refused = coupon_router::start(wrong).await;
    assert!(matches!(refused, Err(RouterError::NodeAddress { .. })));
}

#[tokio::test]
async fn a_shutdown_lets_requests_finish() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    t.cluster.lead(0);
    let mut coupons = t.coupons.clone();
    let waiting = tokio::spawn(async move { coupons.issue_coupon(issue("spring", "a")).await });
    t.cluster.until_refused(1).await;
    let (stopped, ()) = tokio::join!(t.router.shutdown(), async { t.cluster.lead(2) });
    stopped.unwrap();
    waiting.await.unwrap().unwrap();
}
