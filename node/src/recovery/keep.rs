//! Carries out the choice of a history.
//!
//! The kept history becomes one that its replica can continue: where too few of a shard's voters are left, a
//! last entry in its log removes those that were given up, and the replica leads as soon as it starts. Its
//! whole log counts, even entries not known to be committed: their callers may have been answered. A command
//! in the log also skips code counters that another history could have used, so all replicas that join later
//! do the same.
//!
//! A store that is given up is marked as lost. When its node starts, the store is moved aside, and a fresh
//! one asks to replace it, fed from the kept history.

use std::collections::BTreeSet;
use std::path::Path;

use coupon_cluster::{MetaCommand, NodeId, ShardId};
use coupon_proto::internal as pb;
use coupon_proto::internal::command_entry::InternalCommand;
use coupon_proto::internal::log_entry::Payload;
use coupon_wire::meta;
use prost::Message as _;
use rocksdb::WriteBatch;

use super::{Directory, RecoveryError, ReplicaFound};
use crate::storage::floor::Floor;
use crate::storage::identity::Stamp;
use crate::storage::keys::LogKeys;
use crate::storage::{lost, renewal, snapshot};

/// Number of versions of the shard map that are skipped: a node that is not among the directories, or a router,
/// may know a newer map of the history that was given up.
const MAP_VERSIONS_SKIPPED: u64 = 10_000;

/// The change made to a replica that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It goes on with the remaining voters.
    WithTheOthers,
    /// It goes on with this number of voters; the others are removed.
    WithVoters(usize),
}

/// Prepares a node to go on with what its directory holds, without the nodes that were given up. Returns what
/// was done to each of its replicas; durable on return. Idempotent. `map_version` is the
/// newest version of the shard map in any of the directories.
///
/// # Errors
///
/// When one of its replicas is not a voter, or the disk fails. Changes to other replicas stay, and do no
/// harm.
pub fn keep(
    dir: &Path,
    given_up: &BTreeSet<NodeId>,
    map_version: u64,
) -> Result<Vec<(ShardId, Kept)>, RecoveryError> {
    let directory = Directory::open(dir)?;
    let mut done = Vec::new();
    for found in directory.replicas()? {
        let kept = strike_off(&directory, &found, given_up, map_version)?;
        done.push((found.shard, kept));
    }
    let (path, store_id) = (directory.path.clone(), directory.store_id.clone());
    directory.close()?;
    // Last, so that a marked store does not run before all of its replicas can.
    Floor::create(&path)?;
    lost::clear(&path)?;
    if path != dir || renewal::has_begun(dir)? {
        renewal::reinstate(dir, &store_id)?;
    }
    Ok(done)
}

/// Marks the store in a directory as lost, so that a fresh one replaces it when its node starts. Durable on
/// return. A store that was moved aside already stays there.
///
/// # Errors
///
/// When the directory is not a node's, or cannot be written.
pub fn give_up(dir: &Path) -> Result<(), RecoveryError> {
    let stamp = Stamp::read(dir)?;
    if stamp.is_member() {
        lost::mark(dir, "it was given up for the history that another node holds")?;
    }
    Ok(())
}

/// Removes the voters that were given up from a shard, if too few others are left or it has two histories.
fn strike_off(
    directory: &Directory,
    found: &ReplicaFound,
    given_up: &BTreeSet<NodeId>,
    map_version: u64,
) -> Result<Kept, RecoveryError> {
    let (storage, keys) = (directory.storage(), LogKeys::new(found.shard, found.replica));
    let not_a_voter = RecoveryError::NotAVoter { node: directory.node, shard: found.shard };
    let applied = snapshot::applied(storage, found.shard, found.replica)?.unwrap_or_default();
    let mut membership = applied.membership.and_then(|stored| stored.membership);
    for entry in directory.log_after(keys, 0) {
        if let Some(Payload::Membership(newer)) = entry?.payload {
            membership = Some(newer);
        }
    }
    let Some(mut membership) = membership else { return Err(not_a_voter) };
    let is_given_up = |replica: &u64| {
        let member = membership.members.iter().find(|member| member.replica_id == *replica);
        let node = member.and_then(|member| NodeId::new(member.node_id).ok());
        node.is_none_or(|node| given_up.contains(&node))
    };
    let voters: BTreeSet<u64> =
        membership.configs.iter().flat_map(|config| &config.replica_ids).copied().collect();
    let left: BTreeSet<u64> = voters.iter().copied().filter(|id| !is_given_up(id)).collect();
    let has_quorum = membership.configs.iter().all(|config| {
        let left = config.replica_ids.iter().filter(|id| !is_given_up(id)).count();
        left * 2 > config.replica_ids.len()
    });
    let was_stopped = found.diverged_index.is_some() || directory.lost.is_some();
    if has_quorum && !was_stopped {
        return Ok(Kept::WithTheOthers);
    }
    if !left.contains(&found.replica.0) {
        return Err(not_a_voter);
    }
    let struck: BTreeSet<u64> = voters.difference(&left).copied().collect();
    membership.members.retain(|member| !struck.contains(&member.replica_id));
    membership.configs = vec![pb::VoterSet { replica_ids: left.iter().copied().collect() }];

    let last = directory.last_log_id(&keys)?.unwrap_or_default();
    let term = found.term.max(last.term) + 1;
    let entry = |index: u64, payload| pb::LogEntry {
        log_id: Some(pb::LogId { term, leader_replica_id: found.replica.0, index }),
        payload: Some(payload),
    };
    let mut entries = vec![entry(last.index + 1, Payload::Membership(membership))];
    entries.push(entry(last.index + 2, Payload::Normal(go_on(found.shard, map_version).into())));
    let mut batch = WriteBatch::default();
    for entry in &entries {
        let index = entry.log_id.as_ref().map_or(0, |id| id.index);
        batch.put_cf(storage.log(), keys.entry(index), entry.encode_to_vec());
    }
    let vote = pb::Vote { term, replica_id: found.replica.0, committed: false };
    batch.put_cf(storage.meta(), keys.vote(), vote.encode_to_vec());
    batch.delete_cf(storage.meta(), keys.diverged());
    storage.write_synced(batch)?;
    Ok(Kept::WithVoters(left.len()))
}

/// The command that a history which was chosen goes on with: it leaves out what another one could have used,
/// code counters or versions of the shard map.
fn go_on(shard: ShardId, map_version: u64) -> Vec<u8> {
    if shard == ShardId::META {
        let version = map_version.saturating_add(MAP_VERSIONS_SKIPPED);
        return meta::command_to_pb(&MetaCommand::Recover { version }).encode_to_vec();
    }
    let skip = InternalCommand::SkipCounters(pb::SkipCountersCommand {});
    pb::CommandEntry { internal_command: Some(skip), ..Default::default() }.encode_to_vec()
}
