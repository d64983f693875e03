//! What became of the calls for votes of a replica: when no leader is elected, they say why.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coupon_cluster::NodeId;
use parking_lot::Mutex;
use tonic::Status;

use super::replica::RaftReplica;

/// The latest calls to each voter. Clones share them.
#[derive(Clone, Default)]
pub(super) struct VoteCalls(Arc<Mutex<Latest>>);

#[derive(Default)]
struct Latest {
    /// Calls for votes that count, to any voter. They are made when a quorum has said that it would vote.
    votes: u64,
    voters: BTreeMap<NodeId, Voter>,
}

/// What a voter answered last.
#[derive(Default)]
struct Voter {
    /// Whether it would vote.
    asked: Option<Outcome>,
    /// The vote.
    vote: Option<Outcome>,
}

enum Outcome {
    Granted,
    Refused,
    Failed(String),
    CutOff(Duration),
}

/// A call that is under way. One that is dropped before it has ended was cut off.
pub(super) struct VoteCall {
    calls: VoteCalls,
    voter: Option<NodeId>,
    is_vote: bool,
    began: Instant,
    outcome: Option<Outcome>,
}

impl VoteCalls {
    /// Notes that a call begins: for the vote of a node, or to ask whether it would vote.
    pub(super) fn begin(&self, voter: Option<NodeId>, is_vote: bool) -> VoteCall {
        self.0.lock().votes += u64::from(is_vote);
        VoteCall { calls: self.clone(), voter, is_vote, began: Instant::now(), outcome: None }
    }
}

impl VoteCall {
    /// The voter has answered.
    pub(super) fn answered(mut self, granted: bool) {
        self.outcome = Some(if granted { Outcome::Granted } else { Outcome::Refused });
    }

    /// The call has failed.
    pub(super) fn failed(mut self, status: &Status) {
        // Its own timeout ends it about when openraft's would.
        if !matches!(status.code(), tonic::Code::Cancelled | tonic::Code::DeadlineExceeded) {
            self.outcome = Some(Outcome::Failed(status.message().to_owned()));
        }
    }
}

impl Drop for VoteCall {
    fn drop(&mut self) {
        let Some(voter) = self.voter else { return };
        let outcome = self.outcome.take().unwrap_or(Outcome::CutOff(self.began.elapsed()));
        let mut latest = self.calls.0.lock();
        let voter = latest.voters.entry(voter).or_default();
        let place = if self.is_vote { &mut voter.vote } else { &mut voter.asked };
        *place = Some(outcome);
    }
}

impl fmt::Display for Voter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.asked, &self.vote) {
            (Some(Outcome::Granted), Some(vote)) => write!(f, "would vote, and its vote {vote}"),
            (Some(Outcome::Granted), None) => f.write_str("would vote"),
            (Some(asked), _) => write!(f, "was asked whether it would vote: that {asked}"),
            (None, Some(vote)) => write!(f, "was asked for its vote: that {vote}"),
            (None, None) => f.write_str("was not asked"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted => f.write_str("was granted"),
            Self::Refused => f.write_str("was refused"),
            Self::Failed(why) => write!(f, "failed: {why}"),
            Self::CutOff(after) => write!(f, "was cut off after {} ms", after.as_millis()),
        }
    }
}

impl RaftReplica {
    /// How many votes this replica has asked for since it started, and what became of the latest calls to each voter.
    pub fn vote_calls(&self) -> (u64, String) {
        let latest = self.votes.0.lock();
        let voters: Vec<String> =
            latest.voters.iter().map(|(node, voter)| format!("node {node} {voter}")).collect();
        (latest.votes, voters.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_calls_say_why_no_election_succeeds() {
        let calls = VoteCalls::default();
        let node = |id| NodeId::new(id).ok();
        calls.begin(node(2), false).answered(true);
        drop(calls.begin(node(2), true));
        calls.begin(node(3), false).failed(&Status::unavailable("connection refused"));
        calls.begin(node(4), false).answered(false);
        calls.begin(node(5), false).failed(&Status::cancelled("Timeout expired"));
        let latest = calls.0.lock();
        let said: Vec<String> = latest.voters.values().map(ToString::to_string).collect();
        assert!(said[0].starts_with("would vote, and its vote was cut off after "), "{}", said[0]);
        let of_third = "was asked whether it would vote: that failed: connection refused";
        assert_eq!(said[1], of_third);
        assert_eq!(said[2], "was asked whether it would vote: that was refused");
        assert!(said[3].starts_with("was asked whether it would vote: that was cut off"));
        assert_eq!(latest.votes, 1);
    }
}
