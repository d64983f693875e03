//! Entries on their way that may reopen a campaign: make it issue coupons that it would refuse.
//!
//! A refusal without the log must hold for what is on its way as well: an entry there may have the same request, sent
//! earlier over a stream that has broken since. An entry of nothing but issues cannot undo a refusal. One that also
//! changes campaigns or coupons can: it may resume a campaign, make its quota larger, or return quota. So a refusal
//! without the log waits for the outcomes of the entries of this kind that were made before. Those that are made later
//! do not have the request.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

/// Such entries of a shard. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct PendingReopenings(Arc<watch::Sender<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    /// The number of the last one that was made.
    last: u64,
    /// The numbers of those without an outcome: at most as many as there may be entries in flight.
    pending: BTreeSet<u64>,
}

/// Such an entry. It is pending until this is dropped.
#[derive(Debug)]
pub(super) struct PendingReopening {
    all: PendingReopenings,
    number: u64,
}

impl PendingReopenings {
    /// Makes an entry; `make` returns whether it may reopen a campaign. A submission that is over by then is not in it,
    /// so the entries made before [`settled`](Self::settled) are all that can have a request that came before.
    pub(super) fn track(&self, make: impl FnOnce() -> bool) -> Option<PendingReopening> {
        let mut number = None;
        self.0.send_if_modified(|entries| {
            if make() {
                entries.last += 1;
                entries.pending.insert(entries.last);
                number = Some(entries.last);
            }
            // Nobody waits for more of them.
            false
        });
        number.map(|number| PendingReopening { all: self.clone(), number })
    }

    /// Waits for the outcomes of the entries that were made before, one that is being made included. They come when the
    /// entries are applied, or the leadership ends; the caller limits the time.
    pub(super) async fn settled(&self) {
        let last = self.0.borrow().last;
        let mut entries = self.0.subscribe();
        let is_settled = |now: &Entries| now.pending.first().is_none_or(|first| *first > last);
        // It cannot fail: the sender is in `self`.
        let _ = entries.wait_for(is_settled).await;
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

    fn is_settled(reopenings: &PendingReopenings) -> bool {
        reopenings.settled().now_or_never().is_some()
    }

    #[test]
    fn an_entry_is_pending_until_it_is_dropped() {
        let reopenings = PendingReopenings::default();
        assert!(reopenings.track(|| false).is_none() && is_settled(&reopenings));
        let (one, other) = (reopenings.track(|| true), reopenings.track(|| true));
        drop(other);
        assert!(!is_settled(&reopenings));
        drop(one);
        assert!(is_settled(&reopenings));
    }

    #[tokio::test]
    async fn entries_that_are_made_later_are_not_waited_for() {
        let reopenings = PendingReopenings::default();
        let first = reopenings.track(|| true);
        let waiting = reopenings.clone();
        let waiting = tokio::spawn(async move { waiting.settled().await });
        // It has begun to wait.
        while reopenings.0.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
        let _later = reopenings.track(|| true);
        assert!(!waiting.is_finished());
        drop(first);
        waiting.await.unwrap();
        assert!(!is_settled(&reopenings));
    }
}
