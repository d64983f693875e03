//! A cluster whose nodes were not all told where to look for it.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::support::process::{Process, coupon};

#[test]
fn init_names_the_nodes_that_do_not_join() {
    let dir = tempfile::tempdir().expect("make a temporary directory");
    let mut nodes = [1, 2].map(|id| {
        let data = dir.path().join(format!("node-{id}"));
        let (id, data_text) = (id.to_string(), data.to_string_lossy());
        let args = ["node", "--node-id", &id, "--data", &data_text, "--listen", "127.0.0.1:0"];
        Process::start(coupon(&args), &data.with_extension("log"))
    });
    let [first, second] = nodes.each_mut().map(Process::address);

    // Half of the shards are on the second node, which never hears of the cluster.
    let both = format!("{first},{second}");
    let mut init = coupon(&["cluster", "init", "--nodes", &both, "--shards", "4"]);
    let mut init = init.stderr(Stdio::piped()).spawn().expect("the program was just built");
    let mut told = BufReader::new(init.stderr.take().expect("it is piped")).lines();
    let named = told.find_map(|line| line.ok().filter(|line| line.contains("has not joined")));
    init.kill().expect("it is ours");
    init.wait().expect("it is ours");
    let named = named.expect("it waits for a leader of every shard");
    assert!(named.contains(&second) && !named.contains(&first), "{named}");
}
