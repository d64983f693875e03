//! Who should lead: leadership spread evenly over the nodes.
//!
//! Any voter may lead a group, and elections decide who does. This is only the wish that leaders
//! compare themselves with to hand over, and every member computes the same one.

use std::collections::BTreeMap;

use super::ShardMap;
use crate::ids::{NodeId, ReplicaId, ShardId};

impl ShardMap {
    /// The voter that should lead `shard`, if it has any; see [`ShardMap::preferred_leaders`],
    /// which costs as much.
    pub fn preferred_leader(&self, shard: ShardId) -> Option<ReplicaId> {
        self.preferred_leaders().get(&shard).copied()
    }

    /// The voter that should lead, for each shard that has voters.
    ///
    /// Shard by shard, in the order of their ids, the node that was given the fewest leaders so
    /// far gets the next one; among equals, the one whose replica has the smallest id. One that
    /// retires is the last choice. A change of the voters of one shard may therefore move the choice
    /// for shards after it.
    pub fn preferred_leaders(&self) -> BTreeMap<ShardId, ReplicaId> {
        let mut led: BTreeMap<NodeId, u32> = BTreeMap::new();
        let mut leaders = BTreeMap::new();
        for (&shard, replicas) in &self.shards {
            let least_busy = replicas.iter().filter(|(_, replica)| replica.is_voter()).min_by_key(
                |(id, replica)| {
                    let led = led.get(&replica.node).copied().unwrap_or(0);
                    (replica.is_to_go(), led, **id)
                },
            );
            if let Some((&id, replica)) = least_busy {
                *led.entry(replica.node).or_default() += 1;
                leaders.insert(shard, id);
            }
        }
        leaders
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::genesis::tests::genesis_of;
    use crate::map::{MetaCommand, Node, Origin};

    fn led(map: &ShardMap) -> BTreeMap<NodeId, u32> {
        let mut led: BTreeMap<NodeId, u32> = map.nodes.keys().map(|&node| (node, 0)).collect();
        for (shard, leader) in map.preferred_leaders() {
            *led.get_mut(&map.shards[&shard][&leader].node).unwrap() += 1;
        }
        led
    }

    #[test]
    fn leaders_are_spread_evenly() {
        for (nodes, shards, factor) in
            [(1, 8, 1), (3, 1, 3), (3, 8, 3), (4, 16, 3), (5, 32, 5), (10, 100, 3), (7, 1023, 5)]
        {
            let led = led(&genesis_of(nodes, shards, factor));
            let (most, least) = (led.values().max().unwrap(), led.values().min().unwrap());
            assert!(most - least <= 1, "{nodes} nodes, {shards} shards: {led:?}");
        }
    }

    #[test]
    fn a_node_that_lost_its_disk_leads_nothing() {
        let mut map = genesis_of(3, 8, 3);
        let id = NodeId::new(3).unwrap();
        let (store_id, start_id) = ("new".into(), "start".into());
        let node = Node { address: "n3:7000".into(), store_id, start_id };
        let (starts, origin) = (Vec::new(), Origin::New);
        let seen_start = "start-3".to_owned();
        map.apply(MetaCommand::RegisterNode { id, node, starts, origin, seen_start }).unwrap();
        let led: Vec<u32> = led(&map).into_values().collect();
        assert_eq!(led, [4, 5, 0]);
    }

    #[test]
    fn one_leader_is_asked_for_as_all_are() {
        let map = genesis_of(3, 8, 3);
        assert_eq!(map.preferred_leader(ShardId::META), Some(ReplicaId(1)));
        for (shard, leader) in map.preferred_leaders() {
            assert_eq!(map.preferred_leader(shard), Some(leader));
        }
        assert_eq!(map.preferred_leader(ShardId::new(900).unwrap()), None);
    }
}
