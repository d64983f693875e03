//! Forming a cluster, step by step. Every step may be repeated, and waits until it is done: the
//! caller decides how long.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use coupon_admin::{Question, Survey};
use coupon_client::is_transient;
use coupon_proto::internal::cluster_service_client::ClusterServiceClient;
use coupon_proto::internal::{IdentifyRequest, IdentifyResponse, InitClusterRequest};
use coupon_wire::map::map_from_pb;
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::ClusterSpec;
use crate::address::endpoint;
use crate::failure::CallError;

/// The pause before something that is not there yet is looked for again.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// How long a node may take to say who it is.
const IDENTIFY_TIMEOUT: Duration = Duration::from_secs(2);

/// After how long a node that knows nothing of the new cluster is named. Usually all know it within a second.
const JOIN_PATIENCE: Duration = Duration::from_secs(5);

/// A cluster that is ready.
#[derive(Debug)]
pub(crate) struct Formed {
    /// Whether it was there before.
    pub(crate) existed: bool,
    /// What it looks like.
    pub(crate) survey: Survey,
}

/// Forms a cluster and waits until every shard has a leader. What it waits for, `tell` is told once.
///
/// # Errors
/// When a node refuses, an address is malformed, or the cluster exists and is another one. Nodes that do
/// not answer are waited for, for ever.
pub(crate) async fn form(formation: &ClusterSpec, tell: impl Fn(&str)) -> anyhow::Result<Formed> {
    let mut first = None;
    for address in &formation.nodes {
        let client = answering(address, &tell).await?;
        first.get_or_insert(client);
    }
    let mut client = first.context("no node is named")?;
    let request = InitClusterRequest {
        addresses: formation.nodes.clone(),
        shard_count: formation.shards,
        replication_factor: formation.replication,
    };
    let answer = client.init_cluster(request).await.map_err(CallError::from)?.into_inner();
    let mut map = map_from_pb(answer.map.context("the node sent no shard map")?)?;
    if answer.existed {
        formation.check_existing(&map)?;
    }

    tell("waiting for a leader of every shard");
    let began = Instant::now();
    let mut told = false;
    loop {
        let survey = Survey::take(map, Question::default()).await;
        if survey.leaderless().is_empty() {
            return Ok(Formed { existed: answer.existed, survey });
        }
        if !told && began.elapsed() >= JOIN_PATIENCE {
            tell_strangers(&formation.nodes, &tell).await?;
            told = true;
        }
        map = survey.newest_map().await;
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// Names the nodes that answer and are in no cluster: nobody told them where to look for it.
async fn tell_strangers(addresses: &[String], tell: impl Fn(&str)) -> anyhow::Result<()> {
    for address in addresses {
        let mut client = ClusterServiceClient::new(endpoint(address)?.connect_lazy());
        if identify(&mut client).await.is_ok_and(|node| node.cluster_id.is_empty()) {
            tell(&format!(
                "the node at {address} has not joined: start it with --join and the addresses of the others"
            ));
        }
    }
    Ok(())
}

/// Waits until the node at `address` answers.
async fn answering(
    address: &str,
    tell: impl Fn(&str),
) -> anyhow::Result<ClusterServiceClient<Channel>> {
    let endpoint = endpoint(address)?;
    let mut told = false;
    loop {
        let mut client = ClusterServiceClient::new(endpoint.connect_lazy());
        match identify(&mut client).await {
            Ok(_) => return Ok(client),
            Err(status) if is_transient(status.code()) => {}
            Err(status) => {
                return Err(CallError::from(status))
                    .with_context(|| format!("ask {address} who it is"));
            }
        }
        if !told {
            tell(&format!("waiting for the node at {address}"));
            told = true;
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

async fn identify(client: &mut ClusterServiceClient<Channel>) -> Result<IdentifyResponse, Status> {
    let asked = client.identify(IdentifyRequest {});
    match tokio::time::timeout(IDENTIFY_TIMEOUT, asked).await {
        Ok(answer) => answer.map(Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("no answer")),
    }
}
