//! Which entries of a replica's log are purged. Their effects are in the state, and a follower that needs one of
//! them is sent the whole state instead.

use std::collections::VecDeque;

/// Maximum number of marks kept for members that still need the entries after them. It bounds a log to
/// `MARKS_MAX + 1` times the kept amount while a member is sent the state.
const MARKS_MAX: usize = 16;
/// How many times the kept bytes may be appended while openraft puts a purge off because it is sending the entries to a
/// slow follower. Then its stream is cut.
const POSTPONED_MAX: u64 = 4;

/// A place in the log.
#[derive(Clone, Copy)]
struct Mark {
    /// The last entry applied there.
    index: u64,
    /// The bytes appended until then.
    bytes: u64,
}

/// Decides what one replica purges. Between two marks are `entries_kept` entries or `bytes_kept` bytes of
/// them, whichever come first.
pub(super) struct LogRetention {
    entries_kept: u64,
    bytes_kept: u64,
    marks: VecDeque<Mark>,
    /// The bytes appended until now.
    appended: u64,
    /// The last entry that is to be purged, and the bytes appended until the first purge was asked for that is not done.
    purging: Option<Mark>,
}

impl LogRetention {
    /// Keeps this much of a log, and up to as much again.
    pub(super) fn new(entries_kept: u64, bytes_kept: u64) -> Self {
        let marks = VecDeque::new();
        Self { entries_kept, bytes_kept, marks, appended: 0, purging: None }
    }

    /// Whether it knows yet where the log begins.
    pub(super) fn has_begun(&self) -> bool {
        !self.marks.is_empty()
    }

    /// Notes how far the log was purged and applied when the replica started. Entries from before count as kept ones,
    /// so that restarts do not keep a log for ever.
    pub(super) fn begin(&mut self, purged: u64, applied: u64) {
        self.marks.push_back(Mark { index: purged, bytes: 0 });
        if applied.saturating_sub(purged) > self.entries_kept {
            self.marks.push_back(Mark { index: applied - self.entries_kept, bytes: 0 });
        }
    }

    /// Notes how far the log is applied, and how many bytes were appended to it since the replica started.
    /// Returns whether it set a mark; nothing after the latest mark is purged.
    pub(super) fn advance(&mut self, index: u64, bytes: u64) -> bool {
        self.appended = bytes;
        let is_due = self.marks.back().is_some_and(|last| {
            let entries = index.saturating_sub(last.index);
            let bytes = bytes.saturating_sub(last.bytes);
            entries > 0 && (entries >= self.entries_kept || bytes >= self.bytes_kept)
        });
        if is_due {
            self.marks.push_back(Mark { index, bytes });
        }
        is_due
    }

    /// The index up to which the log may be purged now; `None`: no further than before. `needed` is the last
    /// entry that all members have, where it is known: a member that is being sent the state will want those
    /// behind it.
    pub(super) fn purge_upto(&mut self, needed: Option<u64>) -> Option<u64> {
        let mut upto = None;
        while let Some(oldest) = self.marks.front()
            && self.marks.len() > 1
            && (self.marks.len() > MARKS_MAX || needed.is_none_or(|needed| oldest.index <= needed))
        {
            upto = Some(oldest.index);
            let asked_at = Mark { index: oldest.index, bytes: self.appended };
            self.purging.get_or_insert(asked_at).index = oldest.index;
            self.marks.pop_front();
        }
        upto
    }

    /// The index up to which the log should be purged but is not, although much was appended since that was asked for;
    /// `purged` is how far it is.
    pub(super) fn overdue(&mut self, purged: u64) -> Option<u64> {
        self.purging = self.purging.filter(|purging| purged < purging.index);
        let purging = self.purging?;
        let appended = self.appended.saturating_sub(purging.bytes);
        (appended > self.bytes_kept.saturating_mul(POSTPONED_MAX)).then_some(purging.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_entries_or_bytes_and_up_to_as_much_again() {
        let mut retention = LogRetention::new(100, 1_000);
        retention.begin(7, 7);
        assert_eq!(retention.purge_upto(None), None);
        assert!(!retention.advance(106, 500));
        assert!(retention.advance(107, 500), "by entries");
        assert_eq!(retention.purge_upto(None), Some(7));
        assert!(!retention.advance(108, 1_499));
        assert!(retention.advance(109, 1_500), "by bytes");
        assert_eq!(retention.purge_upto(None), Some(107));
        assert_eq!(retention.purge_upto(None), None);
        assert!(!retention.advance(109, 9_000), "bytes that are not applied yet");
    }

    #[test]
    fn restarts_do_not_keep_a_log_for_ever() {
        let (mut purged, mut applied) = (0, 0);
        for _ in 0..50 {
            let mut retention = LogRetention::new(100, u64::MAX);
            retention.begin(purged, applied);
            // Less than the kept amount in each life.
            for _ in 0..6 {
                applied += 10;
                retention.advance(applied, 0);
                purged = retention.purge_upto(None).unwrap_or(purged);
            }
            assert!(applied - purged <= 260, "{purged} of {applied}");
        }
    }

    #[test]
    fn a_purge_that_is_put_off_is_overdue_after_so_many_bytes() {
        let mut retention = LogRetention::new(10, 100);
        retention.begin(0, 0);
        retention.advance(10, 90);
        assert_eq!(retention.purge_upto(None), Some(0));
        assert_eq!(retention.overdue(0), None);
        retention.advance(20, 180);
        assert_eq!(retention.purge_upto(None), Some(10));
        assert_eq!(retention.overdue(0), None);
        retention.advance(30, 580);
        assert_eq!(retention.purge_upto(None), Some(20));
        assert_eq!(retention.overdue(0), None, "four times the kept bytes since it was asked for");
        retention.advance(40, 581);
        assert_eq!(retention.overdue(0), Some(20), "what was asked for since is included");
        assert_eq!(retention.overdue(10), Some(20));
        assert_eq!(retention.overdue(20), None, "it is done");
        retention.advance(50, 9_000);
        assert_eq!(retention.overdue(20), None);
    }

    #[test]
    fn what_a_member_needs_stays_within_a_bound() {
        let mut retention = LogRetention::new(10, u64::MAX);
        retention.begin(0, 0);
        for index in (0..=50).step_by(10) {
            retention.advance(index, 0);
        }
        assert_eq!(retention.purge_upto(Some(29)), Some(20));
        assert_eq!(retention.purge_upto(Some(29)), None);
        let mut purged = 20;
        for index in (60..1_000).step_by(10) {
            retention.advance(index, 0);
            purged = retention.purge_upto(Some(29)).unwrap_or(purged);
            assert!(index - purged <= 10 * (MARKS_MAX as u64 + 1), "{purged} of {index}");
        }
        assert_eq!(retention.purge_upto(None), Some(980));
    }
}
