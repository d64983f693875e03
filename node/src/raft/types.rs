//! Our types for openraft's type parameters, and their form on disk and on the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use coupon_cluster::{MetaRefusal, ShardMap};
use coupon_ledger::Outcome;
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use openraft::entry::RaftEntry as _;
use openraft::impls::leader_id_adv::LeaderId;
use openraft::vote::RaftVote as _;

use super::pace::RaftRuntime;

/// What a normal log entry carries: an encoded `CommandEntry` or, on the meta shard, `MetaCommand`.
/// Encoded once by the leader and passed on as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Proposal(pub Bytes);

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Recipients stay out of logs.
        write!(f, "Proposal({} bytes)", self.0.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What applying an entry returns to its proposer.
#[derive(Debug)]
pub enum Applied {
    /// A blank entry or a membership change.
    Nothing,
    /// The outcomes of a `CommandEntry`, one for each command.
    Ledger(Vec<Outcome>),
    /// The shard map after a `MetaCommand`, or why it was refused and the version of the map.
    Meta(Result<Arc<ShardMap>, (MetaRefusal, u64)>),
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => write!(f, "nothing"),
            Self::Ledger(outcomes) => write!(f, "{} outcomes", outcomes.len()),
            Self::Meta(Ok(map)) => write!(f, "map version {}", map.version),
            Self::Meta(Err((refusal, _))) => write!(f, "{refusal}"),
        }
    }
}

/// A member of a group: the node its replica runs on. Where that node is, the shard map says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// The node's id.
    pub node_id: u64,
}

openraft::declare_raft_types!(
    /// The types of a group. `NodeId` is a replica id: unique in the cluster, never used again.
    pub TypeConfig:
        D = Proposal,
        R = Applied,
        NodeId = u64,
        Node = Member,
        AsyncRuntime = RaftRuntime,
);

/// The id of a log entry.
pub type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
/// A vote.
pub type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
/// A log entry.
pub type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
/// A membership and the entry that holds it.
pub type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
/// A membership.
pub type Membership = openraft::Membership<u64, Member>;
/// What a snapshot holds.
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;

/// A log id as a message.
pub fn log_id_to_pb(id: &LogId) -> pb::LogId {
    pb::LogId { term: id.leader_id.term, leader_replica_id: id.leader_id.node_id, index: id.index }
}

/// A log id from a message.
pub fn log_id_from_pb(id: &pb::LogId) -> LogId {
    LogId::new(LeaderId { term: id.term, node_id: id.leader_replica_id }, id.index)
}

/// A vote as a message.
pub fn vote_to_pb(vote: &Vote) -> pb::Vote {
    pb::Vote {
        term: vote.leader_id().term,
        replica_id: vote.leader_id().node_id,
        committed: vote.is_committed(),
    }
}

/// A vote from a message.
pub fn vote_from_pb(vote: &pb::Vote) -> Vote {
    let leader = LeaderId { term: vote.term, node_id: vote.replica_id };
    Vote::from_leader_id(leader, vote.committed)
}

/// A membership as a message.
pub fn membership_to_pb(membership: &Membership) -> pb::Membership {
    pb::Membership {
        configs: membership
            .get_joint_config()
            .iter()
            .map(|voters| pb::VoterSet { replica_ids: voters.iter().copied().collect() })
            .collect(),
        members: membership
            .nodes()
            .map(|(replica_id, member)| pb::Member {
                replica_id: *replica_id,
                node_id: member.node_id,
            })
            .collect(),
    }
}

/// A membership from a message.
///
/// # Errors
///
/// When a voter is not among the members.
fn membership_from_pb(membership: pb::Membership) -> Result<Membership, Malformed> {
    let configs: Vec<BTreeSet<u64>> = membership
        .configs
        .into_iter()
        .map(|voters| voters.replica_ids.into_iter().collect())
        .collect();
    let members: BTreeMap<u64, Member> = membership
        .members
        .into_iter()
        .map(|member| (member.replica_id, Member { node_id: member.node_id }))
        .collect();
    if configs.is_empty() && members.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(configs, members).map_err(|_| Malformed("membership"))
}

/// A stored membership as a message.
fn stored_membership_to_pb(stored: &StoredMembership) -> pb::StoredMembership {
    pb::StoredMembership {
        log_id: stored.log_id().as_ref().map(log_id_to_pb),
        membership: Some(membership_to_pb(stored.membership())),
    }
}

/// A stored membership from a message.
///
/// # Errors
///
/// See [`membership_from_pb`].
fn stored_membership_from_pb(stored: pb::StoredMembership) -> Result<StoredMembership, Malformed> {
    let log_id = stored.log_id.as_ref().map(log_id_from_pb);
    let membership = membership_from_pb(stored.membership.unwrap_or_default())?;
    Ok(StoredMembership::new(log_id, membership))
}

