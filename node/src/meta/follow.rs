//! Following the shard map: from the meta replica of this node, if it has one, and from peers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coupon_cluster::{NodeId, ShardMap};
use coupon_proto::internal::cluster_service_client::ClusterServiceClient;
use coupon_proto::internal::{IdentifyRequest, IdentifyResponse, WatchShardMapRequest};
use coupon_transport::{Addressed, Addressee};
use coupon_wire::{map, node};
use tokio::sync::watch;
use tonic::transport::Channel;

use super::store::ShardMapStore;
use crate::peers::{Lane, Peers};
use crate::storage::fatal;

/// The pause before the next peer is tried.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// How long a peer may take to send its first map.
const FIRST_MAP_TIMEOUT: Duration = Duration::from_secs(2);
/// Minimum interval between log lines about one peer at whose address another cluster answers.
const ALARM_INTERVAL: Duration = Duration::from_secs(60);
/// A peer may itself be behind, so another one is asked now and then.
const PEER_AGE_MAX: Duration = Duration::from_secs(30);

/// Takes over every map that the meta replica of this node applies.
pub fn follow_own_replica(
    mut applied: watch::Receiver<Arc<ShardMap>>,
    known: ShardMapStore,
) -> impl Future<Output = ()> + Send + 'static {
    known.note_replica(applied.clone());
    async move {
        loop {
            let map = applied.borrow_and_update().clone();
            learn(&known, &map).await;
            if applied.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Takes over the maps of peers, one after another.
pub async fn follow_peers(me: u64, peers: Peers, known: ShardMapStore) {
    let mut said: BTreeMap<NodeId, Instant> = BTreeMap::new();
    for turn in 0_usize.. {
        let others: Vec<_> =
            known.get().nodes.keys().copied().filter(|node| node.get() != me).collect();
        if !others.is_empty() {
            let peer = others[turn % others.len()];
            let address = known.get().nodes.get(&peer).map(|node| node.address.clone());
            if let Some(channel) = address.and_then(|to| peers.channel_to(to, Lane::Control)) {
                let watched = watch_peer(channel, &known);
                // A peer that ends the stream or says nothing more is followed by the next one.
                let watched = tokio::time::timeout(PEER_AGE_MAX, watched).await;
                if let Ok(Err(foreign)) = watched
                    && said.get(&peer).is_none_or(|at| at.elapsed() >= ALARM_INTERVAL)
                {
                    said.insert(peer, Instant::now());
                    tracing::warn!(
                        peer = peer.get(),
                        node = foreign.node_id,
                        cluster_id = foreign.cluster_id,
                        "ANOTHER CLUSTER answers at the address of a peer: its answers are ignored",
                    );
                }
            }
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// Follows the map of the node that listens there, whichever of the cluster it is: after a long absence, all
/// stores in the known map may have been replaced.
///
/// # Errors
/// The node that answers, when it is of another cluster.
async fn watch_peer(channel: Channel, known: &ShardMapStore) -> Result<(), IdentifyResponse> {
    let mut stranger = ClusterServiceClient::new(channel.clone());
    let asked = stranger.identify(IdentifyRequest {});
    let Ok(Ok(peer)) = tokio::time::timeout(FIRST_MAP_TIMEOUT, asked).await else { return Ok(()) };
    let peer = peer.into_inner();
    if peer.cluster_id != known.get().cluster_id {
        // A node in no cluster yet is joining this one.
        return if peer.cluster_id.is_empty() { Ok(()) } else { Err(peer) };
    }
    let opening = async {
        let to = Addressee::who_answered(&node::identity_from_pb(&peer).ok()?).ok()?;
        let mut client = ClusterServiceClient::new(Addressed::new(channel, to));
        client.watch_shard_map(WatchShardMapRequest {}).await.ok()
    };
    let Ok(Some(answer)) = tokio::time::timeout(FIRST_MAP_TIMEOUT, opening).await else {
        return Ok(());
    };
    let mut maps = answer.into_inner();
    while let Ok(Some(message)) = maps.message().await {
        match message.map.map(map::map_from_pb) {
            Some(Ok(map)) => learn(known, &Arc::new(map)).await,
            Some(Err(error)) => tracing::warn!(%error, "a peer sent a malformed shard map"),
            None => {}
        }
    }
    Ok(())
}

async fn learn(known: &ShardMapStore, map: &Arc<ShardMap>) {
    if map.is_initialized()
        && let Err(fault) = known.learn(map).await
    {
        fatal::abort("keeping the shard map", &fault);
    }
}
