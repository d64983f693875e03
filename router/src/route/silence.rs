//! Whether a leader that owes replies is slow, or leads no more. Pure: time is passed in.
//!
//! A leader on a slow disk replies late. To give its stream up and to send everything once more makes nothing faster:
//! it would be given up again, and so on. So a leader that is silent for a while is asked whether it leads, and another
//! replica whether it knows a later leader. A leader that says that it leads keeps its stream.

use std::time::Duration;

use coupon_cluster::NodeId;
use tokio::time::Instant;

use super::leader::Route;

/// What a node says about the leader of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word {
    /// Who says it.
    pub(crate) from: NodeId,
    /// The term that it is in.
    pub(crate) term: u64,
    /// The node that leads in this term, as far as it knows.
    pub(crate) leader: Option<NodeId>,
    /// Whether it leads itself.
    pub(crate) leads: bool,
}

/// What is to be done with a stream whose leader is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// It is kept, for now.
    Keep,
    /// It is left. The node leads now, if one is named.
    Leave(Option<NodeId>),
}

/// A stream whose leader is silent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Silence {
    route: Route,
    term: u64,
    assured_at: Option<Instant>,
}

impl Silence {
    /// Of a stream that takes this way and was opened in this term.
    pub(crate) fn new(route: Route, term: u64) -> Self {
        Self { route, term, assured_at: None }
    }

    /// What follows from the word of a node.
    pub(crate) fn heard(&mut self, word: Word, now: Instant) -> Ruling {
        let leader = if word.leads { Some(word.from) } else { word.leader };
        if word.term > self.term && leader.is_some() {
            return Ruling::Leave(leader);
        }
        if word.from != self.route.node {
            return Ruling::Keep;
        }
        // A node in between follows the leader as long as it hears it.
        if word.leads || (self.route.forward && leader.is_some()) {
            self.assured_at = Some(now);
            return Ruling::Keep;
        }
        Ruling::Leave(leader)
    }

    /// When a stream that owes replies since `silent_since` is given up: `patience` after the last sign of its leader.
    pub(crate) fn over_at(&self, silent_since: Instant, patience: Duration) -> Instant {
        self.assured_at.map_or(silent_since, |at| at.max(silent_since)) + patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);
    const TERM: u64 = 5;

    fn node(id: u64) -> NodeId {
        NodeId::new(id).unwrap()
    }

    /// A story: each line has a word and the ruling on it.
    ///
    /// `1@5 leads` is node 1 in term 5, `2@5 follows 1` names its leader, `3@5 knows none` has none.
    fn tell(forward: bool, story: &str) {
        let mut silence = Silence::new(Route { node: node(1), forward }, TERM);
        let now = Instant::now();
        for line in story.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (said, ruling) = line.split_once(" => ").unwrap();
            let said = said.trim_end();
            let (who, what) = said.split_once(' ').unwrap();
            let (from, term) = who.split_once('@').unwrap();
            let leader = what.strip_prefix("follows ").map(|id| node(id.parse().unwrap()));
            let (from, term) = (node(from.parse().unwrap()), term.parse().unwrap());
            let word = Word { from, term, leader, leads: what == "leads" };
            let found = match silence.heard(word, now) {
                Ruling::Keep if silence.assured_at.take().is_some() => "keep, assured".to_owned(),
                Ruling::Keep => "keep".to_owned(),
                Ruling::Leave(None) => "leave".to_owned(),
                Ruling::Leave(Some(node)) => format!("leave for {node}"),
            };
            assert_eq!(found, ruling, "{line}");
        }
    }

    #[test]
    fn a_leader_that_says_so_keeps_its_stream_until_a_later_one_is_known() {
        tell(
            false,
            "
            1@5 leads       => keep, assured
            2@5 follows 1   => keep
            3@5 knows none  => keep
            3@6 knows none  => keep
            2@4 follows 3   => keep
            1@5 leads       => keep, assured
            1@5 knows none  => leave
            1@6 knows none  => leave
            1@6 follows 2   => leave for 2
            3@6 follows 2   => leave for 2
            3@6 leads       => leave for 3
            1@7 leads       => leave for 1
            ",
        );
    }

    #[test]
    fn a_node_in_between_keeps_the_stream_as_long_as_it_follows_the_leader() {
        tell(
            true,
            "
            1@5 follows 2   => keep, assured
            3@5 follows 2   => keep
            1@5 knows none  => leave
            1@6 follows 3   => leave for 3
            1@6 leads       => leave for 1
            ",
        );
    }

    #[test]
    fn patience_counts_from_the_last_sign_of_the_leader() {
        let start = Instant::now();
        let mut silence = Silence::new(Route { node: node(1), forward: false }, TERM);
        assert_eq!(silence.over_at(start, PATIENCE), start + PATIENCE);
        let word = Word { from: node(1), term: TERM, leader: Some(node(1)), leads: true };
        silence.heard(word, start + PATIENCE / 2);
        assert_eq!(silence.over_at(start, PATIENCE), start + PATIENCE * 3 / 2);
        silence.heard(Word { from: node(2), leads: false, ..word }, start + PATIENCE);
        assert_eq!(silence.over_at(start, PATIENCE), start + PATIENCE * 3 / 2, "hearsay");
        assert_eq!(silence.over_at(start + PATIENCE, PATIENCE), start + 2 * PATIENCE);
    }
}
