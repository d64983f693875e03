//! The losses of keeping one history instead of another.

use coupon_cluster::{CampaignName, RequestId};
use coupon_ledger::{Campaign, CampaignSpec, CouponChange, Hold, HoldState, IssuedCoupon};

use super::History;
use crate::storage::StorageError;

/// Something that one history holds and the other does not.
#[derive(Debug)]
pub enum Lost<'a> {
    /// A campaign, with all of its coupons, which follow.
    Campaign(&'a Campaign),
    /// What was changed about a campaign that both have; this is how one history leaves it.
    CampaignChange(&'a Campaign),
    /// A coupon. The other history has none under its sequence number, or another one.
    Coupon(&'a CampaignName, &'a IssuedCoupon),
    /// A change of a coupon that both have.
    CouponChange(&'a CampaignName, &'a IssuedCoupon, &'a CouponChange),
    /// An open hold. One that was confirmed is lost as its coupon.
    Hold(&'a CampaignName, RequestId, &'a Hold),
    /// That a hold was released which both have.
    HoldRelease(&'a CampaignName, RequestId, &'a Hold),
    /// Lines of an import of codes: those that the other history has not looked at. They can be imported again.
    Import(&'a CampaignName, RequestId, LostLines),
}

/// Lines of an import of codes that one history has looked at and the other has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostLines {
    /// The first one.
    pub first: u64,
    /// The last one.
    pub last: u64,
}

/// Calls `lost` for everything that `given_up` holds and `kept` does not. Both are of one shard. Memory stays
/// flat, whatever the number of coupons.
///
/// What `kept` has deleted with its campaign is not lost, but a coupon is whose sequence number it never gave there.
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
        let same = kept.campaigns().get(id).filter(|same| is_same(&same.spec, &campaign.spec));
        match same {
            None => lost(Lost::Campaign(campaign))?,
            Some(same) if same.spec.is_deleted() => {
                let deleted = usize::try_from(same.counters.issued).unwrap_or(usize::MAX);
                for found in given_up.coupons(campaign).skip(deleted) {
                    lost(Lost::Coupon(id, &found?.0))?;
                }
                continue;
            }
            Some(same) if !has_changes_of(&same.spec, &campaign.spec) => {
                lost(Lost::CampaignChange(campaign))?;
            }
            Some(_) => {}
        }
        let both = Both { kept, given_up, id, campaign, same };
        both.coupons(&mut lost)?;
        both.holds(&mut lost)?;
        both.imports(&mut lost)?;
    }
    Ok(())
}

/// A campaign in two histories.
struct Both<'a> {
    kept: &'a History<'a>,
    given_up: &'a History<'a>,
    id: &'a CampaignName,
    /// In the one that is given up.
    campaign: &'a Campaign,
    /// In the one that is kept, if it is there.
    same: Option<&'a Campaign>,
}

impl Both<'_> {
    fn coupons<E: From<StorageError>>(
        &self,
        lost: &mut impl FnMut(Lost<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        // Sequence numbers begin at 1 and have no gaps, so both can be walked side by side.
        let mut others = self.same.map(|same| self.kept.coupons(same)).into_iter().flatten();
        for found in self.given_up.coupons(self.campaign) {
            let (coupon, history) = found?;
            let other = others.next().transpose()?;
            let Some((_, kept)) = other.filter(|(other, _)| is_same_coupon(other, &coupon)) else {
                lost(Lost::Coupon(self.id, &coupon))?;
                continue;
            };
            for change in history.changes.iter().filter(|change| !kept.changes.contains(change)) {
                lost(Lost::CouponChange(self.id, &coupon, change))?;
            }
        }
        Ok(())
    }

    fn holds<E: From<StorageError>>(
        &self,
        lost: &mut impl FnMut(Lost<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        // A hold that has expired by then claims nothing, and the other history may have forgotten it.
        let now = self.kept.log_time().max(self.given_up.log_time());
        for found in self.given_up.holds(self.campaign) {
            let (hold_id, hold) = found?;
            let other = self.same.map_or(Ok(None), |same| self.kept.hold(same, &hold_id))?;
            let other = other.filter(|other| is_same_hold(other, &hold));
            match (hold.state, other) {
                (HoldState::Open, None) if now < hold.expires_at => {
                    lost(Lost::Hold(self.id, hold_id, &hold))?;
                }
                (HoldState::Released { .. }, Some(other)) if other.state != hold.state => {
                    lost(Lost::HoldRelease(self.id, hold_id, &hold))?;
                }
                (HoldState::Open | HoldState::Released { .. } | HoldState::Confirmed { .. }, _) => {
                }
            }
        }
        Ok(())
    }

    fn imports<E: From<StorageError>>(
        &self,
        lost: &mut impl FnMut(Lost<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for found in self.given_up.imports(self.campaign) {
            let (import_id, import) = found?;
            let other = self.same.map_or(Ok(None), |same| self.kept.import(same, &import_id))?;
            let first = other.map_or(1, |other| other.next_line);
            if first < import.next_line {
                let lines = LostLines { first, last: import.next_line.saturating_sub(1) };
                lost(Lost::Import(self.id, import_id, lines))?;
            }
        }
        Ok(())
    }
}

/// Whether two campaigns with the same id were created by the same entry of the log.
fn is_same(one: &CampaignSpec, other: &CampaignSpec) -> bool {
    let creation = |spec: &CampaignSpec| (spec.number, spec.created, spec.request_id);
    creation(one) == creation(other)
}

/// Whether a campaign that is kept is as one that is given up, or was so before it was changed further.
fn has_changes_of(kept: &CampaignSpec, given_up: &CampaignSpec) -> bool {
    let is_earlier = given_up.changes.len() < kept.changes.len();
    kept == given_up || (is_earlier && kept.changes.starts_with(&given_up.changes))
}

fn is_same_coupon(one: &IssuedCoupon, other: &IssuedCoupon) -> bool {
    IssuedCoupon { state: one.state.clone(), ..other.clone() } == *one
}

fn is_same_hold(one: &Hold, other: &Hold) -> bool {
    Hold { state: one.state, ..other.clone() } == *one
}

#[cfg(test)]
mod tests;
