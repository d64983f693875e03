//! A shard map as a router reads it: where campaigns, nodes and code keys are. Pure.
//!
//! Made once for each map and shared by all requests, never changed.

use std::collections::{BTreeMap, BTreeSet};

use coupon_cluster::{CampaignName, CodeCipher, Epoch, NodeId, Ring, ShardId, ShardMap};
use coupon_transport::Addressee;
use thiserror::Error;

/// Why a shard map cannot be used.
#[derive(Debug, Error)]
pub(crate) enum MapError {
    /// The map has no ring: the cluster is not formed yet.
    #[error("the ring of the map has no shards")]
    EmptyRing,
    /// No call can name the store of a node.
    #[error("the store id of node {0} in the map is malformed")]
    StoreId(NodeId),
}

/// What a router takes from one version of the shard map.
#[derive(Debug)]
pub(crate) struct Topology {
    cluster_id: String,
    version: u64,
    ring: Ring,
    shards: BTreeMap<ShardId, Vec<NodeId>>,
    nodes: BTreeMap<NodeId, Peer>,
    codes: CodeCipher,
}

/// Which shard a command or question goes to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Destination<'a> {
    /// The one that owns a campaign.
    Owner(&'a CampaignName),
    /// This one, which issued a coupon.
    Shard(ShardId),
}

/// A node as the map names it.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Where it is called.
    pub(crate) address: String,
    /// The addressee of calls to it.
    pub(crate) addressee: Addressee,
}

impl Topology {
    /// Takes what a router needs from a map.
    ///
    /// # Errors
    /// [`MapError`] when the map is of no cluster, or names a store that no call can name.
    pub(crate) fn new(map: &ShardMap) -> Result<Self, MapError> {
        let ring = map.ring().ok_or(MapError::EmptyRing)?;
        // A replica whose disk is lost leads nothing; a joining one may, before its map says that it has
        // joined.
        let leaders = |shard: ShardId| map.owner_nodes(shard).into_iter().collect();
        let shards = map.shards.keys().map(|shard| (*shard, leaders(*shard))).collect();

        let mut nodes = BTreeMap::new();
        for (id, node) in &map.nodes {
            let addressee = Addressee::new(&map.cluster_id, *id, &node.store_id);
            let addressee = addressee.map_err(|_| MapError::StoreId(*id))?;
            nodes.insert(*id, Peer { address: node.address.clone(), addressee });
        }

        Ok(Self {
            cluster_id: map.cluster_id.clone(),
            version: map.version,
            ring,
            shards,
            nodes,
            codes: CodeCipher::new(map.code_keys.values()),
        })
    }

    /// The cluster that the map is of.
    pub(crate) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Grows with every change of the map.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Grows with every change of the ring.
    pub(crate) fn epoch(&self) -> Epoch {
        self.ring.epoch()
    }

    /// The shard that owns a campaign.
    pub(crate) fn owner(&self, campaign: &CampaignName) -> ShardId {
        self.ring.owner(campaign)
    }

    /// The shard that a command or question goes to.
    pub(crate) fn shard_of(&self, to: Destination<'_>) -> ShardId {
        match to {
            Destination::Owner(campaign) => self.owner(campaign),
            Destination::Shard(shard) => shard,
        }
    }

    /// The shards that own campaigns, ascending.
    pub(crate) fn ring_shards(&self) -> &BTreeSet<ShardId> {
        self.ring.shards()
    }

    /// The nodes that may lead a shard; none when the shard is not in the map.
    pub(crate) fn replicas(&self, shard: ShardId) -> &[NodeId] {
        self.shards.get(&shard).map_or(&[], Vec::as_slice)
    }

    /// The peer for a node; `None` when it is not in the map.
    pub(crate) fn peer(&self, node: NodeId) -> Option<&Peer> {
        self.nodes.get(&node)
    }

    /// Where all nodes are called.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &str> {
        self.nodes.values().map(|peer| peer.address.as_str())
    }

    /// Makes and reads codes, with the keys that the map has.
    pub(crate) fn codes(&self) -> &CodeCipher {
        &self.codes
    }
}
