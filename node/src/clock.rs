//! The node's clock, and whether it may be trusted.
//!
//! Log time comes from leaders' clocks, so a node whose clock is off from its peers' must not
//! lead. Each node asks its peers now and then what their clocks say. It trusts its own while the
//! median of all clocks it knows, its own among them, is close; where two halves disagree it does
//! not. A node that has peers and has heard of none since it started does not trust its clock yet.
//!
//! Between two rounds a clock may jump. The monotonic clock does not, so every stamp is held
//! against it, and a clock that jumped stamps nothing until its peers agree with it again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coupon_cluster::NodeId;
use coupon_env::Clock;
use coupon_proto::internal::IdentifyRequest;
use coupon_proto::internal::cluster_service_client::ClusterServiceClient;
use futures::future::join_all;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::latency::PeerLatencies;
use crate::peers::{Lane, Peers};

/// How often peers are asked.
const ROUND_INTERVAL: Duration = Duration::from_millis(500);
/// The same while the clock is not trusted: nodes that start together may each be the first to ask.
const FIRST_ROUNDS_INTERVAL: Duration = Duration::from_millis(100);
/// How long a peer may take to answer; a slower answer would say too little.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(400);
/// Maximum age of an answer that counts.
const ANSWER_AGE_MAX: Duration = Duration::from_secs(5);

/// What a node thinks of its clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the node may lead.
    pub trusted: bool,
    /// How far the clock is ahead of the median, in microseconds.
    pub offset_micros: i64,
    /// The peers whose clocks are off themselves: not to be handed leadership.
    pub distrusted_peers: Vec<NodeId>,
}

/// A clock, and what is thought of it. Clones share the verdict.
#[derive(Clone, Debug)]
pub struct TrustedClock {
    clock: Arc<dyn Clock>,
    offset_max: Duration,
    verdict: watch::Sender<Verdict>,
    /// What both clocks said when the wall clock was last found good.
    anchor: Arc<Mutex<(Instant, u64)>>,
}

impl TrustedClock {
    /// A clock that is not trusted yet.
    pub fn new(clock: Arc<dyn Clock>, offset_max: Duration) -> Self {
        let anchor = Arc::new(Mutex::new((Instant::now(), clock.now_micros())));
        Self { clock, offset_max, verdict: watch::Sender::default(), anchor }
    }

    /// What the clock says, good or not: microseconds since 1970.
    pub fn now_micros(&self) -> u64 {
        self.clock.now_micros()
    }

    /// What is thought of the clock.
    pub fn verdict(&self) -> Verdict {
        self.verdict.borrow().clone()
    }

    /// The time to stamp an entry with; `None` while the clock is not trusted.
    pub fn stamp_micros(&self) -> Option<u64> {
        let now = self.clock.now_micros();
        (self.verdict.borrow().trusted && !self.has_jumped(now)).then_some(now)
    }

    /// A clock that is trusted whatever it says.
    #[cfg(test)]
    pub(crate) fn trusted(clock: Arc<dyn Clock>) -> Self {
        let clock = Self::new(clock, Duration::MAX);
        clock.learn(Verdict { trusted: true, ..Verdict::default() });
        clock
    }

    fn has_jumped(&self, now: u64) -> bool {
        let (then, wall) = *self.anchor.lock();
        let passed = u64::try_from(then.elapsed().as_micros()).unwrap_or(u64::MAX);
        u128::from(now.abs_diff(wall.saturating_add(passed))) > self.offset_max.as_micros()
    }

    fn learn(&self, new: Verdict) {
        let mut anchor = self.anchor.lock();
        if new.trusted {
            *anchor = (Instant::now(), self.clock.now_micros());
        }
        self.verdict.send_if_modified(|old| {
            match (old.trusted, new.trusted) {
                (false, true) => tracing::info!("this node's clock agrees with its peers'"),
                (true, false) => tracing::warn!(
                    ahead_micros = new.offset_micros,
                    "this node's clock disagrees with its peers': it leads no shard until it agrees"
                ),
                (true, true) | (false, false) => {}
            }
            let changed = *old != new;
            *old = new;
            changed
        });
    }
}

/// Asks the peers for ever, and tells the clock what is to be thought of it. Their answers also say how far and how
/// slow they are.
pub async fn watch_peers(me: NodeId, clock: TrustedClock, peers: Peers, latencies: PeerLatencies) {
    let mut maps = peers.maps();
    let mut known: BTreeMap<NodeId, (Instant, i64)> = BTreeMap::new();
    let mut pause = Duration::ZERO;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // New peers are asked at once: until they have answered this node leads nothing. A map that
            // changes no more does not end the rounds.
            Ok(()) = maps.changed() => {}
        }
        let map = maps.borrow_and_update().clone();
        let others: Vec<NodeId> = map.nodes.keys().copied().filter(|node| *node != me).collect();
        let asked = others.iter().map(|node| ask(*node, &*clock.clock, &peers, &latencies));
        let answers = join_all(asked).await;
        let now = Instant::now();
        known.extend(
            others
                .iter()
                .zip(answers)
                .filter_map(|(node, answer)| answer.map(|offset| (*node, (now, offset)))),
        );
        known.retain(|node, (heard, _)| {
            others.contains(node) && now.duration_since(*heard) < ANSWER_AGE_MAX
        });
        latencies.retain(|node| known.contains_key(&node));
        let offsets = known.iter().map(|(node, (_, offset))| (*node, *offset)).collect();
        // Without news a verdict stays, unless the clock has jumped since. A node that is in no cluster
        // yet has peers, though it does not know them.
        let is_alone = map.is_initialized() && others.is_empty();
        let stays = clock.stamp_micros().is_some();
        let verdict = judge(&offsets, is_alone || stays, clock.offset_max);
        pause = if verdict.trusted { ROUND_INTERVAL } else { FIRST_ROUNDS_INTERVAL };
        clock.learn(verdict);
    }
}

