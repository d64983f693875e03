//! Clients that open connections and say nothing lock nobody out, however few descriptors there are.

use std::net::TcpStream;

use crate::support::campaign::create;
use crate::support::cluster::Cluster;
use crate::support::process::{Process, coupon_with_descriptors, run};

/// The descriptors that a process may have.
const DESCRIPTORS: usize = 256;

/// Connections that say nothing: more than there are descriptors.
const SILENT: usize = 300;

fn silent_connections(address: &str) -> Vec<TcpStream> {
    (0..SILENT).map(|_| TcpStream::connect(address).expect("the system accepts")).collect()
}

fn succeeds(args: &[&str]) {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_answers_beside_silent_clients() {
    let cluster = Cluster::start(&[]).await;
    create(&cluster, "loud", 10).await;
    let nodes = cluster.addresses().join(",");
    let args = ["router", "--listen", "127.0.0.1:0", "--nodes", &nodes];
    let log = cluster.dir().join("limited-router.log");
    let mut router = Process::start(coupon_with_descriptors(DESCRIPTORS, &args), &log);
    let address = router.address();
    let silent = silent_connections(&address);
    succeeds(&["health", "--live", &address]);
    succeeds(&["issue", "loud", "--recipient", "a", "--router", &address]);
    assert!(router.log().contains("raise `ulimit -n`"), "{}", router.log());
    drop(silent);
}
