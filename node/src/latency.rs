//! How long that takes which an election waits for: a sync of a disk, and the way to another node and back.
//!
//! What is typical is the median of the latest few, so that one stall, of a disk or of the whole process, says
//! nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use coupon_cluster::NodeId;
use parking_lot::Mutex;

/// Number of samples that decide what is typical.
const SAMPLES: usize = 9;

/// The latest durations of one kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent(VecDeque<Duration>);

impl Recent {
    /// Adds one.
    pub(crate) fn add(&mut self, sample: Duration) {
        if self.0.len() == SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    /// The median; zero while there is none.
    pub(crate) fn typical(&self) -> Duration {
        let mut sorted: Vec<Duration> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }
}

/// What is typical of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Latency {
    /// The way there and back.
    pub(crate) round_trip: Duration,
    /// A sync of its disk.
    pub(crate) sync: Duration,
}

/// The latencies of the peers that answer. Clones share them.
#[derive(Clone, Default)]
pub struct PeerLatencies(Arc<Mutex<BTreeMap<NodeId, Peer>>>);

#[derive(Default)]
struct Peer {
    round_trips: Recent,
    sync: Duration,
}

impl PeerLatencies {
    /// Notes how long a peer took to answer, and how long it says that its disk takes.
    pub(crate) fn note(&self, node: NodeId, round_trip: Duration, sync: Duration) {
        let mut peers = self.0.lock();
        let peer = peers.entry(node).or_default();
        peer.round_trips.add(round_trip);
        peer.sync = sync;
    }

    /// Forgets peers that do not answer any more.
    pub(crate) fn retain(&self, answers: impl Fn(NodeId) -> bool) {
        self.0.lock().retain(|node, _| answers(*node));
    }

    /// What is typical of a peer, if it answers.
    pub(crate) fn of(&self, node: NodeId) -> Option<Latency> {
        let peers = self.0.lock();
        let peer = peers.get(&node)?;
        Some(Latency { round_trip: peer.round_trips.typical(), sync: peer.sync })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_now_and_then_is_not_typical_and_what_lasts_is() {
        let (fast, slow) = (Duration::from_millis(2), Duration::from_millis(250));
        let mut recent = Recent::default();
        assert_eq!(recent.typical(), Duration::ZERO);
        recent.add(fast);
        assert_eq!(recent.typical(), fast);
        for _ in 0..100 {
            (0..SAMPLES / 2).for_each(|_| recent.add(slow));
            (0..SAMPLES).for_each(|_| recent.add(fast));
            assert_eq!(recent.typical(), fast);
        }
        (0..=SAMPLES / 2).for_each(|_| recent.add(slow));
        assert_eq!(recent.typical(), slow);
        (0..=SAMPLES / 2).for_each(|_| recent.add(fast));
        assert_eq!(recent.typical(), fast);
    }
}
