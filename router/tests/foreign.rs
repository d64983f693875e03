//! Nodes of other clusters listen at the addresses of a router's own.

mod support;

use std::time::Duration;

use coupon_proto::v1::GetCampaignRequest;
use coupon_router::{RouterConfig, RouterError};
use tonic::Request;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use support::fake_cluster::{CLUSTER_ID, FakeCluster};
use support::{Fixture, config, connect, issue, reason};

/// Timeout for any wait in a test.
const PATIENCE: Duration = Duration::from_secs(20);

const OTHER: &str = "b7a4e5d0-6c1f-4f7e-9a53-0d2b8c6e4f11";

fn free() -> Vec<String> {
    vec!["127.0.0.1:0".to_owned()]
}

/// Waits until the router reports that it serves, or does not.
async fn until_serving(channel: &Channel, serves: bool) {
    let asked = async {
        let mut health = HealthClient::new(channel.clone());
        loop {
            let answer = health.check(HealthCheckRequest::default()).await.expect("it answers");
            if (answer.into_inner().status == 1) == serves {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("health changes");
}

#[tokio::test]
async fn a_node_of_another_cluster_at_one_address_is_sent_and_believed_nothing() {
    let mut t = Fixture::start().await;
    t.cluster.lead(3);
    t.create("spring", 10).await;
    let before = t.cluster.seen().len();
    t.cluster.turn(3, OTHER);
    t.cluster.lead(1);
    t.coupons.issue_coupon(issue("spring", "a")).await.unwrap();
    let read = GetCampaignRequest { campaign_id: "spring".to_owned() };
    let campaign = t.campaigns.get_campaign(read).await.unwrap().into_inner().campaign.unwrap();
    assert_eq!(campaign.issued, 1);
    let after = t.cluster.seen().split_off(before);
    assert!(after.iter().all(|seen| seen.node_id == 1), "{after:?}");
    until_serving(&t.channel, true).await;
}

#[tokio::test]
async fn a_router_whose_nodes_all_went_to_another_cluster_stops() {
    let mut t = Fixture::start().await;
    t.create("spring", 10).await;
    until_serving(&t.channel, true).await;
    for node in 1..=3 {
        t.cluster.turn(node, OTHER);
    }
    let refused = tokio::time::timeout(PATIENCE, t.router.refused()).await.unwrap();
    let RouterError::WrongCluster(wrong) = &refused else { panic!("{refused}") };
    assert_eq!(wrong.cluster_id, CLUSTER_ID);
    let said = refused.to_string();
    assert!(said.contains(CLUSTER_ID) && said.contains(OTHER), "{said}");
    until_serving(&t.channel, false).await;
    let mut late = Request::new(issue("spring", "b"));
    late.set_timeout(Duration::from_secs(5));
    let answer = t.coupons.issue_coupon(late).await.unwrap_err();
    assert_eq!(reason(&answer), "NO_LEADER", "surely nothing happened");
    assert_eq!(t.cluster.issued("spring"), 0);
    t.router.halt().await.unwrap();
}

#[tokio::test]
async fn a_router_serves_again_when_a_node_of_its_cluster_answers_again() {
    let cluster = FakeCluster::start(1, &[1]).await;
    // No node listens at most of the addresses, so it is unknown which cluster they belong to.
    let nodes = vec![cluster.address(1), "127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned()];
    let config = RouterConfig { nodes, ..config(&cluster) };
    let mut t = Fixture::with(cluster, config).await;
    until_serving(&t.channel, true).await;
    t.cluster.turn(1, OTHER);
    until_serving(&t.channel, false).await;
    t.cluster.turn(1, CLUSTER_ID);
    until_serving(&t.channel, true).await;
    t.create("spring", 10).await;
}

#[tokio::test]
async fn of_several_clusters_a_router_takes_that_of_most_of_its_addresses_or_the_one_named() {
    let mine = FakeCluster::start(2, &[1]).await;
    let other = FakeCluster::at(OTHER, &free(), &[1]).await;
    let nodes = vec![other.address(1), mine.address(1), mine.address(2)];
    let undecided = vec![other.address(1), mine.address(1)];

    let most = RouterConfig { nodes: nodes.clone(), ..config(&mine) };
    let mut t = Fixture::with(mine, most).await;
    t.create("spring", 10).await;
    assert_eq!((t.cluster.seen().len(), other.seen().len()), (1, 0));

    let named = RouterConfig { nodes, cluster_id: Some(OTHER.to_owned()), ..config(&t.cluster) };
    let mut named = Fixture::with(other, named).await;
    named.create("spring", 10).await;
    assert_eq!((t.cluster.seen().len(), named.cluster.seen().len()), (1, 1));

    let neither = RouterConfig { nodes: undecided, ..config(&t.cluster) };
    let router = coupon_router::start(neither).await.unwrap();
    assert!(!router.ready(Duration::from_millis(500)).await, "it serves neither");
    until_serving(&connect(&router), false).await;
    // One node leaving the other cluster decides the choice.
    named.cluster.turn(1, CLUSTER_ID);
    assert!(router.ready(PATIENCE).await);
}
