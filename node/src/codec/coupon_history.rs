//! `CouponHistory`: what was done with a coupon, as it is kept on disk; and the last change, as it travels.

use coupon_ledger::{CouponChange, CouponChangeKind, CouponHistory, CouponState, LogTime};
use coupon_proto::internal as pb;
use coupon_wire::Malformed;
use coupon_wire::ids::request_id;
use pb::coupon_change::Change;

/// A history as it is kept on disk.
pub fn to_pb(history: &CouponHistory) -> pb::CouponHistory {
    let change_to_pb = |made: &CouponChange| pb::CouponChange {
        request_id: made.request_id.as_bytes().to_vec(),
        time_micros: made.at.0,
        revision: made.revision,
        change: Some(kind_to_pb(&made.kind)),
    };
    pb::CouponHistory { changes: history.changes.iter().map(change_to_pb).collect() }
}

/// What a request does with a coupon.
pub(super) fn kind_to_pb(kind: &CouponChangeKind) -> Change {
    match kind {
        CouponChangeKind::Redeem { order_ref } => {
            Change::Redemption(pb::Redemption { order_ref: order_ref.clone() })
        }
        CouponChangeKind::Reverse => Change::Reversal(pb::Reversal {}),
        CouponChangeKind::Void { reason, return_quota } => {
            let (reason, quota_returned) = (reason.clone(), *return_quota);
            Change::Voiding(pb::Voiding { reason, quota_returned })
        }
    }
}

/// A history from its record.
///
/// # Errors
///
/// When a change or its request id is malformed.
pub fn from_pb(history: pb::CouponHistory) -> Result<CouponHistory, Malformed> {
    let changes = history.changes.into_iter().map(|made| {
        let kind = match made.change.ok_or(Malformed("change of a coupon"))? {
            Change::Redemption(redemption) => {
                CouponChangeKind::Redeem { order_ref: redemption.order_ref }
            }
            Change::Reversal(pb::Reversal {}) => CouponChangeKind::Reverse,
            Change::Voiding(voiding) => CouponChangeKind::Void {
                reason: voiding.reason,
                return_quota: voiding.quota_returned,
            },
        };
        let at = LogTime(made.time_micros);
        let (request_id, revision) = (request_id(&made.request_id)?, made.revision);
        Ok(CouponChange { request_id, at, revision, kind })
    });
    Ok(CouponHistory { changes: changes.collect::<Result<_, _>>()? })
}

/// What a coupon is by now, as it travels: the change that made it so.
pub(super) fn state_to_pb(state: CouponState) -> Option<pb::CouponChange> {
    let (at, change) = match state {
        CouponState::Issued => return None,
        CouponState::Redeemed { at, order_ref } => {
            (at, Change::Redemption(pb::Redemption { order_ref }))
        }
        CouponState::Voided { at, reason, quota_returned } => {
            (at, Change::Voiding(pb::Voiding { reason, quota_returned }))
        }
    };
    Some(pb::CouponChange {
        time_micros: at.0,
        change: Some(change),
        ..pb::CouponChange::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_nothing_is_malformed() {
        let unset = pb::CouponChange { request_id: vec![1; 16], ..Default::default() };
        assert!(from_pb(pb::CouponHistory { changes: vec![unset] }).is_err());
    }
}