/// How far a peer's clock is ahead of ours, in microseconds. A peer in the first map counts before it has
/// joined: without it, the meta shard would have no leader to let it join.
async fn ask(
    node: NodeId,
    clock: &dyn Clock,
    peers: &Peers,
    latencies: &PeerLatencies,
) -> Option<i64> {
    let mut client = ClusterServiceClient::new(peers.channel_unnamed(node, Lane::Control)?);
    let (asked, sent) = (Instant::now(), clock.now_micros());
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, client.identify(IdentifyRequest {}));
    let answer = answer.await.ok()?.ok()?.into_inner();
    let received = clock.now_micros();
    // Its store may be a fresh one that is not registered yet. A node of another cluster does not count.
    let is_ours = answer.cluster_id.is_empty() || answer.cluster_id == peers.map().cluster_id;
    let ours = sent.midpoint(received);
    (answer.node_id == node.get() && is_ours).then(|| {
        let round_trip = asked.elapsed();
        latencies.note(node, round_trip, Duration::from_micros(answer.sync_micros.into()));
        difference(answer.clock_micros, ours)
    })
}

fn difference(a: u64, b: u64) -> i64 {
    let magnitude = i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX);
    if a >= b { magnitude } else { -magnitude }
}

/// The verdict from how far the peers' clocks are ahead of ours. `alone` is the verdict when no
/// peer is known.
fn judge(ahead: &BTreeMap<NodeId, i64>, alone: bool, offset_max: Duration) -> Verdict {
    let max = i64::try_from(offset_max.as_micros()).unwrap_or(i64::MAX);
    if ahead.is_empty() {
        return Verdict { trusted: alone, ..Verdict::default() };
    }
    let mut all: Vec<i64> = ahead.values().copied().chain([0]).collect();
    all.sort_unstable();
    let (low, high) = (all[(all.len() - 1) / 2], all[all.len() / 2]);
    // With an even number of clocks there are two medians: both must be close.
    let median = if low.abs() > high.abs() { low } else { high };
    let distrusted = ahead.iter().filter(|(_, ahead)| ahead.saturating_sub(median).abs() > max);
    Verdict {
        trusted: median.abs() <= max,
        offset_micros: -median,
        distrusted_peers: distrusted.map(|(node, _)| *node).collect(),
    }
}

#[cfg(test)]
mod tests {
    use coupon_env::SettableClock;

    use super::*;

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn a_clock_that_jumps_stamps_nothing_until_it_is_found_good() {
        let wall = SettableClock::default();
        let clock = TrustedClock::new(Arc::new(wall.clone()), Duration::from_secs(60));
        assert_eq!(clock.stamp_micros(), None, "not trusted yet");
        let good = Verdict { trusted: true, ..Verdict::default() };
        clock.learn(good.clone());
        assert_eq!(clock.stamp_micros(), Some(0));
        wall.set_micros(HOUR.unsigned_abs());
        assert_eq!(clock.stamp_micros(), None, "it jumped");
        clock.learn(good);
        assert_eq!(clock.stamp_micros(), Some(HOUR.unsigned_abs()));
    }

    fn verdict(ahead: &[i64]) -> Verdict {
        let ahead =
            ahead.iter().zip(2..).map(|(ahead, id)| (NodeId::new(id).unwrap(), *ahead)).collect();
        judge(&ahead, false, Duration::from_millis(500))
    }

    #[test]
    fn a_clock_with_the_majority_is_trusted() {
        assert!(verdict(&[3_000, HOUR]).trusted);
        assert_eq!(verdict(&[3_000, HOUR]).distrusted_peers, [NodeId::new(3).unwrap()]);
        assert!(verdict(&[-HOUR, 0, HOUR, 10]).trusted);
    }

    #[test]
    fn a_clock_against_the_majority_is_not() {
        let off = verdict(&[HOUR, HOUR + 20]);
        assert!(!off.trusted);
        assert_eq!(off.offset_micros, -HOUR);
        assert!(!verdict(&[-HOUR, -HOUR]).trusted);
    }

    #[test]
    fn two_that_disagree_trust_neither() {
        assert!(!verdict(&[HOUR]).trusted);
        assert!(!verdict(&[-HOUR]).trusted);
        assert!(verdict(&[1_000]).trusted);
    }

    #[test]
    fn without_news_the_verdict_stays() {
        assert!(!judge(&BTreeMap::new(), false, Duration::from_secs(1)).trusted);
        assert!(judge(&BTreeMap::new(), true, Duration::from_secs(1)).trusted);
    }
}
