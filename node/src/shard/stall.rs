//! A leader whose entries do not get through, although its heartbeats do: a network that loses long packets only. Another
//! replica may have a better way to the others, so this one steps aside.

use std::time::{Duration, Instant};

/// Election timeouts without a committed entry, while one waits, after which a leader steps aside. Busy disks commit
/// one now and then.
pub(super) const TIMEOUTS_MAX: u32 = 4;

/// Pause before the same replica steps aside again. It doubles each time, since stepping aside holds up the shard, and may
/// not help.
const PAUSE: Duration = Duration::from_secs(15);
/// It grows no longer than this.
const PAUSE_MAX: Duration = Duration::from_mins(10);

/// Watches whether a leader commits what it has appended.
#[derive(Debug, Default)]
pub(super) struct Stall {
    committed: u64,
    /// Since when entries wait and none is committed.
    since: Option<Instant>,
    /// How many times the leader has stepped aside.
    times: u32,
    pause_until: Option<Instant>,
}

impl Stall {
    /// Looks at the last entry of a leader that a quorum answers, and at the last one that is committed. Returns how many
    /// times it has stepped aside by now, if it is to do so: nothing was committed for `patience`.
    pub(super) fn look(
        &mut self,
        last: u64,
        committed: u64,
        patience: Duration,
        now: Instant,
    ) -> Option<u32> {
        let moves = committed != self.committed || last <= committed;
        self.committed = committed;
        if moves {
            self.since = (last > committed).then_some(now);
            return None;
        }
        let since = *self.since.get_or_insert(now);
        let may = self.pause_until.is_none_or(|until| until <= now);
        if now.saturating_duration_since(since) < patience || !may {
            return None;
        }
        let pause = PAUSE.saturating_mul(2_u32.saturating_pow(self.times)).min(PAUSE_MAX);
        self.times += 1;
        self.pause_until = Some(now + pause);
        self.since = None;
        Some(self.times)
    }

    /// The replica does not lead, or nothing can be said.
    pub(super) fn forget(&mut self) {
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(3);

    /// Looks once a second at (last, committed), and returns when it stepped aside.
    fn aside(looks: impl IntoIterator<Item = (u64, u64)>) -> Vec<u64> {
        let (mut stall, start) = (Stall::default(), Instant::now());
        let looks = (0..).zip(looks).filter_map(|(second, (last, committed))| {
            let now = start + Duration::from_secs(second);
            stall.look(last, committed, PATIENCE, now).map(|_| second)
        });
        looks.collect()
    }

    #[test]
    fn a_leader_steps_aside_when_nothing_is_committed_for_long_although_entries_wait() {
        assert_eq!(aside([(7, 5); 5]), [3]);
        assert!(aside([(5, 5); 60]).is_empty(), "nothing waits");
        let slow = (0..60).map(|second| (100, second / 2));
        assert!(aside(slow).is_empty(), "slow, but it goes on");
    }

    #[test]
    fn it_does_so_more_and_more_rarely() {
        let aside = aside([(7, 5); 4_000]);
        let pauses: Vec<u64> = aside.windows(2).map(|two| two[1] - two[0]).collect();
        assert_eq!(pauses[..5], [15, 30, 60, 120, 240]);
        assert!(pauses[6..].iter().all(|pause| *pause == PAUSE_MAX.as_secs()), "{pauses:?}");
    }
}
