//! The losses of keeping one history instead of another.

use coupon_cluster::CampaignName;
use coupon_ledger::{Campaign, CouponState, IssuedCoupon};

use super::History;
use crate::storage::StorageError;

/// Something that one history holds and the other does not.
#[derive(Debug)]
pub enum Lost<'a> {
    /// A campaign, with all of its coupons, which follow.
    Campaign(&'a Campaign),
    /// A coupon. The other history has none under its sequence number, or another one, or did something else with it.
    Coupon(&'a CampaignName, &'a IssuedCoupon),
}

/// Calls `lost` for everything that `given_up` holds and `kept` does not. Both are of one shard. Memory stays
/// flat, whatever the number of coupons.
///
/// # Errors
///
/// When the disk fails, or `lost` does.
pub fn differences<E: From<StorageError>>(
    kept: &History<'_>,
    given_up: &History<'_>,
    mut lost: impl FnMut(Lost<'_>) -> Result<(), E>,
) -> Result<(), E> {
    for (id, campaign) in given_up.campaigns() {
        let same = kept.campaigns().get(id).filter(|same| same.spec == campaign.spec);
        if same.is_none() {
            lost(Lost::Campaign(campaign))?;
        }
        // Sequence numbers begin at 1 and have no gaps, so both can be walked side by side.
        let mut others = same.map(|same| kept.coupons(same)).into_iter().flatten();
        for coupon in given_up.coupons(campaign) {
            let (coupon, other) = (coupon?, others.next().transpose()?);
            if !other.is_some_and(|other| has_all(&other, &coupon)) {
                lost(Lost::Coupon(id, &coupon))?;
            }
        }
    }
    Ok(())
}

/// Whether a coupon that is kept is the same as one that is given up, and nothing that was done with that is lost.
fn has_all(kept: &IssuedCoupon, given_up: &IssuedCoupon) -> bool {
    let is_same = IssuedCoupon { state: kept.state.clone(), ..given_up.clone() } == *kept;
    is_same && (given_up.state == CouponState::Issued || kept.state == given_up.state)
}
