//! A campaign put in order, once for all checks.
//!
//! Everything is sorted and joined; nothing is looked up in a table whose order could depend on a
//! seed. Positions are kept as `u32` and strings as hashes, so that the index of ten million calls
//! takes less room than the calls.

use std::cmp::Ordering;

use crate::history::{Call, Campaign, Coupon, Operation};

/// A campaign, with its rows and calls by what the checks look for.
pub(crate) struct Index<'a> {
    pub(crate) campaign: &'a Campaign,
    rows_by_sequence: Vec<u32>,
    rows_by_request: Vec<(Key, u32)>,
    rows_by_recipient: Vec<(u64, u32)>,
    rows_by_code: Vec<(u64, u32)>,
    issues_by_request: Vec<(Key, u32)>,
}

/// A request id in two halves, for a `u128` would be aligned to 16 bytes.
type Key = [u64; 2];

/// A call for a coupon.
#[derive(Clone, Copy)]
pub(crate) struct Issue<'a> {
    pub(crate) operation: &'a Operation,
    pub(crate) request_id: u128,
    pub(crate) recipient: &'a str,
}

/// All that is known of one request id.
pub(crate) struct Request<'a> {
    campaign: &'a Campaign,
    rows: &'a [(Key, u32)],
    issues: &'a [(Key, u32)],
}

impl<'a> Request<'a> {
    /// The coupons that it issued, which should be one or none, in the order of issuance.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &'a Coupon> + use<'a> {
        let campaign = self.campaign;
        self.rows.iter().map(move |(_, row)| &campaign.rows[place(*row)])
    }

    /// The calls that carried it, in the order of the recording.
    pub(crate) fn issues(&self) -> impl Iterator<Item = Issue<'a>> + use<'a> {
        let campaign = self.campaign;
        self.issues.iter().filter_map(move |(_, call)| issue(&campaign.operations[place(*call)]))
    }
}

impl<'a> Index<'a> {
    /// Puts a campaign in order.
    pub(crate) fn of(campaign: &'a Campaign) -> Self {
        let rows = &campaign.rows;
        let sequence = |row: &u32| rows[place(*row)].sequence;
        let recipient = |row: &u32| &*rows[place(*row)].recipient;

        let code = |row: &u32| &*rows[place(*row)].code;

        let mut rows_by_sequence: Vec<u32> = numbered(rows).map(|(number, _)| number).collect();
        rows_by_sequence.sort_by_key(sequence);

        let mut rows_by_request: Vec<(Key, u32)> =
            numbered(rows).map(|(number, row)| (key(row.request_id), number)).collect();
        rows_by_request.sort_unstable_by(|(one, row), (other, another)| {
            one.cmp(other).then_with(|| sequence(row).cmp(&sequence(another)))
        });

        let mut rows_by_recipient: Vec<(u64, u32)> =
            numbered(rows).map(|(number, row)| (hash(&row.recipient), number)).collect();
        rows_by_recipient.sort_unstable_by(|(one, row), (other, another)| {
            one.cmp(other)
                .then_with(|| recipient(row).cmp(recipient(another)))
                .then_with(|| sequence(row).cmp(&sequence(another)))
        });

        // Few histories look a coupon up by its code.
        let looks_codes_up = campaign.operations.iter().any(|call| call.code().is_some());
        let mut rows_by_code: Vec<(u64, u32)> = numbered(rows)
            .filter(|_| looks_codes_up)
            .map(|(number, row)| (hash(&row.code), number))
            .collect();
        rows_by_code.sort_unstable_by(|(one, row), (other, another)| {
            one.cmp(other)
                .then_with(|| code(row).cmp(code(another)))
                .then_with(|| sequence(row).cmp(&sequence(another)))
        });

        let mut issues_by_request: Vec<(Key, u32)> = numbered(&campaign.operations)
            .filter_map(|(number, call)| Some((key(issue(call)?.request_id), number)))
            .collect();
        issues_by_request.sort_unstable();

        Self {
            campaign,
            rows_by_sequence,
            rows_by_request,
            rows_by_recipient,
            rows_by_code,
            issues_by_request,
        }
    }

