//! A read of all counters shows what its campaign had issued, returned and held at one moment.
//!
//! Each change of the campaign makes a revision: a coupon that is issued, a hold that is made or released, a coupon that
//! returns its quota. So the revision that a read shows says which changes it has seen: the first ones by log time. Their
//! counters follow from them, but for the holds that had expired: log time at the read is known only to be between two
//! moments. Changes at one moment of log time come in an order that is not known; a read between them is given the
//! benefit of any.

use crate::findings::Findings;
use crate::history::{Balance, Campaign, HoldEnd};

/// What a change does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    /// A coupon is issued without a hold.
    Issue,
    /// A coupon returns its quota.
    Return,
    /// A hold is made that expires at a moment.
    Hold { expires: u64 },
    /// Such a hold becomes a coupon.
    Confirm { expires: u64 },
    /// Such a hold is released.
    Release { expires: u64 },
}

/// Between which values a counter is, both included.
type Range = (u64, u64);

/// Finds reads whose counters are not the quota, or not those of any moment at which they can have been read.
pub(crate) fn judge(campaign: &Campaign, findings: &mut Findings) {
    for balance in &campaign.balances {
        let Balance { issued, returned, held, remaining, .. } = *balance;
        let used = issued.checked_sub(returned).and_then(|used| used.checked_add(held));
        let all = used.and_then(|used| used.checked_add(remaining));
        let is_right = all == Some(campaign.quota);
        findings.add(campaign, u64::from(!is_right), || {
            format!(
                "{issued} issued less {returned} returned, {held} held and {remaining} left are not the quota of {}",
                campaign.quota
            )
        });
    }
    let changes = changes(campaign);
    let mut balances: Vec<&Balance> = campaign.balances.iter().collect();
    balances.sort_by_key(|balance| balance.revision);
    let mut seen = Seen::none_of(&changes);
    for balance in balances {
        let wrong = seen.contradiction(&changes, balance);
        findings.add(campaign, u64::from(wrong.is_some()), || wrong.unwrap_or_default());
    }
}

/// All changes of a campaign after its creation, in the order of log time.
fn changes(campaign: &Campaign) -> Vec<(u64, Change)> {
    let mut all = Vec::new();
    for claim in &campaign.claims {
        all.push((claim.from, Change::Issue));
        all.extend(claim.until.map(|until| (until, Change::Return)));
    }
    for hold in &campaign.holds {
        let expires = hold.expires;
        all.push((hold.from, Change::Hold { expires }));
        match hold.end {
            HoldEnd::Expired => {}
            HoldEnd::Confirmed { at, until } => {
                all.push((at, Change::Confirm { expires }));
                all.extend(until.map(|until| (until, Change::Return)));
            }
            HoldEnd::Released { at } => all.push((at, Change::Release { expires })),
        }
    }
    all.sort_unstable();
    all
}

/// The state of a campaign after the first of its changes, those of one moment together.
struct Seen {
    count: usize,
    issued: u64,
    returned: u64,
    open: Open,
}

impl Seen {
    fn none_of(changes: &[(u64, Change)]) -> Self {
        Self { count: 0, issued: 0, returned: 0, open: Open::of(changes) }
    }

