//! Entries on their way that may reopen a campaign: make it issue coupons that it would refuse.
//!
//! A refusal without the log must hold for what is on its way as well: an entry there may have the same request, sent
//! earlier over a stream that has broken since. An entry of nothing but issues and holds cannot undo a refusal. One that
//! also changes campaigns or coupons can: it may resume a campaign, make its quota larger, return quota, release a
//! hold, or import codes. So a refusal without the log waits for the outcomes of the entries of this kind that were made before, where
//! they may reopen its campaign. Those that are made later do not have the request.
//!
//! A hold may expire without an entry; but a refusal is given at a time no earlier than that of any entry on its way, and
//! no hold counts that has expired by then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::watch;

use crate::codec::reopens::Reopens;

/// Such entries of a shard. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct PendingReopenings(Arc<watch::Sender<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    /// The number of the last one that was made.
    last: u64,
    /// Those without an outcome, by number: at most as many as there may be entries in flight.
    pending: BTreeMap<u64, Vec<Reopens>>,
}

/// Such an entry. It is pending until this is dropped.
#[derive(Debug)]
pub(super) struct PendingReopening {
    all: PendingReopenings,
    number: u64,
}

impl PendingReopenings {
    /// Makes an entry; `make` returns what it may reopen. A submission that is over by then is not in it, so the entries
    /// made before [`settled`](Self::settled) are all that can have a request that came before.
    pub(super) fn track(&self, make: impl FnOnce() -> Vec<Reopens>) -> Option<PendingReopening> {
        let mut number = None;
        self.0.send_if_modified(|entries| {
            let reopens = make();
            if !reopens.is_empty() {
                entries.last += 1;
                entries.pending.insert(entries.last, reopens);
                number = Some(entries.last);
            }
            // More of them end no wait.
            false
        });
        number.map(|number| PendingReopening { all: self.clone(), number })
    }

    /// Waits for the outcomes of the entries that may reopen one of some campaigns and were made before, one that is
    /// being made included. They come when the entries are applied, or the leadership ends; the caller limits the time.
    /// Nobody is asked for the campaigns where there is no such entry.
    pub(super) async fn settled<'a>(&self, campaigns: impl FnOnce() -> BTreeSet<&'a str>) {
        let last = {
            let entries = self.0.borrow();
            if entries.pending.is_empty() {
                return;
            }
            entries.last
        };
        let campaigns = campaigns();
        let concerns = |reopens: &Reopens| match reopens {
            Reopens::Campaign(name) => campaigns.contains(name.as_str()),
            Reopens::Any => true,
        };
        let is_settled =
            |now: &Entries| !now.pending.range(..=last).any(|(_, all)| all.iter().any(concerns));
        // It cannot fail: the sender is in `self`.
        let _ = self.0.subscribe().wait_for(is_settled).await;
    }
}

impl Drop for PendingReopening {
    fn drop(&mut self) {
        self.all.0.send_modify(|entries| {
            entries.pending.remove(&self.number);
        });
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn is_settled(reopenings: &PendingReopenings, campaign: &str) -> bool {
        reopenings.settled(|| [campaign].into()).now_or_never().is_some()
    }

    fn one(campaign: &str) -> Vec<Reopens> {
        vec![Reopens::Campaign(campaign.to_owned())]
    }

    #[test]
    fn an_entry_is_pending_until_it_is_dropped() {
        let reopenings = PendingReopenings::default();
        assert!(reopenings.track(Vec::new).is_none() && is_settled(&reopenings, "a"));
        let (first, second) = (reopenings.track(|| one("a")), reopenings.track(|| one("a")));
        drop(second);
        assert!(!is_settled(&reopenings, "a"));
        drop(first);
        assert!(is_settled(&reopenings, "a"));
    }

    #[test]
    fn entries_that_reopen_other_campaigns_are_not_waited_for() {
        let reopenings = PendingReopenings::default();
        let _one = reopenings.track(|| one("a"));
        assert!(is_settled(&reopenings, "b") && !is_settled(&reopenings, "a"));
        let any = reopenings.track(|| vec![Reopens::Any]);
        assert!(!is_settled(&reopenings, "b"));
        drop(any);
        assert!(is_settled(&reopenings, "b"));
    }

    #[tokio::test]
    async fn entries_that_are_made_later_are_not_waited_for() {
        let reopenings = PendingReopenings::default();
        let first = reopenings.track(|| one("a"));
        let waiting = reopenings.clone();
        let waiting = tokio::spawn(async move { waiting.settled(|| ["a"].into()).await });
        // It has begun to wait.
        while reopenings.0.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
        let _later = reopenings.track(|| one("a"));
        assert!(!waiting.is_finished());
        drop(first);
        waiting.await.unwrap();
        assert!(!is_settled(&reopenings, "a"));
    }
}
