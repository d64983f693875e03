//! Faults in the decision who gets a coupon. Load alone brings them to light.

use crate::report::{Report, loadtest};
use crate::support::cluster::Cluster;

/// Many ask at a time until nothing is left, in one campaign after the other: a campaign may end by
/// chance just where a batch of them does.
async fn sell_out(mutant: Option<&str>) -> Report {
    let cluster = Cluster::start_with(mutant, &[]).await;
    loadtest(&cluster.router, "--closed --concurrency 256 --quota 1000 --renew --duration 3s").await
}

/// Many ask at a time, and often the same ones.
async fn ask_twice(mutant: Option<&str>) -> Report {
    let cluster = Cluster::start_with(mutant, &[]).await;
    loadtest(&cluster.router, "--closed --concurrency 256 --recipients 5000 --duration 3s").await
}

/// Everybody comes at the start, and some before.
async fn come_early(mutant: Option<&str>) -> Report {
    let cluster = Cluster::start_with(mutant, &[]).await;
    loadtest(&cluster.router, "--stampede --callers 2000 --quota 1000 --start-in 2s").await
}

#[tokio::test]
async fn a_quota_checked_outside_the_log_is_oversold() {
    sell_out(Some("quota-outside-log")).await.assert_violated("oversold");
}

#[tokio::test]
async fn sold_out_too_early_is_undersold() {
    sell_out(Some("sold-out-early")).await.assert_violated("undersold");
}

#[tokio::test]
async fn selling_out_is_fine() {
    sell_out(None).await.assert_ok();
}

#[tokio::test]
async fn a_limit_checked_outside_the_log_is_exceeded() {
    ask_twice(Some("limit-outside-log")).await.assert_violated("limit");
}

#[tokio::test]
async fn asking_twice_is_fine() {
    ask_twice(None).await.assert_ok();
}

#[tokio::test]
async fn an_early_start_is_seen_in_the_times_of_the_coupons() {
    let report = come_early(Some("starts-early")).await;
    report.assert_failed("coupons were issued before the start of their campaign");
}

#[tokio::test]
async fn coming_early_is_fine() {
    come_early(None).await.assert_ok();
}
