//! Whether a node can do its part.

use super::Node;

impl Node {
    /// Why the node cannot do its part; `None` while it can.
    pub(crate) fn unfit(&self) -> Option<&'static str> {
        let replicas = self.registry.all();
        if !self.is_admitted() || (replicas.is_empty() && self.has_place_for_replicas()) {
            Some("its replicas do not run yet")
        } else if !self.registry.watch_diverged().borrow().is_empty() {
            Some("a shard has two histories")
        } else if self.storage.flusher().is_stuck() {
            Some("the disk does not answer")
        } else if self.clock.stamp_micros().is_none() {
            Some("the clock is not trusted")
        } else if !replicas.is_empty() && replicas.iter().all(|replica| !replica.raft.has_quorum())
        {
            Some("no shard has a quorum here")
        } else {
            None
        }
    }

    /// Whether the map gives this node replicas.
    fn has_place_for_replicas(&self) -> bool {
        let (map, me) = (self.known.get(), self.config.node_id);
        map.shards.keys().any(|shard| map.replica_on(me, *shard).is_some())
    }
}