    /// The rows in the order of their sequence numbers.
    pub(crate) fn rows_by_sequence(&self) -> impl Iterator<Item = &'a Coupon> {
        let campaign = self.campaign;
        self.rows_by_sequence.iter().map(move |row| &campaign.rows[place(*row)])
    }

    /// Whether there is a row with this sequence number.
    pub(crate) fn has_sequence(&self, sequence: u64) -> bool {
        let rows = &self.campaign.rows;
        self.rows_by_sequence
            .binary_search_by_key(&sequence, |row| rows[place(*row)].sequence)
            .is_ok()
    }

    /// All calls for a coupon, in the order of the recording.
    pub(crate) fn issues(&self) -> impl Iterator<Item = Issue<'a>> + use<'a> {
        self.campaign.operations.iter().filter_map(issue)
    }

    /// All request ids that were sent or found.
    pub(crate) fn requests(&self) -> impl Iterator<Item = Request<'_>> {
        let (mut rows, mut issues) = (&*self.rows_by_request, &*self.issues_by_request);
        std::iter::from_fn(move || {
            let least = match (rows.first(), issues.first()) {
                (Some((row, _)), Some((call, _))) => *row.min(call),
                (Some((only, _)), None) | (None, Some((only, _))) => *only,
                (None, None) => return None,
            };
            let campaign = self.campaign;
            let request = Request {
                campaign,
                rows: take(&mut rows, least),
                issues: take(&mut issues, least),
            };
            Some(request)
        })
    }

    /// The coupons of each recipient that has any, in the order of issuance.
    pub(crate) fn holders(&self) -> impl Iterator<Item = Vec<&'a Coupon>> {
        let rows = &self.campaign.rows;
        let same = |(one, row): &(u64, u32), (other, another): &(u64, u32)| {
            one == other && rows[place(*row)].recipient == rows[place(*another)].recipient
        };
        self.rows_by_recipient
            .chunk_by(same)
            .map(|held| held.iter().map(|(_, row)| &rows[place(*row)]).collect())
    }

    /// The coupons of a recipient, in the order of issuance.
    pub(crate) fn held_by(&self, recipient: &str) -> impl ExactSizeIterator<Item = &'a Coupon> {
        let rows = &self.campaign.rows;
        let wanted = hash(recipient);
        let held = equal(&self.rows_by_recipient, |(found, row)| {
            found.cmp(&wanted).then_with(|| (*rows[place(*row)].recipient).cmp(recipient))
        });
        held.iter().map(|(_, row)| &rows[place(*row)])
    }

    /// The coupon with which a recipient reached the limit; `None` if it did not.
    pub(crate) fn coupon_at_limit(&self, recipient: &str) -> Option<&'a Coupon> {
        let last = self.campaign.per_recipient_limit.checked_sub(1)?;
        self.held_by(recipient).nth(usize::try_from(last).ok()?)
    }

    /// The coupon with this code, the first one if there are several.
    pub(crate) fn with_code(&self, code: &str) -> Option<&'a Coupon> {
        let rows = &self.campaign.rows;
        let wanted = hash(code);
        let found = equal(&self.rows_by_code, |(found, row)| {
            found.cmp(&wanted).then_with(|| (*rows[place(*row)].code).cmp(code))
        });
        found.first().map(|(_, row)| &rows[place(*row)])
    }
}

/// The entries that compare as equal, of entries that are in order.
fn equal<T>(entries: &[T], compare: impl Fn(&T) -> Ordering) -> &[T] {
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

/// Items with their positions.
pub(crate) fn numbered<T>(items: &[T]) -> impl Iterator<Item = (u32, &T)> {
    (0..=u32::MAX).zip(items)
}

/// A position as the standard library wants it.
pub(crate) fn place(number: u32) -> usize {
    usize::try_from(number).expect("memory that holds the history has addresses of 32 bits or more")
}

fn key(request_id: u128) -> Key {
    let [high, low] = [request_id >> 64, request_id & u128::from(u64::MAX)];
    [high, low].map(|half| u64::try_from(half).expect("half of 128 bits are 64"))
}

fn issue(operation: &Operation) -> Option<Issue<'_>> {
    match &operation.call {
        Call::Issue { request_id, recipient } => {
            Some(Issue { operation, request_id: *request_id, recipient })
        }
        Call::Get | Call::Redeem { .. } | Call::Void { .. } => None,
    }
}

/// Takes the entries of one key off the front.
fn take<'a>(entries: &mut &'a [(Key, u32)], wanted: Key) -> &'a [(Key, u32)] {
    let count = entries.iter().take_while(|(found, _)| *found == wanted).count();
    let (taken, rest) = entries.split_at(count);
    *entries = rest;
    taken
}
