//! Changes of a group's membership.

use std::collections::BTreeSet;

use coupon_cluster::{NodeId, ReplicaId};
use openraft::ChangeMembers;
use openraft::errors::{ClientWriteError, RaftError};

use super::replica::{RaftReplica, ReplicaError};
use super::types::{Member, TypeConfig};

impl RaftReplica {
    /// Adds a replica that receives the log but does not vote. Returns before it has caught up.
    ///
    /// # Errors
    ///
    /// When the group refuses, for example since it is changing already.
    pub async fn add_learner(&self, replica: ReplicaId, node: NodeId) -> Result<(), ReplicaError> {
        let member = Member { node_id: node.get() };
        let added = self.raft.add_learner(replica.0, member, false).await;
        added.map(|_| ()).map_err(|error| self.membership_error(&error))
    }

    /// Makes `voters` the voters, in one joint change (Raft paper §6), and drops the voters that are
    /// not among them. Learners stay.
    ///
    /// # Errors
    ///
    /// When the group refuses, for example since it is changing already.
    pub async fn change_voters(&self, voters: BTreeSet<u64>) -> Result<(), ReplicaError> {
        let change = ChangeMembers::ReplaceAllVoters(voters);
        let changed = self.raft.change_membership(change, false).await;
        changed.map(|_| ()).map_err(|error| self.membership_error(&error))
    }

    /// Drops replicas that do not vote, and sends them nothing any more.
    ///
    /// # Errors
    ///
    /// When the group refuses, for example since it is changing already or one of them votes.
    pub async fn drop_learners(&self, learners: BTreeSet<u64>) -> Result<(), ReplicaError> {
        let change = ChangeMembers::RemoveNodes(learners);
        let changed = self.raft.change_membership(change, false).await;
        changed.map(|_| ()).map_err(|error| self.membership_error(&error))
    }

    fn membership_error(
        &self,
        error: &RaftError<TypeConfig, ClientWriteError<TypeConfig>>,
    ) -> ReplicaError {
        ReplicaError::Membership { shard: self.key.shard, why: error.to_string() }
    }
}
