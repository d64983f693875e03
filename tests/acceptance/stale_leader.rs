//! A leader is paused, deposed meanwhile, and asked at the very moment it wakes up.

use std::time::{Duration, Instant};

use coupon_proto::internal::shard_service_client::ShardServiceClient;
use coupon_proto::internal::{GetCampaignQuery, ReadRequest, read_request};
use futures::future::join_all;
use tonic::transport::Channel;

use crate::support::campaign::create;
use crate::support::cluster::Cluster;
use crate::support::load::Load;

/// More than is ever asked for.
const QUOTA: u32 = 1_000_000;

/// How long the leader is paused.
const PAUSED: Duration = Duration::from_secs(20);

/// How many questions wait for the leader while it is paused.
const WAITING: usize = 16;

/// How long it is asked after it woke up: a few election timeouts, within which it must notice.
const ASKED: Duration = Duration::from_secs(3);

/// Asks one node, and no other, how many coupons were issued. `None` when it refuses to say.
async fn issued(
    client: &mut ShardServiceClient<Channel>,
    shard_id: u32,
    epoch: u64,
) -> Option<u64> {
    let query = GetCampaignQuery { campaign_id: "stale".to_owned() };
    let query = Some(read_request::Query::GetCampaign(query));
    let answer = client.read(ReadRequest { shard_id, epoch, query }).await.ok()?.into_inner();
    assert_eq!(answer.refusal, None);
    let campaign = answer.campaigns.into_iter().next().expect("the campaign is there");
    Some(campaign.counters.expect("they come with the campaign").issued)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposed_leader_answers_no_stale_read() {
    let mut cluster = Cluster::start(&[]).await;
    create(&cluster, "stale", QUOTA.into()).await;
    let shard = Cluster::shard_of("stale");
    let epoch = cluster.whole().await.epoch;
    let load = Load::start(&cluster, "stale", 8);
    load.grant(QUOTA as usize);
    load.progress(500).await;

    let old = cluster.leader_of(shard).await;
    let mut direct = ShardServiceClient::new(cluster.connect_to(old));
    assert!(issued(&mut direct, shard, epoch).await.is_some(), "the leader answers");
    cluster.pause(old);
    let paused = Instant::now();
    // By then somebody else leads: what the old one had under way cannot be so much.
    load.progress(2_000).await;
    while paused.elapsed() < PAUSED {
        load.progress(100).await;
    }

    let known = load.acknowledged();
    let waiting = (0..WAITING).map(|_| {
        let mut direct = direct.clone();
        tokio::spawn(async move { issued(&mut direct, shard, epoch).await })
    });
    let waiting = join_all(waiting.collect::<Vec<_>>());
    cluster.resume(old);
    let woken = Instant::now();
    let mut answered = 0;
    while woken.elapsed() < ASKED {
        let known = load.acknowledged();
        if let Some(seen) = issued(&mut direct, shard, epoch).await {
            assert!(seen >= known, "{known} were answered, the old leader says {seen}");
            answered += 1;
        }
        tokio::task::yield_now().await;
    }
    for seen in waiting.await {
        if let Some(seen) = seen.unwrap() {
            assert!(seen >= known, "{known} were answered, the old leader says {seen}");
            answered += 1;
        }
    }
    eprintln!("the old leader answered {answered} reads, all of them fresh");
    load.stop().await;
}