    /// What is wrong with a read. Reads are to come in the order of their revisions.
    fn contradiction(&mut self, changes: &[(u64, Change)], balance: &Balance) -> Option<String> {
        let Balance { issued, returned, held, revision, from, until, .. } = *balance;
        let count = usize::try_from(revision.saturating_sub(1)).unwrap_or(usize::MAX);
        if revision == 0 || count > changes.len() {
            let all = changes.len();
            return Some(format!("a read shows revision {revision}, and {all} changes were made"));
        }
        let sure = changes.partition_point(|(at, _)| *at < from);
        if count < sure {
            return Some(format!(
                "a read shows revision {revision} after {sure} changes were answered"
            ));
        }
        let mut together = self.next(changes);
        while self.count + together.len() <= count && !together.is_empty() {
            together.iter().for_each(|(_, change)| self.add(*change));
            self.count += together.len();
            together = self.next(changes);
        }
        // Some of the changes of the next moment may have been seen.
        let together = if count > self.count { together } else { &[] };
        let last = self.count.checked_sub(1).map_or(0, |last| changes[last].0);
        let first = together.first().map_or(last, |(at, _)| *at).max(from);
        if first > until {
            return Some(format!("a read shows revision {revision} before it was made"));
        }
        let count = |is_one: fn(&Change) -> bool| {
            together.iter().filter(|(_, change)| is_one(change)).count() as u64
        };
        let issues = count(|change| matches!(change, Change::Issue | Change::Confirm { .. }));
        let returns = count(|change| *change == Change::Return);
        let made = count(|change| matches!(change, Change::Hold { .. }));
        let ended =
            count(|change| matches!(change, Change::Confirm { .. } | Change::Release { .. }));
        let least = self.open.after(until).saturating_sub(ended);
        let most = self.open.after(first) + made;
        let counters = [
            ("issued", issued, (self.issued, self.issued + issues)),
            ("returned", returned, (self.returned, self.returned + returns)),
            ("held", held, (least, most)),
        ];
        let is_wrong =
            |(_, shown, (least, most)): &(&str, u64, Range)| shown < least || shown > most;
        let (counter, shown, (least, most)) = counters.into_iter().find(is_wrong)?;
        Some(format!(
            "a read of revision {revision} shows {shown} {counter}, and there were {least} to {most}"
        ))
    }

    /// The changes of the next moment.
    fn next<'a>(&self, changes: &'a [(u64, Change)]) -> &'a [(u64, Change)] {
        let rest = &changes[self.count..];
        let same = rest.iter().take_while(|(at, _)| Some(*at) == rest.first().map(|(at, _)| *at));
        &rest[..same.count()]
    }

    fn add(&mut self, change: Change) {
        match change {
            Change::Issue => self.issued += 1,
            Change::Return => self.returned += 1,
            Change::Hold { expires } => self.open.add(expires, 1),
            Change::Confirm { expires } => {
                self.issued += 1;
                self.open.add(expires, -1);
            }
            Change::Release { expires } => self.open.add(expires, -1),
        }
    }
}

/// The open holds by their ends, as a Fenwick tree: both its operations take O(log n).
struct Open {
    /// The ends of all holds, in order.
    ends: Vec<u64>,
    tree: Vec<i64>,
}

impl Open {
    fn of(changes: &[(u64, Change)]) -> Self {
        let ends = changes.iter().filter_map(|(_, change)| match change {
            Change::Hold { expires } => Some(*expires),
            Change::Issue | Change::Return | Change::Confirm { .. } | Change::Release { .. } => {
                None
            }
        });
        let mut ends: Vec<u64> = ends.collect();
        ends.sort_unstable();
        ends.dedup();
        let tree = vec![0; ends.len() + 1];
        Self { ends, tree }
    }

    /// Adds one that ends then, or takes it out.
    fn add(&mut self, end: u64, change: i64) {
        let mut place = self.ends.partition_point(|other| *other <= end);
        while place > 0 {
            self.tree[place] += change;
            place &= place - 1;
        }
    }

