//! Another cluster listens where nodes of this one did. It is sent nothing, and its answers are ignored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coupon_admin::NodeState;
use coupon_proto::v1;
use coupon_proto::v1::campaign_service_client::CampaignServiceClient;
use coupon_proto::v1::coupon_service_client::CouponServiceClient;
use tonic::transport::Channel;
use tonic::{Request, Status};
use uuid::Uuid;

use crate::support::campaign::{issue, request};
use crate::support::cluster::{Cluster, connect};
use crate::support::process::{Process, coupon, run};
use crate::support::wait::until;

/// Enough that every shard has several.
const CAMPAIGNS: usize = 16;

/// Node 3 is down, and a cluster of one node has its port.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_cluster_on_the_port_of_a_node_is_not_used() {
    let mut cluster = Cluster::start(&[]).await;
    let channel = cluster.connect();
    let old = create_all(&channel, "old").await;

    assert!(cluster.stop(3).await);
    let port = cluster.addresses()[2].clone();
    let (_other, other_router) = other_cluster(&cluster, &port);
    let new = create_all(&channel, "new").await;
    use_all(&channel, &[&old[..], &new].concat()).await;

    let (address, _late_router) = cluster.another_router();
    let channel = connect(&address);
    let late = create_all(&channel, "late").await;
    use_all(&channel, &[&new[..], &late].concat()).await;

    assert_eq!(list_all(&connect(&other_router.0)).await, Vec::<String>::new());
    let status = run(&["status", "--node", &cluster.addresses()[0]]);
    let said = String::from_utf8_lossy(&status.stderr).into_owned();
    assert_eq!(status.status.code(), Some(1), "{said}");
    assert!(said.contains("foreign: node 1 of cluster"), "{said}");
    let shown = cluster.status("the foreign node", false, |status| {
        let states: Vec<_> = status.nodes.iter().map(|node| node.state.as_str()).collect();
        states == ["up", "up", "foreign"]
    });
    assert!(!shown.await.nodes[2].reachable);

    // A node that starts asks at the port of the foreign one as well.
    assert!(cluster.stop(2).await);
    cluster.restart(2);
    let back = cluster.status("node 2 to be back", false, |status| {
        status.nodes[1].state == NodeState::Up
            && status.shards.iter().all(|one| one.leader_node_id.is_some())
    });
    back.await;
    use_all(&channel, &late).await;
}

/// All nodes lose their data and form a new cluster with the same ids at the same addresses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_that_outlives_its_cluster_answers_nothing_and_stops() {
    let mut cluster = Cluster::start(&[]).await;
    let channel = cluster.connect();
    let campaigns = create_all(&channel, "same").await;
    use_all(&channel, &campaigns).await;

    cluster.kill_all();
    let is_over = Arc::new(AtomicBool::new(false));
    let asking = ask_in_vain(channel, campaigns.clone(), Arc::clone(&is_over));
    let asking = tokio::spawn(asking);
    for node in 1..=3 {
        cluster.wipe(node);
        cluster.restart(node);
    }
    cluster.init_again().await;
    let (address, _new_router) = cluster.another_router();
    let new_channel = connect(&address);
    assert_eq!(create_all(&new_channel, "same").await, campaigns);
    let ended = async || (!cluster.router_process().is_running()).then_some(());
    until("the old router to end", ended).await;
    is_over.store(true, Ordering::Relaxed);
    asking.await.expect("nothing was answered");
    let router = cluster.router_process();
    assert_eq!(router.wait().code(), Some(3), "{}", router.log());
    assert!(router.log().contains("the router does not serve"), "{}", router.log());
    assert!(router.log().contains("other clusters have most of its nodes' addresses"));
    // The requests to the old router had no effect.
    for campaign in &campaigns {
        assert_eq!(get(&new_channel, campaign).await.expect("it answers").issued, 0);
    }
    use_all(&new_channel, &campaigns).await;
}

