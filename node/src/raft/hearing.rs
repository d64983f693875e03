//! What a follower makes of its leader's heartbeats.
//!
//! The leader of an idle shard says the same for hours: its vote, the last entry that this follower is known to have,
//! and what is committed. openraft's core takes such a heartbeat once. From then on the same one is answered alike
//! without the core, as long as the vote on disk is the leader's.
//!
//! Such an answer says that this follower has not voted for anybody else yet: a vote is on disk before it is given. So
//! with the answers of a quorum, a leader that is asked for a linearizable read still knows that nobody had replaced it
//! when it was asked. And the follower still has the entry that the leader names, since only another leader truncates
//! its log.
//!
//! The core does not notice then that its leader is there. So
//!
//! - its election timer rests, and is looked at again when an election is due,
//! - and before it is asked for a vote, it is told of the heartbeat if the leader's lease has not run out since.

use std::sync::Arc;

use coupon_env::entropy;
use openraft::errors::RaftError;
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::options::RaftOptions;
use super::replica::RaftReplica;
use super::types::{LogId, TypeConfig, Vote};

/// The number of heartbeat intervals after a heartbeat in which a timer that the heartbeat has reset may rest. An
/// election timeout is longer than three.
const RESTS_MAX: u32 = 2;

/// What a heartbeat says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Heartbeat {
    vote: Vote,
    /// The last entry that the follower is known to have.
    previous: Option<LogId>,
    committed: Option<LogId>,
}

impl Heartbeat {
    /// What a leader's message says, if it is a heartbeat.
    fn of(request: &AppendEntriesRequest<TypeConfig>) -> Option<Self> {
        let (previous, committed) = (request.prev_log_id, request.leader_commit);
        let heartbeat = Self { vote: request.vote, previous, committed };
        request.entries.is_empty().then_some(heartbeat)
    }

    fn into_request(self) -> AppendEntriesRequest<TypeConfig> {
        let Self { vote, previous, committed } = self;
        let (prev_log_id, leader_commit) = (previous, committed);
        AppendEntriesRequest { vote, prev_log_id, entries: Vec::new(), leader_commit }
    }
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    heartbeat: Heartbeat,
    at: Instant,
    /// Whether the core knows of it.
    by_core: bool,
}

/// The last heartbeat that a replica has taken since it was last in doubt about its leader. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Hearing {
    last: Arc<Mutex<Option<Heard>>>,
    options: RaftOptions,
}

impl Hearing {
    /// Nothing was heard yet.
    pub(super) fn new(options: RaftOptions) -> Self {
        Self { last: Arc::default(), options }
    }

    /// Forgets the leader.
    pub(super) fn forget(&self) {
        *self.last.lock() = None;
    }

    /// Notes a heartbeat that the core has taken.
    fn note(&self, heartbeat: Heartbeat) {
        *self.last.lock() = Some(Heard { heartbeat, at: Instant::now(), by_core: true });
    }

    /// Whether a heartbeat is the same as the last one. Notes it then.
    fn is_again(&self, heartbeat: Heartbeat) -> bool {
        let mut last = self.last.lock();
        let heard = last.as_mut().filter(|heard| heard.heartbeat == heartbeat);
        let Some(heard) = heard else { return false };
        (heard.at, heard.by_core) = (Instant::now(), false);
        true
    }

    /// The last heartbeat, if the leader's lease has not run out since and the core does not know.
    fn lease_beside_core(&self) -> Option<Heartbeat> {
        let last = (*self.last.lock())?;
        // As openraft is told.
        let lease = self.options.election_timeout / 3 * 2;
        (!last.by_core && last.at.elapsed() < lease).then_some(last.heartbeat)
    }

    /// When the election timer has to be looked at, unless a leader is heard before. A timer that does not know of the
    /// last heartbeat is late by `delay`, a part of the time in which followers stand for election.
    pub(super) fn due(&self, delay: f64) -> Instant {
        self.last.lock().map_or_else(Instant::now, |heard| self.due_after(heard, delay))
    }

    fn due_after(&self, heard: Heard, delay: f64) -> Instant {
        let RaftOptions { heartbeat_interval, election_timeout, .. } = self.options;
        heard.at
            + match heard.by_core {
                true => RESTS_MAX * heartbeat_interval,
                false => election_timeout + (election_timeout / 3).mul_f64(delay),
            }
    }

