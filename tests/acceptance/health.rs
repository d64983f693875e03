//! Health says what a process can do; whether it lives is another question.

use crate::support::cluster::Cluster;
use crate::support::process::run;
use crate::support::wait::until;

/// Whether the program at an address says that it serves, or that it lives.
fn says(address: &str, flags: &[&str]) -> bool {
    run(&[&["health", address, "--timeout", "5s"], flags].concat()).status.success()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_serve_says_so_and_lives() {
    let mut cluster = Cluster::start(&[]).await;
    let (nodes, router) = (cluster.addresses(), cluster.router.clone());
    let until_serving = async |address: &str, serving: bool| {
        let what = format!("{address} to be {}", if serving { "serving" } else { "not serving" });
        until(&what, async || (says(address, &[]) == serving).then_some(())).await;
        assert!(says(address, &["--live"]), "{address} lives");
    };
    for address in nodes.iter().chain([&router]) {
        until_serving(address, true).await;
    }
    cluster.kill(1);
    cluster.kill(2);
    // It has nobody to elect a leader with; the router still has a node.
    until_serving(&nodes[2], false).await;
    until_serving(&router, true).await;
    cluster.kill(3);
    until_serving(&router, false).await;
    (1..=3).for_each(|node| cluster.restart(node));
    for address in nodes.iter().chain([&router]) {
        until_serving(address, true).await;
    }
}
