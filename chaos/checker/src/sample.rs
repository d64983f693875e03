//! Histories without faults, for tests to plant faults in.

use crate::history::{Campaign, Coupon};

/// A campaign that issued its whole quota of `quota` coupons, each to another recipient.
pub(crate) fn campaign(id: &str, quota: u64) -> Campaign {
    let coupon = |sequence| Coupon {
        sequence,
        code: format!("{id}-{sequence}").into(),
        recipient: format!("recipient-{sequence}").into(),
        request_id: u128::from(sequence) << 64,
    };
    let rows: Vec<Coupon> = (1..=quota).map(coupon).collect();
    Campaign {
        id: id.to_owned(),
        quota,
        per_recipient_limit: 1,
        acknowledged: rows.clone(),
        rows,
        unanswered: Some(Vec::new()),
        sold_out: false,
    }
}