/// Sends requests to a router, which must answer none of them.
async fn ask_in_vain(channel: Channel, campaigns: Vec<String>, is_over: Arc<AtomicBool>) {
    for campaign in campaigns.iter().cycle() {
        let mut coupons = CouponServiceClient::new(channel.clone());
        let issued = issue(&mut coupons, request(campaign, "bob")).await;
        assert!(issued.is_err(), "the old router issued: {issued:?}");
        let read = get(&channel, campaign).await;
        assert!(read.is_err(), "the old router read: {read:?}");
        if is_over.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// A cluster of one node on `port`, and its router with its address.
fn other_cluster(cluster: &Cluster, port: &str) -> (Process, (String, Process)) {
    let data = cluster.dir().join("other");
    let data = data.to_str().expect("it is text");
    let args = ["node", "--node-id", "1", "--data", data, "--listen", port];
    let mut node = Process::start(coupon(&args), &cluster.dir().join("other.log"));
    assert_eq!(node.address(), port);
    let init = run(&["cluster", "init", "--nodes", port, "--shards", "2"]);
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
    let args = ["router", "--listen", "127.0.0.1:0", "--nodes", port];
    let mut router = Process::start(coupon(&args), &cluster.dir().join("other-router.log"));
    (node, (router.address(), router))
}

fn within<T>(message: T) -> Request<T> {
    let mut call = Request::new(message);
    call.set_timeout(Duration::from_secs(20));
    call
}

/// Creates campaigns, each of which has to be acknowledged.
async fn create_all(channel: &Channel, name: &str) -> Vec<String> {
    let mut client = CampaignServiceClient::new(channel.clone());
    let mut created = Vec::new();
    for number in 0..CAMPAIGNS {
        let campaign_id = format!("{name}-{number}");
        let request = v1::CreateCampaignRequest {
            campaign_id: campaign_id.clone(),
            quota: 10,
            request_id: Uuid::new_v4().to_string(),
            ..v1::CreateCampaignRequest::default()
        };
        client.create_campaign(within(request)).await.expect("it is created");
        created.push(campaign_id);
    }
    created
}

async fn get(channel: &Channel, campaign_id: &str) -> Result<v1::Campaign, Status> {
    let mut client = CampaignServiceClient::new(channel.clone());
    let request = v1::GetCampaignRequest { campaign_id: campaign_id.to_owned() };
    let answer = client.get_campaign(within(request)).await?.into_inner();
    Ok(answer.campaign.expect("it comes with the answer"))
}

async fn list_all(channel: &Channel) -> Vec<String> {
    let answer = until("the campaigns to be listed", async || {
        let request = v1::ListCampaignsRequest { page_size: 1_000, ..Default::default() };
        let mut client = CampaignServiceClient::new(channel.clone());
        let listed = client.list_campaigns(within(request)).await.ok();
        listed.filter(|listed| listed.get_ref().unreachable.is_empty())
    });
    let campaigns = answer.await.into_inner().campaigns;
    campaigns.into_iter().map(|campaign| campaign.campaign_id).collect()
}

/// Issues a coupon of each campaign and reads it back in every way there is.
async fn use_all(channel: &Channel, campaigns: &[String]) {
    let listed = list_all(channel).await;
    for campaign in campaigns {
        assert!(listed.contains(campaign), "{campaign} is not listed");
        let mut coupons = CouponServiceClient::new(channel.clone());
        let before = get(channel, campaign).await.expect("it is read").issued;
        let issued = coupons.issue_coupon(within(request(campaign, "ann"))).await;
        let code = issued.expect("it is issued").into_inner().coupon.expect("it comes along").code;
        assert_eq!(get(channel, campaign).await.expect("it is read").issued, before + 1);
        let campaign_id = campaign.clone();
        let export =
            v1::StreamCouponsRequest { campaign_id, ..v1::StreamCouponsRequest::default() };
        let mut parts =
            coupons.stream_coupons(within(export)).await.expect("it is exported").into_inner();
        let mut codes = Vec::new();
        while let Some(part) = parts.message().await.expect("it is exported") {
            codes.extend(part.coupons.into_iter().map(|coupon| coupon.code));
        }
        assert!(codes.contains(&code), "{campaign} has {codes:?}");
    }
}
