//! A guess at which node leads a shard, fed by hints, answers and silence. Pure: time is passed in.
//!
//! The guess is only ever a shortcut. A wrong one costs an attempt, never a wrong answer, because
//! the nodes themselves know who leads.

use std::error::Error;
use std::io;
use std::time::Duration;

use coupon_cluster::NodeId;
use coupon_transport::Mismatch;
use coupon_wire::refusal::leader_named_by;
use tokio::time::Instant;
use tonic::{Code, Status};

/// How long a node that did not answer is passed over. Its peers go on naming it as the leader until
/// they hold an election, which by default begins after 0.75 to 1 s of silence and then takes a vote.
const SILENT_FOR: Duration = Duration::from_secs(1);

/// When a leader is found to be silent its shard has had most of the time for an election already. If
/// no replica leads after this time, the others may still reach the leader: they are asked to forward
/// calls while the silence is fresh.
const FORWARD_AFTER: Duration = Duration::from_millis(250);

/// Interval between direct calls to a leader that is reached through another node.
pub(crate) const DIRECT_INTERVAL: Duration = Duration::from_secs(2);

/// A way to the leader of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    /// The node to call.
    pub(crate) node: NodeId,
    /// Whether it shall pass the call on to the leader if that is another node.
    pub(crate) forward: bool,
}

/// What is believed about the leader of one shard.
#[derive(Debug, Default)]
pub(crate) struct LeaderGuess {
    route: Option<Route>,
    cursor: usize,
    silent: Option<(NodeId, Instant)>,
    /// Who answered last as the leader, or passed its answer on, and when.
    heard: Option<(NodeId, Instant)>,
    /// Since when nobody has answered as the leader.
    lost_at: Option<Instant>,
    /// Who was last said to lead, silent or not.
    named: Option<NodeId>,
    /// Reads call the leader directly no sooner.
    direct_at: Option<Instant>,
}

impl LeaderGuess {
    /// The way to try next: to the believed leader, else to the replicas in turn. `None` without
    /// replicas.
    pub(crate) fn choose(&mut self, replicas: &[NodeId], now: Instant) -> Option<Route> {
        if let Some(route) = self.route.filter(|route| replicas.contains(&route.node)) {
            return Some(route);
        }
        let forward = self.silent.is_some_and(|(_, until)| now < until)
            && self.lost_at.is_some_and(|lost_at| now >= lost_at + FORWARD_AFTER);
        let mut turn = || {
            let node = replicas.get(self.cursor % replicas.len().max(1)).copied();
            self.cursor = self.cursor.wrapping_add(1);
            node
        };
        let first = turn()?;
        let node = if is_silent(self.silent, first, now) { turn()? } else { first };
        Some(Route { node, forward })
    }

    /// A call to a node failed, which began at `asked_at`. Returns whether the guess has now a leader
    /// to follow.
    pub(crate) fn failed(
        &mut self,
        node: NodeId,
        status: &Status,
        asked_at: Instant,
        now: Instant,
    ) -> bool {
        let silent = is_silence(status);
        if silent && self.heard.is_some_and(|(heard, at)| heard == node && at > asked_at) {
            // It is slow with this call only, and other calls would lose their leader with it.
            return false;
        }
        self.lost_at.get_or_insert(now);
        // Another node answers, so the one that was meant does not.
        if silent || Mismatch::of(status).is_some() {
            self.silent(node, now);
            return false;
        }
        // A machine that refuses without naming a leader is alive enough to do so, be it only the
        // connection: asking it again costs little.
        self.refused(node, leader_named_by(status), now)
    }

    /// The leader answered this way. A forwarding route is kept until it fails or the leader answers directly;
    /// a late answer through another node is no reason to leave the direct route.
    pub(crate) fn confirmed(&mut self, route: Route, now: Instant) {
        let direct = self.route.filter(|known| route.forward && !known.forward);
        self.route = direct.or(Some(route));
        self.heard(route.node, now);
        self.silent = self.silent.filter(|(silent, _)| *silent != route.node);
        self.lost_at = None;
    }

    /// Replies came from a node that leads, or from the leader through it.
    pub(crate) fn heard(&mut self, node: NodeId, now: Instant) {
        self.heard = Some((node, now));
    }

