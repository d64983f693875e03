//! A deposed leader that wakes up says nothing that is not true any more. `tests/mutants` shows that
//! this would be noticed: there the same questions are asked of leaders that do not ask their quorum.

use coupon_checker::check;

use crate::support::cluster::Cluster;
use crate::support::stale_reads::ask_deposed_leaders;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposed_leader_answers_no_stale_read() {
    let mut cluster = Cluster::start(&[]).await;
    let asked = ask_deposed_leaders(&mut cluster).await;
    let verdict = check(&asked.history);
    assert!(verdict.is_ok(), "{verdict}");
    assert!(asked.refused > 0, "nobody was asked");
    eprintln!("{} reads answered, {} refused", asked.answered, asked.refused);
}
