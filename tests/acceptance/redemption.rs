//! A coupon is used once, whoever asks how often, and whatever happens to the leader.

use coupon_checker::{History, check};
use coupon_client::new_request_id;
use coupon_proto::v1;
use coupon_proto::v1::campaign_service_client::CampaignServiceClient;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use tonic_types::StatusExt as _;

use crate::support::campaign::{create, issue, reason, request};
use crate::support::cluster::Cluster;
use crate::support::process::run;
use crate::support::redemption::{contended, redeem, redeem_at_once, redemption, reissued};

/// How many clients redeem one coupon at once.
const CLIENTS: usize = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_redeem_one_coupon_at_once_one_succeeds() {
    let mut cluster = Cluster::start(&[]).await;
    create(&cluster, "spring", 10).await;
    let mut client = CouponServiceClient::new(cluster.connect());
    let answer = issue(&mut client, request("spring", "ann")).await.expect("a coupon is left");
    let code = answer.coupon.expect("an answer has a coupon").code;

    let answers = redeem_at_once(&cluster, &code, CLIENTS).await;
    let (winners, others): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|(_, answer)| answer.is_ok());
    assert_eq!((winners.len(), others.len()), (1, CLIENTS - 1));
    let (won, answer) = winners.into_iter().next().expect("there is one");
    let answer = answer.expect("it succeeded");
    let coupon = answer.coupon.expect("an answer has a coupon");
    assert_eq!((coupon.state(), answer.replayed), (v1::CouponState::Redeemed, false));
    assert_eq!(coupon.order_ref, won.order_ref);
    let redeem_time = coupon.redeem_time.expect("it is redeemed").to_string();
    for (_, refused) in &others {
        let status = refused.as_ref().expect_err("it is refused");
        assert_eq!(reason(status), "ALREADY_REDEEMED");
        let info = status.get_details_error_info().expect("every error has an ErrorInfo");
        assert_eq!(info.metadata.get("redeem_time"), Some(&redeem_time));
    }

    // Its retry has the same answer, from the next leader as well; the others may not use its id.
    let leader = cluster.leader_of(Cluster::shard_of("spring")).await;
    cluster.kill(leader);
    cluster.restart(leader);
    cluster.whole().await;
    let again = redeem(&mut client, won.clone()).await.expect("it is answered again");
    assert!(again.replayed);
    assert_eq!(again.coupon.as_ref(), Some(&coupon));
    let other = v1::RedeemCouponRequest { order_ref: "another".into(), ..won.clone() };
    let reused = redeem(&mut client, other).await.expect_err("it is refused");
    assert_eq!(reason(&reused), "REQUEST_ID_REUSED");

    // Undone, it can be used once more. The retry before has its answer still, and changes nothing.
    let reverse = v1::ReverseRedemptionRequest { code: code.clone(), ..Default::default() };
    client.reverse_redemption(reverse).await.expect("it is redeemed");
    let again = redeem(&mut client, won).await.expect("it is answered again");
    assert_eq!((again.replayed, again.coupon), (true, Some(coupon)));
    let anew = redeem(&mut client, redemption(&code, "anew")).await.expect("it can be used");
    assert_eq!(anew.coupon.expect("an answer has a coupon").order_ref, "anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_with_coupons_is_judged_and_counted() {
    let cluster = Cluster::start(&[]).await;
    let campaigns = vec![contended(&cluster).await, reissued(&cluster).await];
    let verdict = check(&History { campaigns, ..History::default() });
    assert!(verdict.is_ok(), "{verdict}");

    let mut client = CampaignServiceClient::new(cluster.connect());
    let mut campaign = async |campaign_id: &str| {
        let request = v1::GetCampaignRequest { campaign_id: campaign_id.to_owned() };
        let answer = client.get_campaign(request).await.expect("it can be read").into_inner();
        answer.campaign.expect("an answer has a campaign")
    };
    let contended = campaign("contended").await;
    assert_eq!((contended.issued, contended.redeemed, contended.remaining), (1, 1, 0));
    let reissued = campaign("reissued").await;
    assert_eq!((reissued.voided, reissued.returned), (3, 3));
    assert_eq!((reissued.issued, reissued.remaining), (6, 0));
    assert_eq!(reissued.state(), v1::CampaignState::Exhausted);
}

/// The commands, on one coupon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_redeem_reverse_void_and_show_a_coupon() {
    let cluster = Cluster::start(&[]).await;
    create(&cluster, "spring", 1).await;
    let router = cluster.router.as_str();
    let json = |args: &[&str], code: i32| {
        let output = run(&[args, &["--router", router, "-o", "json"]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap_or_default()
    };
    let issued = json(&["issue", "spring", "--recipient", "ann"], 0);
    let code = issued["code"].as_str().expect("a coupon has a code");
    assert_eq!(json(&["validate", code], 0)["redeemable"], true);
    let id = new_request_id();
    let redeem = ["redeem", code, "--order-ref", "A-1", "--request-id", &id];
    let redeemed = json(&redeem, 0);
    assert_eq!((&redeemed["state"], &redeemed["replayed"]), (&"REDEEMED".into(), &false.into()));
    assert_eq!(redeemed["order_ref"], "A-1");
    assert_eq!(json(&redeem, 0)["replayed"], true);
    json(&["redeem", code], 4);
    let validated = json(&["validate", code], 1);
    assert_eq!(validated["why_not"], "the coupon has already been redeemed");
    assert_eq!(json(&["reverse", code], 0)["state"], "ISSUED");
    let voided = json(&["void", code, "--return-quota", "--reason", "a test"], 0);
    assert_eq!((&voided["state"], &voided["quota_returned"]), (&"VOIDED".into(), &true.into()));
    let looked_up = json(&["lookup", code], 0);
    assert_eq!((&looked_up["state"], &looked_up["recipient"]), (&"VOIDED".into(), &"".into()));
    let found = json(&["get-coupon", "spring", "1"], 0);
    assert_eq!((&found["code"], &found["void_reason"]), (&code.into(), &"a test".into()));
    json(&["get-coupon", "spring", "2"], 4);
    let all = serde_json::Value::from(vec![found]);
    assert_eq!(json(&["list-coupons", "--recipient", "ann"], 0), all);
    assert_eq!(json(&["list-coupons", "--recipient", "ann", "--campaign", "spring"], 0), all);
    assert_eq!(json(&["list-coupons", "--recipient", "bob"], 0), serde_json::json!([]));
    assert_eq!(json(&["export", "spring"], 0), all);
    json(&["lookup", "0000000001"], 4);
}
