//! Entries on their way that may open a campaign.
//!
//! A refusal without the log must hold for what is on its way as well: an entry there may have the same request, sent
//! earlier over a stream that has broken since. An entry of nothing but issues and holds cannot undo a refusal. One that also
//! changes campaigns can: it may resume a campaign, or make its quota larger. So can one that voids a coupon or releases
//! a hold. While such an entry is on its way, refusals go through the log. A hold may expire without an entry; but a
//! refusal is given at a time no earlier than that of any entry on its way, and no hold counts that has expired by then.

use std::sync::Arc;

use parking_lot::Mutex;

/// The number of such entries of a shard. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Openings(Arc<Mutex<usize>>);

/// Such an entry. It counts until this is dropped.
#[derive(Debug)]
pub(super) struct Opening(Openings);

impl Openings {
    /// Whether there are any. An entry that is being made counts, since this waits for that.
    pub(super) fn exist(&self) -> bool {
        *self.0.lock() > 0
    }

    /// Makes an entry; `make` returns whether it may open a campaign. A submission that is over when it is asked for
    /// is not in it, so an answer that comes after [`exist`](Self::exist) knows of every entry with its request.
    pub(super) fn track(&self, make: impl FnOnce() -> bool) -> Option<Opening> {
        let mut count = self.0.lock();
        let may_open = make();
        if may_open {
            *count += 1;
        }
        may_open.then(|| Opening(self.clone()))
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        *self.0.0.lock() -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_counts_until_it_is_dropped() {
        let openings = Openings::default();
        assert!(openings.track(|| false).is_none() && !openings.exist());
        let (one, other) = (openings.track(|| true), openings.track(|| true));
        drop(one);
        assert!(openings.exist());
        drop(other);
        assert!(!openings.exist());
    }
}
