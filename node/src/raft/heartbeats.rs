//! The heartbeats of a leader, and how its followers hear them.
//!
//! openraft cuts a heartbeat call off after one heartbeat interval of its own. Between busy or distant
//! machines that is too soon: the follower has heard the leader and does not stand for election, the leader
//! never hears the follower, and proposes nothing for want of a lease. So openraft is given the
//! longest interval that the election timeout allows, which its calls may then take, and this task has it
//! send heartbeats as often as they are wanted.
//!
//! openraft also looks at its election timer, every 50 ms with the default settings. For many idle shards that costs
//! more than heartbeats do. A leader has nothing to look for there, nor has a follower that has just heard its leader:
//! their timers rest. A timer is looked at again before it can run out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use openraft::{Raft, ServerState};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::replica::RaftReplica;
use super::state_machine::StateMachine;
use super::types::TypeConfig;
use crate::ticks::ticks;

/// The number of heartbeat intervals after a heartbeat in which a follower's timer may rest. It is looked at after one
/// more at the latest, and an election timeout is longer than three.
const RESTS_MAX: u32 = 2;

/// The heartbeats of a replica: those that it sends as a leader, and those that it hears as a follower. Clones share
/// them.
#[derive(Clone)]
pub(super) struct Heartbeats {
    allowed: Arc<AtomicBool>,
    heard: LastHeard,
}

impl Heartbeats {
    /// Sends a heartbeat every `interval` while the replica leads, until its core stops.
    pub(super) fn start(raft: Raft<TypeConfig, StateMachine>, interval: Duration) -> Self {
        raft.runtime_config().heartbeat(false);
        let allowed = Arc::new(AtomicBool::new(true));
        let heard = LastHeard::default();
        tokio::spawn(send(raft, interval, Arc::clone(&allowed), heard.clone()));
        Self { allowed, heard }
    }

    /// Allows heartbeats, or not.
    pub(super) fn allow(&self, allowed: bool) {
        self.allowed.store(allowed, Ordering::Relaxed);
    }
}

/// When a follower heard its leader last, if it has since it was last in doubt. Clones share it.
#[derive(Clone, Debug, Default)]
struct LastHeard(Arc<Mutex<Option<Instant>>>);

impl LastHeard {
    fn note(&self) {
        *self.0.lock() = Some(Instant::now());
    }

    fn forget(&self) {
        *self.0.lock() = None;
    }

    fn is_within(&self, age_max: Duration) -> bool {
        self.0.lock().is_some_and(|at| at.elapsed() < age_max)
    }
}

impl RaftReplica {
    /// Notes that this replica has just taken a heartbeat of the leader that it follows.
    pub fn heard_leader(&self) {
        self.heartbeats.heard.note();
    }

    /// Has the replica look at its election timer until it hears a leader again. To be called when it is about to vote,
    /// to stand for election or to be told that its leader steps down.
    pub fn doubt_leader(&self) {
        self.heartbeats.heard.forget();
        self.raft.runtime_config().tick(true);
    }
}

async fn send(
    raft: Raft<TypeConfig, StateMachine>,
    interval: Duration,
    allowed: Arc<AtomicBool>,
    heard: LastHeard,
) {
    let metrics = raft.metrics();
    // Those of all shards are due together, and go out in one message.
    let mut due = ticks(interval);
    loop {
        due.tick().await;
        let state = metrics.borrow_watched().state;
        if state == ServerState::Shutdown {
            return;
        }
        let leads = state == ServerState::Leader;
        if leads {
            // When it leads no more, it has heard nobody.
            heard.forget();
        }
        raft.runtime_config().tick(!leads && !heard.is_within(RESTS_MAX * interval));
        let sends = leads && allowed.load(Ordering::Relaxed);
        if sends && raft.trigger().heartbeat().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_leader_counts_as_heard_for_a_while_and_until_there_is_doubt() {
        let (heard, age_max) = (LastHeard::default(), Duration::from_millis(300));
        assert!(!heard.is_within(age_max));
        heard.note();
        tokio::time::advance(Duration::from_millis(299)).await;
        assert!(heard.is_within(age_max));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!heard.is_within(age_max));
        heard.note();
        assert!(heard.is_within(age_max));
        heard.forget();
        assert!(!heard.is_within(age_max));
    }
}
