//! The heartbeats of a leader, and the election timers of its followers.
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
use tokio::time::Instant;

use super::hearing::Hearing;
use super::state_machine::StateMachine;
use super::types::TypeConfig;
use crate::ticks::ticks;

/// The switch of a replica's heartbeats. Clones share it.
#[derive(Clone)]
pub(super) struct Heartbeats {
    allowed: Arc<AtomicBool>,
}

impl Heartbeats {
    /// Sends a heartbeat every `interval` while the replica leads, and looks after its election timer while it does
    /// not, until its core stops.
    pub(super) fn start(
        raft: Raft<TypeConfig, StateMachine>,
        interval: Duration,
        hearing: Hearing,
    ) -> Self {
        raft.runtime_config().heartbeat(false);
        let allowed = Arc::new(AtomicBool::new(true));
        tokio::spawn(send(raft, interval, Arc::clone(&allowed), hearing));
        Self { allowed }
    }

    /// Allows heartbeats, or not.
    pub(super) fn allow(&self, allowed: bool) {
        self.allowed.store(allowed, Ordering::Relaxed);
    }
}

async fn send(
    raft: Raft<TypeConfig, StateMachine>,
    interval: Duration,
    allowed: Arc<AtomicBool>,
    hearing: Hearing,
) {
    let metrics = raft.metrics();
    let mut delay = Hearing::draw_delay();
    // Those of all shards are due together, and go out in one message.
    let mut due = ticks(interval);
    loop {
        due.tick().await;
        let state = metrics.borrow_watched().state;
        if state == ServerState::Shutdown {
            return;
        }
        if state == ServerState::Leader {
            // When it leads no more, it has heard nobody.
            hearing.forget();
            raft.runtime_config().tick(false);
            if allowed.load(Ordering::Relaxed) && raft.trigger().heartbeat().await.is_err() {
                return;
            }
            continue;
        }
        let timer_due = hearing.due(delay);
        let mut is_over = false;
        if timer_due <= Instant::now() + interval {
            tokio::time::sleep_until(timer_due).await;
            is_over = hearing.is_over(delay);
        }
        if is_over {
            delay = Hearing::draw_delay();
        }
        raft.runtime_config().tick(is_over);
    }
}
