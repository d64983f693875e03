//! Faults in holds. Clients that race for a small campaign bring them to light.

use coupon_checker::{Check, History, Verdict, check};

use crate::support::cluster::Cluster;
use crate::support::holds::Race;

async fn judged(mutant: Option<&str>) -> Verdict {
    let cluster = Cluster::start_with(mutant, &[]).await;
    let race = Race::new(&cluster, "race").await;
    race.run(false).await;
    let verdict = check(&History { campaigns: vec![race.recorded().await], ..History::default() });
    println!("{verdict}");
    verdict
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_is_confirmed_after_it_expired_is_found() {
    assert!(judged(Some("hold-not-expired")).await.found(Check::Holds) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quota_that_is_returned_twice_breaks_the_balance() {
    assert!(judged(Some("quota-returned-twice")).await.found(Check::Holds) > 0);
}

/// All counters add up to the quota, since what is left follows from the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_released_hold_that_still_counts_is_found() {
    assert!(judged(Some("release-not-counted")).await.found(Check::Holds) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holding_is_fine() {
    assert!(judged(None).await.is_ok());
}
