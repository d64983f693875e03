//! A deposed leader that wakes up and does not ask its quorum. The same with one that does is in
//! `tests/acceptance/stale_leader.rs`.

use coupon_checker::{Check, check};

use crate::support::cluster::Cluster;
use crate::support::stale_reads::ask_deposed_leaders;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_without_a_quorum_is_stale() {
    let mut cluster = Cluster::start_with(Some("read-without-quorum"), &[]).await;
    let asked = ask_deposed_leaders(&mut cluster).await;
    let verdict = check(&asked.history);
    println!("{verdict}\n{} reads answered, {} refused", asked.answered, asked.refused);
    assert!(verdict.to_string().contains("verdict: VIOLATED"));
    assert!(verdict.found(Check::Order) > 0);
}