    /// The node to call directly, if calls are forwarded and it is time to see whether that is still
    /// needed. For reads; a stream keeps its own time, since it moves only by itself.
    pub(crate) fn direct(&mut self, now: Instant) -> Option<NodeId> {
        let detour = self.route.filter(|route| route.forward)?;
        if self.direct_at.is_some_and(|at| now < at) {
            return None;
        }
        self.direct_at = Some(now + DIRECT_INTERVAL);
        Some(self.direct_target(detour))
    }

    /// The node that may lead behind a forwarding route. The node that was named is asked once: it may be dead
    /// or have lost its leadership; then the node in between, which leads by now or knows who does.
    pub(crate) fn direct_target(&mut self, detour: Route) -> NodeId {
        match self.route.filter(|route| !route.forward) {
            Some(direct) => direct.node,
            None => self.named.take().unwrap_or(detour.node),
        }
    }

    /// A direct call beside a detour failed: perhaps it said who leads.
    pub(crate) fn direct_failed(&mut self, status: &Status) {
        self.named = leader_named_by(status).or(self.named);
    }

    /// A node said that it does not lead, and perhaps who does. Returns whether the guess has now a
    /// leader to follow.
    pub(crate) fn refused(&mut self, node: NodeId, named: Option<NodeId>, now: Instant) -> bool {
        self.leave(node);
        self.named = named.or(self.named);
        let named = named.filter(|named| *named != node && !is_silent(self.silent, *named, now));
        if let Some(node) = named {
            self.route = Some(Route { node, forward: false });
        }
        named.is_some()
    }

    /// A node did not answer.
    fn silent(&mut self, node: NodeId, now: Instant) {
        self.leave(node);
        self.silent = Some((node, now + SILENT_FOR));
    }

