//! When a leader makes way for the replica that the map prefers.

use std::time::{Duration, Instant};

/// Minimum time that a leader stays before it makes way, so that leadership does not flap. A transfer holds the shard up
/// for several rounds, which take longer where disks are slow.
const LEADER_AGE_MIN: Duration = Duration::from_secs(5);
/// Pause before a transfer is tried again. It doubles whenever one fails, and whenever the preferred replica loses the
/// leadership again soon: each attempt holds up the shard.
const PAUSE: Duration = Duration::from_secs(5);
/// It grows no longer than this.
const PAUSE_MAX: Duration = Duration::from_mins(5);
/// A preferred replica that led for this long has held its leadership.
const HELD_MIN: Duration = Duration::from_mins(10);

/// What a replica remembers of its attempts to make way. All times but `HELD_MIN` are by Raft's clock: the caller says how
/// much slower it goes than the real one.
#[derive(Debug)]
pub(super) struct Preference {
    leading_since: Option<Instant>,
    pause: Duration,
    pause_until: Option<Instant>,
    /// When the preferred replica last got the leadership from this one.
    transferred: Option<Instant>,
}

impl Default for Preference {
    fn default() -> Self {
        Self { leading_since: None, pause: PAUSE, pause_until: None, transferred: None }
    }
}

impl Preference {
    /// The replica leads.
    pub(super) fn leads(&mut self, now: Instant, pace: u32) {
        if self.leading_since.is_some() {
            return;
        }
        self.leading_since = Some(now);
        match self.transferred.take() {
            Some(at) if now.saturating_duration_since(at) < HELD_MIN => self.back_off(now, pace),
            Some(_) | None => self.pause = PAUSE,
        }
    }

    /// The replica does not lead.
    pub(super) fn does_not_lead(&mut self) {
        self.leading_since = None;
    }

    /// Whether it is time to make way.
    pub(super) fn is_due(&self, now: Instant, pace: u32) -> bool {
        let age_min = LEADER_AGE_MIN.saturating_mul(pace);
        let is_old = |since| now.saturating_duration_since(since) >= age_min;
        self.leading_since.is_some_and(is_old) && self.pause_until.is_none_or(|until| until <= now)
    }

    /// It was tried, with or without success.
    pub(super) fn was_tried(&mut self, succeeded: bool, now: Instant, pace: u32) {
        if succeeded {
            self.transferred = Some(now);
        } else {
            self.back_off(now, pace);
        }
    }

    fn back_off(&mut self, now: Instant, pace: u32) {
        self.pause_until = Some(now + self.pause.saturating_mul(pace));
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many seconds after `now` it is time to make way.
    fn due_after(preference: &Preference, now: Instant, pace: u32) -> u64 {
        let is_due = |seconds: &u64| preference.is_due(now + Duration::from_secs(*seconds), pace);
        (0..10_000).find(is_due).expect("it becomes due")
    }

    #[test]
    fn a_leader_stays_for_a_while_by_the_clock_of_raft() {
        let (mut preference, now) = (Preference::default(), Instant::now());
        assert!(!preference.is_due(now, 1), "it does not lead");
        preference.leads(now, 4);
        assert_eq!((due_after(&preference, now, 1), due_after(&preference, now, 4)), (5, 20));
        preference.does_not_lead();
        assert!(!preference.is_due(now + HELD_MIN, 1));
    }

    #[test]
    fn failures_make_the_pause_longer() {
        let (mut preference, mut now) = (Preference::default(), Instant::now());
        preference.leads(now, 1);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            preference.was_tried(false, now, 1);
            let pause = due_after(&preference, now, 1);
            pauses.push(pause);
            now += Duration::from_secs(pause);
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn a_preferred_replica_that_loses_the_leadership_again_gets_it_later_each_time() {
        let (mut preference, mut now) = (Preference::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..4 {
            preference.leads(now, 1);
            let wait = due_after(&preference, now, 1);
            waits.push(wait);
            now += Duration::from_secs(wait);
            preference.was_tried(true, now, 1);
            preference.does_not_lead();
            now += Duration::from_secs(30);
        }
        assert_eq!(waits, [5, 5, 10, 20]);
        now += HELD_MIN;
        preference.leads(now, 1);
        assert_eq!(due_after(&preference, now, 1), 5, "it has held its leadership");
    }
}