/// How far a state has come, as a message.
pub fn applied_to_pb(applied: Option<&LogId>, membership: &StoredMembership) -> pb::AppliedRecord {
    pb::AppliedRecord {
        last_applied: applied.map(log_id_to_pb),
        membership: Some(stored_membership_to_pb(membership)),
    }
}

/// How far a state has come, from a message.
///
/// # Errors
///
/// When a voter is not among the members.
pub fn applied_from_pb(
    record: pb::AppliedRecord,
) -> Result<(Option<LogId>, StoredMembership), Malformed> {
    let applied = record.last_applied.as_ref().map(log_id_from_pb);
    let membership = stored_membership_from_pb(record.membership.unwrap_or_default())?;
    Ok((applied, membership))
}

/// An entry as a message. The payload is shared, not copied.
pub fn entry_to_pb(entry: &Entry) -> pb::LogEntry {
    use openraft::EntryPayload;
    use pb::log_entry::Payload;
    pb::LogEntry {
        log_id: Some(log_id_to_pb(&entry.log_id)),
        payload: match &entry.payload {
            EntryPayload::Blank => Some(Payload::Blank(pb::BlankEntry {})),
            EntryPayload::Normal(proposal) => Some(Payload::Normal(proposal.0.clone())),
            EntryPayload::Membership(membership) => {
                Some(Payload::Membership(membership_to_pb(membership)))
            }
        },
    }
}

/// An entry from a message.
///
/// # Errors
///
/// When it has no log id, no payload that this version knows, or a malformed membership.
pub fn entry_from_pb(entry: pb::LogEntry) -> Result<Entry, Malformed> {
    use openraft::EntryPayload;
    use pb::log_entry::Payload;
    let log_id = log_id_from_pb(&entry.log_id.ok_or(Malformed("log id of an entry"))?);
    let payload = match entry.payload.ok_or(Malformed("payload of an entry"))? {
        Payload::Blank(pb::BlankEntry {}) => EntryPayload::Blank,
        Payload::Normal(bytes) => EntryPayload::Normal(Proposal(bytes)),
        Payload::Membership(membership) => {
            EntryPayload::Membership(membership_from_pb(membership)?)
        }
    };
    Ok(Entry::new(log_id, payload))
}

/// How many bytes of memory an entry takes, roughly.
pub fn entry_bytes(entry: &Entry) -> usize {
    use openraft::EntryPayload;
    /// What an entry takes besides its payload.
    const OVERHEAD: usize = 64;
    OVERHEAD
        + match &entry.payload {
            EntryPayload::Normal(proposal) => proposal.0.len(),
            EntryPayload::Blank | EntryPayload::Membership(_) => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openraft::EntryPayload;
    use prost::Message as _;

    fn log_id(term: u64, replica: u64, index: u64) -> LogId {
        LogId::new(LeaderId { term, node_id: replica }, index)
    }

    #[test]
    fn entries_round_trip() {
        let membership = Membership::new(
            vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 3])],
            BTreeMap::from([1, 2, 3, 4].map(|id| (id, Member { node_id: id + 10 }))),
        )
        .unwrap();
        for payload in [
            EntryPayload::Blank,
            EntryPayload::Normal(Proposal(Bytes::from_static(b"abc"))),
            EntryPayload::Membership(membership),
        ] {
            let entry = Entry::new(log_id(3, 2, 9), payload);
            let back = entry_from_pb(entry_to_pb(&entry)).unwrap();
            assert_eq!(format!("{back:?}"), format!("{entry:?}"));
        }
    }

    #[test]
    fn votes_round_trip() {
        for committed in [false, true] {
            let vote = Vote::from_leader_id(LeaderId { term: 7, node_id: 4 }, committed);
            assert_eq!(vote_from_pb(&vote_to_pb(&vote)), vote);
        }
    }

    #[test]
    fn an_entry_without_a_log_id_is_malformed() {
        let blank = pb::log_entry::Payload::Blank(pb::BlankEntry {});
        assert!(entry_from_pb(pb::LogEntry { log_id: None, payload: Some(blank) }).is_err());
    }

    #[test]
    fn a_payload_of_a_newer_version_is_not_taken_for_a_blank_entry() {
        let id = log_id(3, 2, 9);
        let mut bytes =
            pb::LogEntry { log_id: Some(log_id_to_pb(&id)), payload: None }.encode_to_vec();
        let decoded = |bytes: &[u8]| pb::LogEntry::decode(bytes).unwrap();
        assert!(entry_from_pb(decoded(&bytes)).is_err());
        // Field 5, a message without a field.
        bytes.extend([0x2a, 0]);
        assert!(entry_from_pb(decoded(&bytes)).is_err());
    }
}
