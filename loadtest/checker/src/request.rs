//! Calls and coupons joined by their request id.

use std::collections::BTreeMap;

use crate::history::{Coupon, Operation, Outcome};
use crate::issue::Issue;
use crate::position::{as_answered, numbered, place};

/// Which calls and coupons have the same request id.
///
/// Requests are kept in the order in which they were recorded first, which is nearly that of the
/// coupons: an iteration goes through memory from one end to the other, and does not jump about in it
/// as the ids do.
pub(crate) struct Requests {
    /// For each call, then for each coupon: the number of the request's first call, or of its coupon
    /// if it has no call; and the number of the call or coupon itself. Coupons are counted from the
    /// number of calls on.
    joined: Vec<(u32, u32)>,
}

/// All that is known of one request id.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    operations: &'a [Operation],
    found: &'a [&'a Coupon],
    issues: &'a [(u32, u32)],
    rows: &'a [(u32, u32)],
}

/// What the calls of a request for one recipient say of the coupon that it issued to that recipient.
#[derive(Clone, Copy, Default)]
pub(crate) struct Asked {
    /// When a call was first sent that may have issued it; `None` if there is no such call.
    pub(crate) earliest: Option<u64>,
    /// When the call was sent that was told to be the first one.
    pub(crate) first: Option<u64>,
    /// When a call was last sent that was refused for another reason than those of the campaign.
    pub(crate) refused: Option<u64>,
}

impl Requests {
    /// Joins all calls for a coupon with all coupons.
    pub(crate) fn of(operations: &[Operation], rows: &[&Coupon]) -> Self {
        let issues = numbered(operations)
            .filter_map(|(number, call)| Some((key(Issue::of(call)?.request_id), number)));
        let rows =
            (first_row(operations)..).zip(rows).map(|(number, row)| (key(row.request_id), number));
        let mut by_id: Vec<([u64; 2], u32)> = issues.chain(rows).collect();
        by_id.sort_unstable();
        let mut joined = Vec::with_capacity(by_id.len());
        for request in by_id.chunk_by(|(one, _), (other, _)| one == other) {
            let (_, first) = request[0];
            joined.extend(request.iter().map(|(_, number)| (first, *number)));
        }
        joined.sort_unstable();
        Self { joined }
    }

    /// All requests. The arguments must be those that they were joined from.
    pub(crate) fn all<'a>(
        &'a self,
        operations: &'a [Operation],
        found: &'a [&'a Coupon],
    ) -> impl Iterator<Item = Request<'a>> {
        let first_row = first_row(operations);
        self.joined.chunk_by(|(one, _), (other, _)| one == other).map(move |request| {
            let issues = request.partition_point(|(_, number)| *number < first_row);
            let (issues, rows) = request.split_at(issues);
            Request { operations, found, issues, rows }
        })
    }
}

impl<'a> Request<'a> {
    /// The coupons that it issued, which should be one or none, in the order of issuance.
    pub(crate) fn rows(self) -> impl Iterator<Item = &'a Coupon> {
        let first_row = first_row(self.operations);
        self.rows.iter().map(move |(_, number)| self.found[place(number - first_row)])
    }

    /// Whether it issued exactly this coupon.
    pub(crate) fn issued(self, sequence: u64, code: &str, recipient: &str) -> bool {
        let first_row = first_row(self.operations);
        let row = |number: u32| as_answered(self.found[place(number - first_row)]);
        let wanted = (sequence, code, recipient);
        self.rows.binary_search_by(|(_, number)| row(*number).cmp(&wanted)).is_ok()
    }

    /// What its calls say of its coupons, by recipient, of which there should be one.
    pub(crate) fn asked(self) -> BTreeMap<&'a str, Asked> {
        let mut by_recipient = BTreeMap::new();
        for Issue { operation, recipient, .. } in self.issues() {
            let asked: &mut Asked = by_recipient.entry(recipient).or_default();
            let invoked = operation.invoked;
            if matches!(operation.outcome, Outcome::Issued { replayed: false, .. }) {
                asked.first.get_or_insert(invoked);
            }
            if operation.outcome == Outcome::Refused {
                asked.refused = asked.refused.max(Some(invoked));
            }
            if matches!(operation.outcome, Outcome::Issued { .. } | Outcome::Unknown) {
                asked.earliest = Some(asked.earliest.map_or(invoked, |at| at.min(invoked)));
            }
        }
        by_recipient
    }

    /// The calls that carried it, in the order of the recording.
    pub(crate) fn issues(self) -> impl Iterator<Item = Issue<'a>> {
        self.issues
            .iter()
            .filter_map(move |(_, number)| Issue::of(&self.operations[place(*number)]))
    }
}

/// The number of the first coupon.
fn first_row(operations: &[Operation]) -> u32 {
    u32::try_from(operations.len()).expect("memory does not hold that many calls")
}

/// A request id in two halves, for a `u128` would be aligned to 16 bytes.
fn key(request_id: u128) -> [u64; 2] {
    [request_id >> 64, request_id & u128::from(u64::MAX)]
        .map(|half| u64::try_from(half).expect("half of 128 bits are 64"))
}

#[cfg(test)]
mod tests {
    use crate::history::Outcome;
    use crate::index::Index;
    use crate::sample::{after, campaign, issue};

    #[test]
    fn requests_are_joined_in_the_order_of_the_recording() {
        let mut campaign = campaign("a", 4);
        campaign.rows.reverse();
        campaign.operations.remove(2);
        let again = campaign.operations[0].clone();
        campaign.operations.push(issue(9, "in vain", after(4), Outcome::SoldOut));
        campaign.operations.push(again);
        let index = Index::of(&campaign);
        let seen: Vec<(Vec<u64>, usize)> = index
            .requests()
            .map(|request| {
                let rows = request.rows().map(|row| row.sequence).collect();
                (rows, request.issues().count())
            })
            .collect();
        let expected = [(vec![1], 2), (vec![2], 1), (vec![4], 1), (vec![], 1), (vec![3], 0)];
        assert_eq!(seen, expected);
    }
}
