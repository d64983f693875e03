//! A guess at which node leads a shard, fed by hints, answers and silence. Pure: time is passed in.
//!
//! The guess is only ever a shortcut. A wrong one costs an attempt, never a wrong answer, because
//! the nodes themselves know who leads.

use std::error::Error;
use std::io;
use std::time::Duration;

use coupon_cluster::NodeId;
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// How long a node that did not answer is passed over. Its peers go on naming it as the leader until
/// they hold an election, which takes one to two seconds.
const SILENT_FOR: Duration = Duration::from_secs(1);

/// The `ErrorInfo` reason of a node that does not lead the shard it was asked about.
const NOT_LEADER: &str = "NOT_LEADER";

/// The `ErrorInfo` metadata that names the leader.
const LEADER_NODE_ID: &str = "leader_node_id";

/// What is believed about the leader of one shard.
#[derive(Debug, Default)]
pub(crate) struct LeaderGuess {
    leader: Option<NodeId>,
    cursor: usize,
    silent: Option<(NodeId, Instant)>,
}

impl LeaderGuess {
    /// The node to try next: the believed leader, else the replicas in turn. `None` without replicas.
    pub(crate) fn choose(&mut self, replicas: &[NodeId], now: Instant) -> Option<NodeId> {
        if let Some(leader) = self.leader.filter(|leader| replicas.contains(leader)) {
            return Some(leader);
        }
        let mut turn = || {
            let node = replicas.get(self.cursor % replicas.len().max(1)).copied();
            self.cursor = self.cursor.wrapping_add(1);
            node
        };
        let first = turn()?;
        if !is_silent(self.silent, first, now) { Some(first) } else { turn() }
    }

    /// A call to a node failed. Returns whether the guess has now a leader to follow.
    pub(crate) fn failed(&mut self, node: NodeId, status: &Status, now: Instant) -> bool {
        match status.get_details_error_info() {
            Some(info) if info.reason == NOT_LEADER => {
                let named = info.metadata.get(LEADER_NODE_ID).and_then(|id| id.parse().ok());
                self.refused(node, named.and_then(|id| NodeId::new(id).ok()), now)
            }
            _ if is_silence(status) => {
                self.silent(node, now);
                false
            }
            // Its machine is alive enough to refuse, be it only the connection: asking it again costs
            // little.
            _ => self.refused(node, None, now),
        }
    }

    /// A node answered as the leader.
    pub(crate) fn confirmed(&mut self, node: NodeId) {
        self.leader = Some(node);
        self.silent = self.silent.filter(|(silent, _)| *silent != node);
    }

    /// A node said that it does not lead, and perhaps who does. Returns whether the guess has now a
    /// leader to follow.
    pub(crate) fn refused(&mut self, node: NodeId, named: Option<NodeId>, now: Instant) -> bool {
        if self.leader == Some(node) {
            self.leader = None;
        }
        let named = named.filter(|named| *named != node && !is_silent(self.silent, *named, now));
        if named.is_some() {
            self.leader = named;
        }
        named.is_some()
    }

    /// A node did not answer.
    fn silent(&mut self, node: NodeId, now: Instant) {
        if self.leader == Some(node) {
            self.leader = None;
        }
        self.silent = Some((node, now + SILENT_FOR));
    }
}

/// Whether a failure means that nothing at all came from the node. Asking again costs as long as
/// giving up on it takes.
fn is_silence(status: &Status) -> bool {
    let mut source: Option<&(dyn Error + 'static)> = Some(status);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                io::ErrorKind::TimedOut
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
            );
        }
        source = error.source();
    }
    status.code() == Code::DeadlineExceeded
}

fn is_silent(silent: Option<(NodeId, Instant)>, node: NodeId, now: Instant) -> bool {
    silent.is_some_and(|(silent, until)| silent == node && now < until)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = node(1);
    const B: NodeId = node(2);
    const C: NodeId = node(3);

    const fn node(id: u64) -> NodeId {
        match NodeId::new(id) {
            Ok(node) => node,
            Err(_) => panic!("node ids are never 0"),
        }
    }

    #[test]
    fn replicas_take_turns_until_one_is_confirmed() {
        let (mut guess, now) = (LeaderGuess::default(), Instant::now());
        let turns: Vec<_> = (0..4).filter_map(|_| guess.choose(&[A, B, C], now)).collect();
        assert_eq!(turns, [A, B, C, A]);
        guess.confirmed(B);
        assert_eq!(guess.choose(&[A, B, C], now), Some(B));
        assert_eq!(guess.choose(&[A, C], now), Some(A), "a node that left is not asked");
        assert_eq!(guess.choose(&[], now), None);
    }

    #[test]
    fn hints_are_followed_unless_the_named_node_is_silent() {
        let (mut guess, now) = (LeaderGuess::default(), Instant::now());
        assert!(guess.refused(A, Some(C), now));
        assert_eq!(guess.choose(&[A, B, C], now), Some(C));
        guess.silent(C, now);
        assert!(!guess.refused(A, Some(C), now));
        let turns: Vec<_> = (0..4).filter_map(|_| guess.choose(&[A, B, C], now)).collect();
        assert_eq!(turns, [A, B, A, B]);
        assert!(guess.refused(A, Some(C), now + SILENT_FOR), "silence is forgotten");
    }

    #[test]
    fn a_node_that_cannot_be_reached_is_passed_over_and_one_that_refuses_is_not() {
        let now = Instant::now();
        let turns_after = |status: &Status| {
            let mut guess = LeaderGuess::default();
            guess.confirmed(A);
            assert!(!guess.failed(A, status, now));
            (0..3).filter_map(|_| guess.choose(&[A, B, C], now)).collect::<Vec<_>>()
        };
        let io = |kind: io::ErrorKind| Status::from_error(Box::new(io::Error::from(kind)));
        for silence in [
            io(io::ErrorKind::TimedOut),
            io(io::ErrorKind::HostUnreachable),
            Status::deadline_exceeded("no hello"),
        ] {
            assert_eq!(turns_after(&silence), [B, C, B], "{silence:?}");
        }
        for refusal in [io(io::ErrorKind::ConnectionRefused), Status::unavailable("stopping")] {
            assert_eq!(turns_after(&refusal), [A, B, C], "{refusal:?}");
        }
    }

    #[test]
    fn a_single_silent_replica_is_asked_again() {
        let (mut guess, now) = (LeaderGuess::default(), Instant::now());
        guess.silent(A, now);
        assert_eq!(guess.choose(&[A], now), Some(A));
    }
}
