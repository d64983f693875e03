//! A node comes back without the end of its write-ahead log, as after a restored backup.

use std::path::{Path, PathBuf};

use crate::support::campaign::create;
use crate::support::cluster::Cluster;
use crate::support::load::Load;
use crate::support::wait::until;

/// Enough for many records in the log, and few enough to stay in it.
const QUOTA: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lost_what_it_acknowledged_stops() {
    let mut cluster = Cluster::start(&[]).await;
    create(&cluster, "tail", QUOTA as i64).await;
    let load = Load::start(&cluster, "tail", 4);
    load.grant(QUOTA);
    load.progress(QUOTA as u64 / 2).await;
    load.stop().await;
    cluster.whole().await;
    let leader = cluster.leader_of(Cluster::shard_of("tail")).await;
    let loser = (1..=3).find(|id| *id != leader).expect("there are three");
    cluster.kill(loser);
    let wal = newest_wal(cluster.data_of(loser));
    let file = std::fs::File::options().write(true).open(&wal).expect("open the log");
    let length = file.metadata().expect("it is open").len();
    file.set_len(length / 2).expect("cut the log");
    cluster.restart(loser);
    let stopped = until("the replica to stop", async || cluster.ended_by_itself()).await;
    assert_eq!(stopped, loser);
    let log = cluster.log_of(loser);
    assert!(log.contains("has lost entries that it acknowledged"), "{log}");
}

fn newest_wal(data: &Path) -> PathBuf {
    let files = std::fs::read_dir(data.join("db")).expect("there is a database");
    let paths = files.map(|file| file.expect("it can be listed").path());
    let logs = paths.filter(|path| path.extension().is_some_and(|end| end == "log"));
    logs.max().expect("there is a log")
}
