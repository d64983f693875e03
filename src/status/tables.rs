//! The status of a cluster for people.

use coupon_admin::{ClusterStatus, NodeStatus, ReplicaStatus, ShardStatus};
use coupon_cluster::ReplicaRole;

use crate::output::table;

/// How much of a digest is shown: enough to see a difference.
const DIGEST_SHOWN: usize = 12;

/// The status as text.
pub(super) fn render(status: &ClusterStatus) -> String {
    format!(
        "cluster {}  map version {}  epoch {}\n\n{}\n\n{}",
        status.cluster_id,
        status.map_version,
        status.epoch,
        nodes(&status.nodes),
        shards(&status.shards),
    )
}

fn nodes(nodes: &[NodeStatus]) -> comfy_table::Table {
    let mut table = table(&["NODE", "ADDRESS", "STATE", "LEADS", "CLOCK OFFSET", "VERSION"]);
    for node in nodes {
        let offset = node.clock_offset_micros.map(|micros| format!("{} ms", micros / 1_000));
        table.add_row([
            node.node_id.to_string(),
            node.address.clone(),
            node.state.as_str().to_owned(),
            node.leads.to_string(),
            offset.unwrap_or_else(none),
            node.version.clone().unwrap_or_else(none),
        ]);
    }
    table
}

fn shards(shards: &[ShardStatus]) -> comfy_table::Table {
    let header =
        ["SHARD", "REPLICA", "NODE", "STATE", "ROLE", "TERM", "LAST", "APPLIED", "LAG", "PURGED"];
    let digests = shards.iter().flat_map(|shard| &shard.replicas).any(|one| one.digest.is_some());
    let mut table = table(&header);
    if digests {
        table.set_header(header.into_iter().chain(["DIGEST"]));
    }
    for shard in shards {
        for replica in &shard.replicas {
            let mut row = row(shard, replica);
            if digests {
                let digest =
                    replica.digest.as_deref().and_then(|digest| digest.get(..DIGEST_SHOWN));
                row.push(digest.map_or_else(none, str::to_owned));
            }
            table.add_row(row);
        }
    }
    table
}

fn row(shard: &ShardStatus, replica: &ReplicaStatus) -> Vec<String> {
    let number = |number: Option<u64>| number.map_or_else(none, |number| number.to_string());
    // Shard 0 owns no campaigns; it holds the shard map.
    let shard_id = if shard.shard_id == 0 { "meta".into() } else { shard.shard_id.to_string() };
    vec![
        shard_id,
        replica.replica_id.to_string(),
        replica.node_id.to_string(),
        replica.state.clone(),
        role(replica.role).as_str().to_owned(),
        number(replica.term),
        number(replica.last_log_index),
        number(replica.applied_index),
        number(replica.lag),
        number(replica.purged_index),
    ]
}

/// What people are told of a role: a replica that was there from the beginning votes like any other.
fn role(role: ReplicaRole) -> ReplicaRole {
    if role == ReplicaRole::Initial { ReplicaRole::Voter } else { role }
}

fn none() -> String {
    "-".to_owned()
}
