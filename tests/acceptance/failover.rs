//! The leader of a campaign's shard is killed again and again while the campaign is given away.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use coupon_checker::check;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use tonic_types::StatusExt as _;

use crate::support::campaign::{create, issue, read_back, reason, recorded, request};
use crate::support::cluster::Cluster;
use crate::support::load::Load;

/// How many coupons the campaign has.
const QUOTA: u32 = 50_000;

/// How many clients there are.
const CLIENTS: usize = 64;

/// How often the leader is killed.
const KILLS: u32 = 3;

/// How many coupons of each part are issued before the kill. Most of the part comes after it.
const BEFORE_KILL: u64 = 3_000;

/// How long after a kill a client may notice it.
const NOTICEABLE: Duration = Duration::from_secs(5);

/// How many answers are asked for again.
const REPEATS: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_the_quota_survives_kills_of_the_leader() {
    let mut cluster = Cluster::start(&[]).await;
    create(&cluster, "failover", QUOTA.into()).await;
    let shard = Cluster::shard_of("failover");
    let load = Load::start(&cluster, "failover", CLIENTS);

    let mut kills = Vec::new();
    let part = QUOTA / KILLS;
    for _ in 0..KILLS {
        load.grant(part as usize);
        load.progress(BEFORE_KILL).await;
        let leader = cluster.leader_of(shard).await;
        kills.push(Instant::now());
        cluster.kill(leader);
        // Somebody else leads now.
        load.progress(1_000).await;
        cluster.restart(leader);
        cluster.whole().await;
    }
    load.grant((QUOTA - part * KILLS) as usize);
    let answers = load.finish().await;

    let history = answers.with(read_back(&cluster, "failover", QUOTA.into()).await);
    let verdict = check(&history);
    assert!(verdict.is_ok(), "{verdict}");
    assert_eq!((verdict.issued, verdict.acknowledged), (QUOTA.into(), QUOTA.into()));
    let codes: BTreeSet<&str> = history.campaigns[0].rows.iter().map(|row| &*row.code).collect();
    assert_eq!(codes.len(), QUOTA as usize);
    for failure in &answers.failures {
        let is_explained = kills.iter().any(|kill| failure.is_explained_by(*kill, NOTICEABLE));
        assert!(is_explained, "{failure:?}, kills at {kills:?}");
    }

    let mut client = CouponServiceClient::new(cluster.connect());
    for answered in answers.acknowledged.iter().step_by(QUOTA as usize / REPEATS) {
        let mut again = request("failover", &answered.recipient);
        let refused = issue(&mut client, again.clone()).await.unwrap_err();
        assert_eq!(reason(&refused), "RECIPIENT_LIMIT_REACHED");
        let info = refused.get_details_error_info().unwrap();
        assert_eq!(info.metadata["codes"], *answered.code);

        again.request_id = uuid::Uuid::from_u128(answered.request_id).to_string();
        let repeated = issue(&mut client, again).await.unwrap();
        assert!(repeated.replayed);
        assert_eq!(recorded(repeated.coupon.unwrap()), *answered);
    }
    let late = issue(&mut client, request("failover", "late")).await.unwrap_err();
    assert_eq!(reason(&late), "SOLD_OUT");
}

/// An election timeout that no test waits for.
const NEVER: &str = "1h";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_is_replaced_long_before_the_election_timeout() {
    let mut cluster = Cluster::start(&["--election-timeout", NEVER]).await;
    create(&cluster, "killed", 100).await;
    let shard = Cluster::shard_of("killed");
    let mut client = CouponServiceClient::new(cluster.connect());
    for kill in 0..KILLS {
        issue(&mut client, request("killed", &format!("before-{kill}"))).await.unwrap();
        let leader = cluster.leader_of(shard).await;
        cluster.kill(leader);
        issue(&mut client, request("killed", &format!("after-{kill}"))).await.unwrap();
        cluster.restart(leader);
        cluster.whole().await;
    }
}
