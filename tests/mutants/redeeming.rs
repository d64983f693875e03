//! Faults in what is done with coupons. Clients that contend for the same ones bring them to light.

use coupon_checker::{Check, History, Verdict, check};

use crate::support::cluster::Cluster;
use crate::support::redemption::{contended, reissued};

async fn judged(mutant: Option<&str>) -> Verdict {
    let cluster = Cluster::start_with(mutant, &[]).await;
    let campaigns = vec![contended(&cluster).await, reissued(&cluster).await];
    let verdict = check(&History { campaigns, ..History::default() });
    println!("{verdict}");
    verdict
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coupon_that_is_redeemed_twice_is_found() {
    assert!(judged(Some("redeemed-twice")).await.found(Check::Redemptions) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quota_that_is_returned_twice_is_oversold() {
    assert!(judged(Some("quota-returned-twice")).await.found(Check::Oversold) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redeeming_and_voiding_are_fine() {
    assert!(judged(None).await.is_ok());
}
