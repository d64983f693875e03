//! Clients that open connections and say nothing lock nobody out, however few descriptors there are.

use std::net::TcpStream;

use crate::support::campaign::create;
use crate::support::cluster::Cluster;
use crate::support::ports;
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

#[test]
fn a_node_answers_beside_silent_clients() {
    let dir = tempfile::tempdir().unwrap();
    let (data, log) = (dir.path().join("data"), dir.path().join("log"));
    let listen = format!("127.0.0.1:{}", ports::free());
    let data = data.to_string_lossy();
    let args = ["node", "--node-id", "1", "--data", &data, "--listen", &listen];
    let mut node = Process::start(coupon_with_descriptors(DESCRIPTORS, &args), &log);
    let address = node.address();
    let silent = silent_connections(&address);
    succeeds(&["health", "--live", &address]);
    assert!(node.is_running());
    drop(silent);
}