    fn leave(&mut self, node: NodeId) {
        self.route = self.route.filter(|route| route.node != node);
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
    use coupon_transport::Reason;
    use coupon_wire::refusal;

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

    fn to(node: NodeId) -> Route {
        Route { node, forward: false }
    }

    fn not_leader(named: NodeId) -> Status {
        refusal::not_leader(Some(named))
    }

    /// The nodes of the next so many choices.
    fn turns(guess: &mut LeaderGuess, count: usize, now: Instant) -> Vec<NodeId> {
        let routes = (0..count).filter_map(|_| guess.choose(&[A, B, C], now));
        routes.map(|route| route.node).collect()
    }

    #[test]
    fn replicas_take_turns_until_one_is_confirmed() {
        let (mut guess, now) = (LeaderGuess::default(), Instant::now());
        assert_eq!(turns(&mut guess, 4, now), [A, B, C, A]);
        guess.confirmed(to(B), now);
        assert_eq!(guess.choose(&[A, B, C], now), Some(to(B)));
        assert_eq!(guess.choose(&[A, C], now), Some(to(A)), "a node that left is not asked");
        assert_eq!(guess.choose(&[], now), None);
    }

    #[test]
    fn hints_are_followed_unless_the_named_node_is_silent() {
        let (mut guess, now) = (LeaderGuess::default(), Instant::now());
        assert!(guess.refused(A, Some(C), now));
        assert_eq!(guess.choose(&[A, B, C], now), Some(to(C)));
        guess.silent(C, now);
        assert!(!guess.refused(A, Some(C), now));
        assert_eq!(turns(&mut guess, 4, now), [A, B, A, B]);
        assert!(guess.refused(A, Some(C), now + SILENT_FOR), "silence is forgotten");
    }

    #[test]
    fn a_node_that_cannot_be_reached_is_passed_over_and_one_that_refuses_is_not() {
        let now = Instant::now();
        let turns_after = |status: &Status| {
            let mut guess = LeaderGuess::default();
            guess.confirmed(to(A), now);
            assert!(!guess.failed(A, status, now, now));
            turns(&mut guess, 3, now)
        };
        let io = |kind: io::ErrorKind| Status::from_error(Box::new(io::Error::from(kind)));
        for silence in [
            io(io::ErrorKind::TimedOut),
            io(io::ErrorKind::HostUnreachable),
            Status::deadline_exceeded("no hello"),
            Mismatch { reason: Reason::WrongStore, answerer: None }.into(),
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
        assert_eq!(guess.choose(&[A], now), Some(to(A)));
    }

    #[test]
    fn a_leader_behind_a_detour_is_called_directly_now_and_then() {
        let (mut guess, now) = (LeaderGuess::default(), Instant::now());
        assert!(guess.refused(A, Some(C), now));
        assert_eq!(guess.direct(now), None, "there is no detour");
        guess.refused(C, None, now);
        guess.confirmed(Route { node: B, forward: true }, now);
        assert_eq!(guess.direct(now), Some(C));
        assert_eq!(guess.direct(now), None, "not so soon again");
        let later = now + DIRECT_INTERVAL;
        assert_eq!(guess.direct(later), Some(B), "C did not answer, and B leads or knows who does");
        guess.direct_failed(&not_leader(A));
        assert_eq!(guess.direct(later + DIRECT_INTERVAL), Some(A));
        guess.direct_failed(&Status::deadline_exceeded("no answer"));
        assert_eq!(guess.direct(later + 2 * DIRECT_INTERVAL), Some(B), "and so on");
    }

    #[test]
    fn a_late_answer_by_a_detour_does_not_hide_the_direct_way() {
        let (mut guess, now) = (LeaderGuess::default(), Instant::now());
        let detour = Route { node: B, forward: true };
        guess.confirmed(detour, now);
        guess.confirmed(to(A), now);
        guess.confirmed(detour, now);
        assert_eq!(guess.choose(&[A, B, C], now), Some(to(A)));
        assert_eq!(
            guess.direct_target(detour),
            A,
            "a stream that still takes the detour goes there as well"
        );
        guess.failed(A, &Status::unavailable("stopping"), now, now);
        guess.confirmed(detour, now);
        assert_eq!(guess.choose(&[A, B, C], now), Some(detour));
    }

    #[test]
    fn a_node_that_answers_others_meanwhile_is_slow_and_not_silent() {
        let (mut guess, start) = (LeaderGuess::default(), Instant::now());
        let late = Status::deadline_exceeded("no answer");
        let (asked, now) = (start + Duration::from_millis(1), start + Duration::from_millis(3));
        guess.confirmed(to(A), start);
        guess.heard(A, start + Duration::from_millis(2));
        assert!(!guess.failed(A, &late, asked, now));
        assert_eq!(turns(&mut guess, 2, now), [A, A]);
        guess.failed(A, &late, start + Duration::from_millis(2), now);
        assert_eq!(turns(&mut guess, 2, now), [B, C], "nothing was heard since this was asked");
        guess.confirmed(to(A), start);
        guess.heard(B, now);
        guess.failed(A, &late, asked, now);
        assert_eq!(turns(&mut guess, 1, now), [B], "another node answered, not this one");
    }

    #[test]
    fn a_leader_that_stays_out_of_reach_is_reached_through_others() {
        let (mut guess, start) = (LeaderGuess::default(), Instant::now());
        let silence = Status::deadline_exceeded("no hello");
        guess.confirmed(to(C), start);
        guess.failed(C, &silence, start, start);
        assert_eq!(guess.choose(&[A, B, C], start), Some(to(A)), "there may be an election");
        let later = start + FORWARD_AFTER;
        let detour = Route { node: B, forward: true };
        assert_eq!(guess.choose(&[A, B, C], later), Some(detour));
        assert_eq!(guess.choose(&[A, B, C], later), Some(Route { node: A, forward: true }));
        let much_later = start + SILENT_FOR;
        assert!(!guess.choose(&[A, B, C], much_later).unwrap().forward, "nobody is silent now");
        guess.confirmed(detour, later);
        assert_eq!(guess.choose(&[A, B, C], later + SILENT_FOR), Some(detour), "it is kept");
        assert!(guess.refused(B, Some(A), later + SILENT_FOR));
        assert_eq!(guess.choose(&[A, B, C], later), Some(to(A)), "until leadership moves");
        guess.confirmed(to(A), later);
        guess.failed(A, &silence, later, later);
        assert!(!guess.choose(&[A, B, C], later).unwrap().forward, "time counts anew");
    }
}
