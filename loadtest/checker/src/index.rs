//! A campaign put in order, once for all checks.
//!
//! Everything is sorted and joined; nothing is looked up in a table whose order could depend on a
//! seed. Positions are kept as `u32` and strings as hashes, so that the index of ten million calls
//! takes much less room than the calls.

use std::cmp::Ordering;

use crate::history::{Campaign, Coupon};
use crate::issue::Issue;
use crate::position::{as_answered, numbered, place};
use crate::quotas::Quotas;
use crate::request::{Request, Requests};

/// A campaign, with its rows and calls by what the checks look for.
pub(crate) struct Index<'a> {
    pub(crate) campaign: &'a Campaign,
    /// In the order of their sequence numbers; what follows counts them in this order.
    rows: Vec<&'a Coupon>,
    by_recipient: Vec<(u64, u32)>,
    by_code: Vec<(u64, u32)>,
    requests: Requests,
    /// The quotas that were in force.
    pub(crate) quotas: Quotas,
}

impl<'a> Index<'a> {
    /// Puts a campaign in order.
    pub(crate) fn of(campaign: &'a Campaign) -> Self {
        let mut rows: Vec<&Coupon> = campaign.rows.iter().collect();
        rows.sort_by(|one, other| as_answered(one).cmp(&as_answered(other)));
        let requests = Requests::of(&campaign.operations, &rows);
        let by_recipient = by_text(&rows, |row| &row.recipient);
        // Few histories look a coupon up by its code.
        let looks_codes_up = campaign.operations.iter().any(|call| call.code().is_some());
        let by_code = if looks_codes_up { by_text(&rows, |row| &row.code) } else { Vec::new() };
        let quotas = Quotas::of(campaign);
        Self { campaign, rows, by_recipient, by_code, requests, quotas }
    }

    /// The rows in the order of their sequence numbers.
    pub(crate) fn rows_by_sequence(&self) -> impl Iterator<Item = &'a Coupon> {
        self.rows.iter().copied()
    }

    /// Whether there is a row with this sequence number.
    pub(crate) fn has_sequence(&self, sequence: u64) -> bool {
        self.rows.binary_search_by_key(&sequence, |row| row.sequence).is_ok()
    }

    /// All calls for a coupon, in the order of the recording.
    pub(crate) fn issues(&self) -> impl Iterator<Item = Issue<'a>> + use<'a> {
        self.campaign.operations.iter().filter_map(Issue::of)
    }

    /// All request ids that were sent or found, in the order in which they were recorded first.
    pub(crate) fn requests(&self) -> impl Iterator<Item = Request<'_>> {
        self.requests.all(&self.campaign.operations, &self.rows)
    }

    /// The coupons of each recipient that has any, in the order of issuance.
    pub(crate) fn holders(
        &self,
    ) -> impl Iterator<Item = impl ExactSizeIterator<Item = &'a Coupon> + Clone> {
        let rows = &self.rows;
        let same = |(one, row): &(u64, u32), (other, another): &(u64, u32)| {
            one == other && rows[place(*row)].recipient == rows[place(*another)].recipient
        };
        let all = self.by_recipient.chunk_by(same);
        all.map(|held| held.iter().map(|(_, row)| rows[place(*row)]))
    }

    /// The coupons of a recipient, in the order of issuance.
    pub(crate) fn held_by(&self, recipient: &str) -> impl ExactSizeIterator<Item = &'a Coupon> {
        let found = with_text(&self.rows, &self.by_recipient, |row| &row.recipient, recipient);
        found.iter().map(|(_, row)| self.rows[place(*row)])
    }

    /// The coupon with which a recipient reached the limit; `None` if it did not.
    pub(crate) fn coupon_at_limit(&self, recipient: &str) -> Option<&'a Coupon> {
        let last = self.campaign.per_recipient_limit.checked_sub(1)?;
        self.held_by(recipient).nth(usize::try_from(last).ok()?)
    }

    /// The coupon with this code, the first one if there are several.
    pub(crate) fn with_code(&self, code: &str) -> Option<&'a Coupon> {
        let found = with_text(&self.rows, &self.by_code, |row| &row.code, code);
        found.first().map(|(_, row)| self.rows[place(*row)])
    }
}

/// The numbers of all rows by one of their texts, those with the same text in the order of issuance.
fn by_text(rows: &[&Coupon], text: impl Fn(&Coupon) -> &str) -> Vec<(u64, u32)> {
    let mut entries: Vec<(u64, u32)> =
        numbered(rows).map(|(number, row)| (hash(text(row)), number)).collect();
    entries.sort_unstable_by(|(one, row), (other, another)| {
        one.cmp(other)
            .then_with(|| text(rows[place(*row)]).cmp(text(rows[place(*another)])))
            .then(row.cmp(another))
    });
    entries
}

/// The entries of `by_text` whose text is the one that is wanted.
fn with_text<'e>(
    rows: &[&Coupon],
    entries: &'e [(u64, u32)],
    text: impl Fn(&Coupon) -> &str,
    wanted: &str,
) -> &'e [(u64, u32)] {
    let wanted_hash = hash(wanted);
    let compare = |(found, row): &(u64, u32)| {
        found.cmp(&wanted_hash).then_with(|| text(rows[place(*row)]).cmp(wanted))
    };
    let first = entries.partition_point(|entry| compare(entry) == Ordering::Less);
    let rest = &entries[first..];
    let count = rest.partition_point(|entry| compare(entry) == Ordering::Equal);
    &rest[..count]
}

/// A hash of a string, the same for ever: 64-bit FNV-1a. Who uses it compares the strings as well.
pub(crate) fn hash(text: &str) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    text.bytes().fold(BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Call, Operation};
    use crate::sample::campaign;

    /// A recipient and a code of many coupons are found, whatever the order of the rows.
    #[test]
    fn rows_are_found_by_text() {
        let mut campaign = campaign("a", 100);
        for row in campaign.rows.iter_mut().filter(|row| row.sequence % 7 == 0) {
            row.recipient = "collector".into();
        }
        campaign.rows.reverse();
        campaign.operations.push(Operation {
            invoked: 0,
            returned: 0,
            call: Call::Redeem { code: "a-7".into() },
            outcome: crate::Outcome::Refused,
        });
        let index = Index::of(&campaign);
        let held: Vec<u64> = index.held_by("collector").map(|row| row.sequence).collect();
        assert_eq!(held, (1..=14).map(|number| 7 * number).collect::<Vec<u64>>());
        assert_eq!(index.held_by("nobody").len(), 0);
        assert_eq!(index.coupon_at_limit("collector").map(|row| row.sequence), Some(7));
        assert_eq!(index.with_code("a-9").map(|row| row.sequence), Some(9));
        assert_eq!(index.with_code("a-101"), None);
        assert_eq!(index.holders().count(), 100 - 14 + 1);
    }
}
