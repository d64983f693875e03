//! The clock that Raft groups go by. It goes slower where disks or the network are slow.
//!
//! openraft cuts its calls off after fractions of the election timeout, which cannot change while a group runs. But a
//! vote waits for syncs of two disks, and where these take longer than its call may, no leader is ever elected. There
//! openraft's clock goes slower by a factor, the pace: every time that it knows is longer by it, at once, and shorter
//! again when the disks recover.
//!
//! Safety depends on no clock. Members whose clocks go differently disagree only about when to hold an election; each
//! one goes by what it needs itself to be elected, which is the slower of two disks and the way between them.
//!
//! Caveat: openraft knows its runtime as a type. So a process has one clock, and where several nodes share the
//! process, the slowest decides.

use std::collections::BTreeMap;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft_rt::{AsyncRuntime, OptionalSend};
use openraft_rt_tokio::TokioRuntime;
use parking_lot::RwLock;
use tokio::time::Instant;

use crate::latency::Latency;

/// The slowest pace: an election timeout of 0.75 s becomes 45 s. A disk that needs more is no use.
const PACE_MAX: u32 = 60;

/// The clock of this process.
static CLOCK: LazyLock<RwLock<Clock>> = LazyLock::new(|| RwLock::new(Clock::new(Instant::now())));

/// What names the nodes of this process.
static NODES: AtomicU64 = AtomicU64::new(0);

/// How long it takes to be elected by a quorum of these members: to save the own vote, to have another one saved, and
/// to tell that the election is won. A sync may have to wait for one that has begun. `peers` has a place for every
/// other member, empty if it does not answer.
pub(crate) fn vote_time(own_sync: Duration, peers: &[Option<Latency>]) -> Duration {
    // Of the fastest ones that make a quorum with this node the slowest counts; one that is not known is like this one.
    let unknown = Latency { sync: own_sync, ..Latency::default() };
    let time = |peer: Latency| 2 * peer.round_trip + 3 * (own_sync + peer.sync) / 2;
    let mut times: Vec<(bool, Duration)> =
        peers.iter().map(|peer| (peer.is_none(), time(peer.unwrap_or(unknown)))).collect();
    times.sort_unstable();
    let needed = peers.len().div_ceil(2);
    needed.checked_sub(1).map_or(Duration::ZERO, |last| times[last].1)
}

/// The pace at which a vote that takes `vote_time` fits into a third of the election timeout, with a quarter to spare.
pub(crate) fn pace_for(vote_time: Duration, election_timeout: Duration) -> u32 {
    let third = (election_timeout / 3).as_micros().max(1);
    let wanted = (vote_time + vote_time / 4).as_micros();
    u32::try_from(wanted.div_ceil(third)).unwrap_or(PACE_MAX).clamp(1, PACE_MAX)
}

/// The pace of the clock now.
pub fn current() -> u32 {
    CLOCK.read().pace
}

/// A time as openraft counts it, in real time.
pub fn real(raft_time: Duration) -> Duration {
    raft_time.saturating_mul(current())
}

/// The pace that one node wants. It is forgotten when this is dropped.
pub(crate) struct Pacer(u64);

impl Pacer {
    /// A node that wants the usual pace.
    pub(crate) fn new() -> Self {
        Self(NODES.fetch_add(1, Ordering::Relaxed))
    }

    /// Sets the pace that the node wants.
    pub(crate) fn set(&self, pace: u32) {
        CLOCK.write().want(self.0, Some(pace), Instant::now());
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        CLOCK.write().want(self.0, None, Instant::now());
    }
}

/// A clock that goes slower than the real one by its pace.
struct Clock {
    pace: u32,
    /// When the pace last changed, by both clocks.
    changed: (Instant, RaftInstant),
    wanted: BTreeMap<u64, u32>,
}

impl Clock {
    fn new(now: Instant) -> Self {
        // openraft may count back from the first moment.
        let first = RaftInstant(Duration::from_hours(24));
        Self { pace: 1, changed: (now, first), wanted: BTreeMap::new() }
    }

    fn at(&self, now: Instant) -> RaftInstant {
        let (changed, then) = self.changed;
        then + now.saturating_duration_since(changed) / self.pace
    }