    /// Whether the election timer has to be looked at now. The leader is forgotten then.
    pub(super) fn is_over(&self, delay: f64) -> bool {
        let mut last = self.last.lock();
        let is_over = last.is_none_or(|heard| self.due_after(heard, delay) <= Instant::now());
        if is_over {
            *last = None;
        }
        is_over
    }

    /// Draws a delay.
    pub(super) fn draw_delay() -> f64 {
        entropy::fraction()
    }
}

impl RaftReplica {
    /// Takes a message of a leader that came by itself: a heartbeat.
    ///
    /// # Errors
    ///
    /// When the core has stopped.
    pub async fn hear(
        &self,
        request: AppendEntriesRequest<TypeConfig>,
    ) -> Result<StreamAppendResult<TypeConfig>, RaftError<TypeConfig>> {
        let previous = request.prev_log_id;
        let heartbeat = Heartbeat::of(&request);
        let followed = heartbeat.filter(|heartbeat| self.log.vote() == Some(heartbeat.vote));
        if followed.is_some_and(|heartbeat| self.hearing.is_again(heartbeat)) {
            return Ok(Ok(previous));
        }
        let last = request.entries.last().map(|entry| entry.log_id).or(previous);
        let answer = self.raft.append_entries(request).await?;
        let result = answer.into_stream_result(previous, last);
        if let (Ok(_), Some(heartbeat)) = (&result, heartbeat) {
            self.hearing.note(heartbeat);
        }
        Ok(result)
    }

    /// Tells the core of the last heartbeat, if the leader's lease depends on it. To be called before the core is asked
    /// for a vote.
    ///
    /// # Errors
    ///
    /// When the core has stopped.
    pub async fn tell_core_of_lease(&self) -> Result<(), RaftError<TypeConfig>> {
        match self.hearing.lease_beside_core() {
            Some(heartbeat) => self.raft.append_entries(heartbeat.into_request()).await.map(drop),
            None => Ok(()),
        }
    }

    /// Has the replica look at its election timer until it hears a leader again. To be called when it is about to vote,
    /// to stand for election or to be told that its leader steps down.
    pub fn doubt_leader(&self) {
        self.hearing.forget();
        self.raft.runtime_config().tick(true);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use coupon_proto::internal as pb;

    use super::*;
    use crate::raft::types::{log_id_from_pb, vote_from_pb};

    fn heartbeat(index: u64) -> Heartbeat {
        let vote = vote_from_pb(&pb::Vote { term: 3, replica_id: 1, committed: true });
        let previous = Some(log_id_from_pb(&pb::LogId { term: 3, leader_replica_id: 1, index }));
        Heartbeat { vote, previous, committed: None }
    }

    fn hearing() -> (Hearing, Duration, Duration) {
        let options = RaftOptions::default();
        (Hearing::new(options.clone()), options.heartbeat_interval, options.election_timeout)
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_rests_while_the_leader_is_heard() {
        let (hearing, interval, timeout) = hearing();
        assert!(hearing.is_over(0.0), "nobody was heard");
        hearing.note(heartbeat(7));
        assert_eq!(hearing.due(0.5), Instant::now() + 2 * interval, "the core knows");
        for _ in 0..9 {
            tokio::time::advance(interval).await;
            assert!(!hearing.is_over(0.0));
            assert!(hearing.is_again(heartbeat(7)));
        }
        assert_eq!(hearing.due(0.0), Instant::now() + timeout);
        assert_eq!(hearing.due(0.6), Instant::now() + timeout + timeout / 5);
        tokio::time::advance(timeout).await;
        assert!(!hearing.is_over(0.1));
        assert!(hearing.is_over(0.0));
        assert!(!hearing.is_again(heartbeat(7)), "the core takes the next one");
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_same_heartbeat_is_known_and_only_until_there_is_doubt() {
        let (hearing, ..) = hearing();
        assert!(!hearing.is_again(heartbeat(7)));
        hearing.note(heartbeat(7));
        assert!(hearing.is_again(heartbeat(7)));
        assert!(!hearing.is_again(heartbeat(8)));
        hearing.forget();
        assert!(!hearing.is_again(heartbeat(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_core_is_told_of_a_lease_that_it_does_not_know() {
        let (hearing, _, timeout) = hearing();
        hearing.note(heartbeat(7));
        assert_eq!(hearing.lease_beside_core(), None, "it knows");
        assert!(hearing.is_again(heartbeat(7)));
        tokio::time::advance(timeout * 2 / 3 - Duration::from_millis(1)).await;
        assert_eq!(hearing.lease_beside_core(), Some(heartbeat(7)));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(hearing.lease_beside_core(), None, "it has run out");
    }
}
