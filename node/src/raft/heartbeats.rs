//! The heartbeats of a leader.
//!
//! openraft cuts a heartbeat call off after one heartbeat interval of its own. Between busy or distant
//! machines that is too soon: the follower has heard the leader and does not stand for election, the leader
//! never hears the follower, and proposes nothing for want of a lease. So openraft is given the
//! longest interval that the election timeout allows, which its calls may then take, and this task has it
//! send heartbeats as often as they are wanted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use openraft::{Raft, ServerState};

use crate::ticks::ticks;

use super::state_machine::StateMachine;
use super::types::TypeConfig;

/// The switch of a replica's heartbeats. Clones share it.
#[derive(Clone)]
pub(super) struct Heartbeats {
    allowed: Arc<AtomicBool>,
}

impl Heartbeats {
    /// Sends a heartbeat every `interval` while the replica leads, until its core stops.
    pub(super) fn start(raft: Raft<TypeConfig, StateMachine>, interval: Duration) -> Self {
        raft.runtime_config().heartbeat(false);
        let allowed = Arc::new(AtomicBool::new(true));
        tokio::spawn(send(raft, interval, Arc::clone(&allowed)));
        Self { allowed }
    }

    /// Allows heartbeats, or not.
    pub(super) fn allow(&self, allowed: bool) {
        self.allowed.store(allowed, Ordering::Relaxed);
    }
}

async fn send(raft: Raft<TypeConfig, StateMachine>, interval: Duration, allowed: Arc<AtomicBool>) {
    // Those of all shards are due together, and go out in one message.
    let mut due = ticks(interval);
    loop {
        due.tick().await;
        let (leads, runs) = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow_watched();
            (metrics.state == ServerState::Leader, metrics.state != ServerState::Shutdown)
        };
        let sends = leads && allowed.load(Ordering::Relaxed);
        if !runs || (sends && raft.trigger().heartbeat().await.is_err()) {
            return;
        }
    }
}
