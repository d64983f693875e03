//! Histories without faults, for tests to plant faults in.

use crate::history::{Call, Campaign, Coupon, CouponState, History, Operation, Outcome};

/// How long each call of a sample takes, in nanoseconds; the next one is sent as long after.
pub(crate) const CALL_NANOS: u64 = 100;

/// A campaign that issued its whole quota of `quota` coupons, each to another recipient, one call
/// after the other.
pub(crate) fn campaign(id: &str, quota: u64) -> Campaign {
    let coupon = |sequence| Coupon {
        sequence,
        code: format!("{id}-{sequence}").into(),
        recipient: format!("recipient-{sequence}").into(),
        request_id: u128::from(sequence) << 64,
        state: CouponState::Issued,
    };
    let rows: Vec<Coupon> = (1..=quota).map(coupon).collect();
    let operations = rows.iter().map(|row| issued(row, row.sequence * 2 * CALL_NANOS)).collect();
    Campaign {
        id: id.to_owned(),
        quota,
        per_recipient_limit: 1,
        operations,
        rows,
        is_complete: true,
        ..Campaign::default()
    }
}

/// The call that issued a coupon, sent at `invoked`.
pub(crate) fn issued(row: &Coupon, invoked: u64) -> Operation {
    let outcome =
        Outcome::Issued { sequence: row.sequence, code: row.code.clone(), replayed: false };
    issue(row.request_id, &row.recipient, invoked, outcome)
}

/// A call for a coupon, sent at `invoked`.
pub(crate) fn issue(
    request_id: u128,
    recipient: &str,
    invoked: u64,
    outcome: Outcome,
) -> Operation {
    let call = Call::Issue { request_id, recipient: recipient.into() };
    operation(invoked, call, outcome)
}

/// A call, sent at `invoked`.
pub(crate) fn operation(invoked: u64, call: Call, outcome: Outcome) -> Operation {
    Operation { invoked, returned: invoked + CALL_NANOS, call, outcome }
}

/// The time after all calls of a sample with `count` coupons.
pub(crate) fn after(quota: u64) -> u64 {
    (quota + 1) * 2 * CALL_NANOS
}

/// A history of campaigns alone.
pub(crate) fn history(campaigns: impl Into<Vec<Campaign>>) -> History {
    History { campaigns: campaigns.into(), ..History::default() }
}

/// The row and the answer of a coupon, to be changed together.
pub(crate) fn with_code(campaign: &mut Campaign, index: usize, to: &str) {
    campaign.rows[index].code = to.into();
    let Outcome::Issued { code, .. } = &mut campaign.operations[index].outcome else {
        unreachable!("all calls of a sample issue")
    };
    *code = to.into();
}

/// Gives a coupon another holder, in its row and its call.
pub(crate) fn with_recipient(campaign: &mut Campaign, index: usize, to: &str) {
    campaign.rows[index].recipient = to.into();
    let Call::Issue { recipient, .. } = &mut campaign.operations[index].call else {
        unreachable!("all calls of a sample issue")
    };
    *recipient = to.into();
}

/// Gives a coupon another place, in its row and its answer.
pub(crate) fn with_sequence(campaign: &mut Campaign, index: usize, to: u64) {
    campaign.rows[index].sequence = to;
    let Outcome::Issued { sequence, .. } = &mut campaign.operations[index].outcome else {
        unreachable!("all calls of a sample issue")
    };
    *sequence = to;
}