    /// How many end after a moment.
    fn after(&self, moment: u64) -> u64 {
        let mut place = self.ends.partition_point(|end| *end <= moment) + 1;
        let mut sum = 0;
        while place < self.tree.len() {
            sum += self.tree[place];
            place += place & place.wrapping_neg();
        }
        u64::try_from(sum).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use crate::history::{Balance, Campaign, Claim, Hold, HoldEnd};
    use crate::sample::{campaign, history};
    use crate::{Check, check};

    fn hold(number: u128, from: u64, expires: u64, end: HoldEnd) -> Hold {
        let recipient = format!("holder-{number}").into();
        Hold { id: number, recipient, from, expires, end, confirmations: 0, releases: 0 }
    }

    /// A campaign that issued one coupon at 10, which returned its quota at 50, and held three: one is confirmed, one
    /// released, and one expires.
    fn with_holds() -> Campaign {
        let mut campaign = campaign("a", 2);
        campaign.quota = 9;
        let of_hold = campaign.rows[1].clone();
        let recipient = campaign.rows[0].recipient.clone();
        campaign.claims = vec![Claim { recipient, from: 10, until: Some(50) }];
        let confirmed = HoldEnd::Confirmed { at: 30, until: None };
        campaign.holds = vec![
            Hold { recipient: of_hold.recipient, ..hold(of_hold.request_id, 20, 60, confirmed) },
            hold(1, 20, 45, HoldEnd::Expired),
            hold(2, 25, 70, HoldEnd::Released { at: 40 }),
        ];
        campaign
    }

    fn read(revision: u64, counters: [u64; 3], (from, until): (u64, u64)) -> Balance {
        let [issued, returned, held] = counters;
        let remaining = 9 + returned - issued - held;
        Balance { issued, returned, held, remaining, revision, from, until }
    }

    /// Whether a read is found to be wrong.
    fn is_found(balance: Balance) -> bool {
        let campaign = Campaign { balances: vec![balance], ..with_holds() };
        let verdict = check(&history([campaign]));
        let found = verdict.found(Check::Holds);
        assert!(verdict.is_ok() == (found == 0), "other checks found something: {verdict}");
        assert!(found < 2, "{verdict}");
        found > 0
    }

    /// In each of these, every counter that is one off is found, though all of them add up to the quota.
    #[test]
    fn every_counter_of_every_revision_is_judged() {
        for (revision, counters, when) in [
            (1, [0, 0, 0], (0, 9)),
            (2, [1, 0, 0], (10, 19)),
            (4, [1, 0, 2], (20, 24)),
            (5, [1, 0, 3], (25, 29)),
            (6, [2, 0, 2], (30, 39)),
            (7, [2, 0, 1], (40, 44)),
            (7, [2, 0, 0], (45, 49)),
            (8, [2, 1, 0], (50, 99)),
        ] {
            assert!(!is_found(read(revision, counters, when)), "{revision}");
            for counter in 0..3 {
                let mut more = counters;
                more[counter] += 1;
                let less = counters[counter].checked_sub(1).map(|less| {
                    let mut all = counters;
                    all[counter] = less;
                    all
                });
                for wrong in std::iter::once(more).chain(less) {
                    if wrong[1] <= wrong[0] {
                        assert!(is_found(read(revision, wrong, when)), "{revision} {wrong:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_hold_that_may_have_expired_counts_or_not() {
        for (held, when, expected) in [
            (1, (40, 44), false),
            (0, (40, 44), true),
            (0, (40, 45), false),
            (1, (40, 45), false),
            (1, (45, 45), true),
            (2, (40, 45), true),
        ] {
            assert_eq!(is_found(read(7, [2, 0, held], when)), expected, "{held} {when:?}");
        }
    }

    #[test]
    fn changes_of_one_moment_come_in_any_order() {
        for (counters, expected) in [([1, 0, 1], false), ([1, 0, 2], false), ([1, 0, 3], true)] {
            assert_eq!(is_found(read(3, counters, (20, 24))), expected, "{counters:?}");
        }
    }

    #[test]
    fn a_read_shows_what_was_answered_before_and_nothing_later() {
        let stale = |from| is_found(read(6, [2, 0, 2], (from, 44)));
        assert_eq!([30, 40, 41].map(stale), [false, false, true]);
        let early = |until| is_found(read(6, [2, 0, 2], (25, until)));
        assert_eq!([30, 29].map(early), [false, true]);
        assert!(is_found(read(9, [2, 1, 0], (50, 99))), "there was no such change");
        assert!(is_found(read(0, [0, 0, 0], (0, 9))));
    }
}