    fn want(&mut self, node: u64, pace: Option<u32>, now: Instant) {
        match pace {
            Some(pace) => self.wanted.insert(node, pace),
            None => self.wanted.remove(&node),
        };
        self.changed = (now, self.at(now));
        self.pace = self.wanted.values().copied().max().unwrap_or(1);
    }
}

/// A moment by Raft's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RaftInstant(Duration);

impl RaftInstant {
    /// How long it is until then, in real time.
    fn real_wait(self) -> Duration {
        let clock = CLOCK.read();
        (self - clock.at(Instant::now())).saturating_mul(clock.pace)
    }
}

impl openraft_rt::Instant for RaftInstant {
    fn now() -> Self {
        CLOCK.read().at(Instant::now())
    }
}

impl Add<Duration> for RaftInstant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

impl AddAssign<Duration> for RaftInstant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for RaftInstant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration))
    }
}

impl SubAssign<Duration> for RaftInstant {
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

impl Sub for RaftInstant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// tokio with Raft's clock.
#[derive(Debug)]
pub struct RaftRuntime(TokioRuntime);

impl AsyncRuntime for RaftRuntime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = RaftInstant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> =
        <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <TokioRuntime as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        TokioRuntime::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(real(duration))
    }

    fn sleep_until(deadline: RaftInstant) -> Self::Sleep {
        TokioRuntime::sleep(deadline.real_wait())
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(real(duration), future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: RaftInstant,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(deadline.real_wait(), future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        TokioRuntime::thread_rng()
    }

    fn new(threads: usize) -> Self {
        Self(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const DEFAULT: Duration = Duration::from_millis(750);

    fn millis(round_trip: u64, sync: u64) -> Option<Latency> {
        let (round_trip, sync) = (Duration::from_millis(round_trip), Duration::from_millis(sync));
        Some(Latency { round_trip, sync })
    }

    #[test]
    fn a_clock_whose_pace_changes_goes_on_where_it_is() {
        let start = Instant::now();
        let mut clock = Clock::new(start);
        let begun = clock.at(start);
        clock.want(1, Some(4), start + SECOND);
        assert_eq!(clock.at(start + SECOND) - begun, SECOND);
        assert_eq!(clock.at(start + 5 * SECOND) - begun, 2 * SECOND);
        clock.want(2, Some(2), start + 5 * SECOND);
        assert_eq!(clock.at(start + 9 * SECOND) - begun, 3 * SECOND, "the slowest node decides");
        clock.want(1, None, start + 9 * SECOND);
        assert_eq!(clock.at(start + 11 * SECOND) - begun, 4 * SECOND);
        assert_eq!(clock.at(start) - begun, 3 * SECOND, "it never goes back");
    }

    #[test]
    fn a_vote_takes_what_the_slowest_member_that_is_needed_takes() {
        let (fast, slow) = (millis(1, 0), millis(1, 1_000));
        let none = Duration::ZERO;
        assert_eq!(vote_time(SECOND, &[]), none, "it elects itself");
        assert_eq!(vote_time(none, &[fast, slow]), Duration::from_millis(2));
        assert_eq!(vote_time(none, &[slow, None]), Duration::from_millis(1_502));
        assert_eq!(vote_time(none, &[slow, slow]), Duration::from_millis(1_502));
        assert_eq!(vote_time(none, &[fast, slow, slow, slow]), Duration::from_millis(1_502));
        assert_eq!(vote_time(SECOND, &[None, None]), 3 * SECOND, "others are like this one");
        assert_eq!(vote_time(none, &[millis(200, 0), None]), Duration::from_millis(400));
    }

    #[test]
    fn the_clock_goes_as_usual_until_votes_would_be_cut_off() {
        let pace = |millis| pace_for(Duration::from_millis(millis), DEFAULT);
        assert_eq!([0, 10, 200].map(pace), [1; 3]);
        assert_eq!([201, 400, 3_900].map(pace), [2, 2, 20]);
        assert_eq!(pace_for(Duration::MAX / 2, DEFAULT), PACE_MAX);
        assert_eq!(pace_for(SECOND, Duration::from_secs(3_600)), 1);
    }
}
