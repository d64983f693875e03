//! What fake nodes share: one ledger, the node that leads, what they have seen, and what they do wrong next.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use coupon_proto::internal::{Command, RouterHello, ShardMap};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::ledger::Ledger;

/// What the leader does to the next batch instead of answering it.
#[derive(Debug, Clone, Copy)]
pub enum Trick {
    /// Applies it and breaks the stream.
    ApplyAndBreak,
    /// Applies it and says nothing.
    ApplySilently,
    /// Says that it does not know.
    Unknown,
    /// Says that its queue is full.
    Overloaded,
    /// Says that the deadline is over.
    Expired,
    /// Says that it needs the log.
    NeedsLog,
    /// Says that there is a newer code key.
    OldCodeKey,
    /// Sends one reply too many.
    TooManyReplies,
}

/// A command that reached a node.
#[derive(Debug, Clone)]
pub struct Seen {
    pub node_id: u64,
    pub hello: RouterHello,
    pub command: Command,
    /// When its caller stops waiting.
    pub deadline_micros: u64,
}

/// What all nodes of a cluster share.
pub struct State {
    pub leader: u64,
    pub paused: BTreeSet<u64>,
    /// The shards that have no leader.
    pub lost: BTreeSet<u32>,
    /// The shards that answer no read.
    pub hung: BTreeSet<u32>,
    /// How many reads such shards keep waiting.
    pub hanging: usize,
    pub tricks: VecDeque<Trick>,
    pub seen: Vec<Seen>,
    pub refused: usize,
    pub passed_on: usize,
    /// How many parts of streams of coupons were read.
    pub parts: usize,
    /// How many questions were answered.
    pub reads: usize,
    /// How long a leader takes for each batch.
    pub slow_by: Duration,
    /// Whether a leader answers that it leads, however silent it is.
    pub assures: bool,
    pub ledger: Ledger,
    /// The map of the meta shard, where nobody who watches the map has it yet.
    pub unseen_map: Option<ShardMap>,
    /// How many times the meta shard was asked for it.
    pub maps_read: usize,
    /// Tells that something was seen or refused.
    pub progress: watch::Sender<()>,
}

/// See [`State`].
pub type Shared = Arc<Mutex<State>>;

impl Default for State {
    /// Node 1 leads, and no node misbehaves.
    fn default() -> Self {
        Self {
            leader: 1,
            paused: BTreeSet::new(),
            lost: BTreeSet::new(),
            hung: BTreeSet::new(),
            hanging: 0,
            tricks: VecDeque::new(),
            seen: Vec::new(),
            refused: 0,
            passed_on: 0,
            parts: 0,
            reads: 0,
            slow_by: Duration::ZERO,
            assures: false,
            progress: watch::Sender::new(()),
            ledger: Ledger::at_epoch(1),
            unseen_map: None,
            maps_read: 0,
        }
    }
}
