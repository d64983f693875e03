//! Which quota a campaign may have had when.

use crate::history::{Call, Campaign, Outcome};

/// The quotas of a campaign, the first one included.
pub(crate) struct Quotas(Vec<Set>);

/// A quota, and when it was set.
#[derive(Clone, Copy)]
struct Set {
    quota: u64,
    /// The first moment at which it may have been in force.
    invoked: u64,
    /// The first moment at which it or a later one surely was; `None`: it may never have been.
    returned: Option<u64>,
}

impl Quotas {
    /// The quotas that a campaign had, or may have had.
    pub(crate) fn of(campaign: &Campaign) -> Self {
        let first = Set { quota: campaign.quota, invoked: 0, returned: Some(0) };
        let changes = campaign.operations.iter().filter_map(|operation| {
            let Call::SetQuota { quota } = operation.call else { return None };
            let is_done = operation.outcome == Outcome::Done;
            let set = Set {
                quota,
                invoked: operation.invoked,
                returned: is_done.then_some(operation.returned),
            };
            (is_done || operation.outcome == Outcome::Unknown).then_some(set)
        });
        Self(std::iter::once(first).chain(changes).collect())
    }

    /// Whether it was ever changed.
    pub(crate) fn have_changed(&self) -> bool {
        self.0.len() > 1
    }

    /// The least quota that may have been in force at a moment between two, both included.
    pub(crate) fn least(&self, from: u64, until: u64) -> u64 {
        self.within(from, until).min().unwrap_or(0)
    }

    /// The greatest one.
    pub(crate) fn greatest(&self, from: u64, until: u64) -> u64 {
        self.within(from, until).max().unwrap_or(u64::MAX)
    }

    fn within(&self, from: u64, until: u64) -> impl Iterator<Item = u64> {
        // The latest of those that were surely set by then: what was set before it was asked for is in force no more.
        let surely_set = self.0.iter().filter(move |set| set.returned.is_some_and(|at| at < from));
        let replaced_before = surely_set.map(|set| set.invoked).max().unwrap_or(0);
        let may_be = self.0.iter().filter(move |set| {
            set.invoked <= until && set.returned.is_none_or(|at| at >= replaced_before)
        });
        may_be.map(|set| set.quota)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{campaign, operation};

    #[test]
    fn a_quota_is_in_force_from_its_call_to_the_answer_of_a_later_one() {
        let mut campaign = campaign("a", 10);
        for (invoked, quota, outcome) in [
            (10_000, 20, Outcome::Done),
            (20_000, 30, Outcome::Unknown),
            (30_000, 40, Outcome::Refused),
            (40_000, 50, Outcome::Done),
        ] {
            campaign.operations.push(operation(invoked, Call::SetQuota { quota }, outcome));
        }
        let quotas = Quotas::of(&campaign);
        for (from, until, least, greatest) in [
            (0, 9_999, 10, 10),
            (0, 10_000, 10, 20),
            (10_100, 10_100, 10, 20),
            (10_101, 19_999, 20, 20),
            (10_101, 20_000, 20, 30),
            // It may still happen.
            (39_000, 39_000, 20, 30),
            (39_000, 40_000, 20, 50),
            (90_000, 90_000, 30, 50),
        ] {
            let found = (quotas.least(from, until), quotas.greatest(from, until));
            assert_eq!(found, (least, greatest), "{from} to {until}");
        }
    }
}
