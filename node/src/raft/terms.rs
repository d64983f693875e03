//! The record of which leader wrote which part of a history.
//!
//! A purged log, and a snapshot, no longer have the ids of their entries. The state keeps where each leader's
//! entries begin: a few numbers for each election. So a replica that is sent a snapshot can still tell
//! whether the history behind it is its own.

use coupon_proto::internal as pb;
use openraft::impls::leader_id_adv::LeaderId;

use super::types::LogId;

/// Maximum number of leaders remembered, the latest ones. A shard elects a few leaders a day.
const LEADERS_MAX: usize = 1_024;

/// Where the entries of each leader begin, in order. Equal on all replicas at the same index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms(Vec<pb::TermStart>);

impl Terms {
    /// Reads a message.
    pub fn from_pb(terms: pb::TermStarts) -> Self {
        Self(terms.starts)
    }

    /// As a message.
    pub fn to_pb(&self) -> pb::TermStarts {
        pb::TermStarts { starts: self.0.clone() }
    }

    /// Notes the next applied entry. Returns whether it is the first of its leader.
    pub fn note(&mut self, id: &LogId) -> bool {
        // Every initial replica writes the entry at index 0 itself, under an id of its own.
        let (term, leader_replica_id) = (id.leader_id.term, id.leader_id.node_id);
        let goes_on = self
            .0
            .last()
            .is_some_and(|last| (last.term, last.leader_replica_id) == (term, leader_replica_id));
        if id.index == 0 || goes_on {
            return false;
        }
        if self.0.len() == LEADERS_MAX {
            self.0.remove(0);
        }
        self.0.push(pb::TermStart { term, leader_replica_id, first_index: id.index });
        true
    }

    /// Whether an entry that is committed elsewhere contradicts this history, which extends beyond it:
    /// another leader wrote the entry at its index here. `false` where that is not remembered.
    pub fn contradicts(&self, id: &LogId) -> bool {
        self.id_at(id.index).is_some_and(|own| own != *id)
    }

    /// The id of the entry at an index that was applied; `None` where that is not remembered.
    pub fn id_at(&self, index: u64) -> Option<LogId> {
        let wrote = self.0.iter().rev().find(|start| start.first_index <= index)?;
        let leader = LeaderId { term: wrote.term, node_id: wrote.leader_replica_id };
        Some(LogId::new(leader, index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(term: u64, replica: u64, index: u64) -> LogId {
        LogId::new(LeaderId { term, node_id: replica }, index)
    }

    #[test]
    fn an_entry_of_another_history_is_told_by_who_wrote_it() {
        let mut terms = Terms::default();
        let noted = [id(0, 1, 0), id(1, 1, 1), id(1, 1, 2), id(3, 2, 3), id(3, 2, 4), id(4, 1, 5)];
        let firsts = noted.map(|id| terms.note(&id));
        assert_eq!(firsts, [false, true, false, true, false, true]);
        for own in noted {
            assert!(!terms.contradicts(&own), "{own}");
        }
        assert!(terms.contradicts(&id(2, 1, 3)) && terms.contradicts(&id(1, 1, 4)));
        assert_eq!(Terms::from_pb(terms.to_pb()), terms);
    }

    #[test]
    fn what_is_no_longer_remembered_contradicts_nothing() {
        let mut terms = Terms::default();
        for term in 1..=2 * LEADERS_MAX as u64 {
            terms.note(&id(term, 1, term));
        }
        assert_eq!(terms.0.len(), LEADERS_MAX);
        assert!(!terms.contradicts(&id(9, 9, 3)));
        assert!(terms.contradicts(&id(9, 9, 2 * LEADERS_MAX as u64)));
    }
}
