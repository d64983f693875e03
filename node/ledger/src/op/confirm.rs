//! Confirming a hold.

use std::collections::BTreeMap;

use coupon_cluster::{CampaignName, Epoch, RequestId};

use super::change_hold::{find_hold, refusal};
use super::issue::add_coupon;
use crate::code::{issued, state_of};
use crate::entry::Entry;
use crate::mutants::{self, Mutant};
use crate::{Hold, HoldState, Outcome, Refusal, Store};

/// Turns a hold into a coupon for its recipient. The hold has claimed the quota, so it is confirmed until its end
/// whatever the state of the campaign: paused and ended campaigns keep what they promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfirmHold {
    /// The campaign.
    pub campaign: CampaignName,
    /// The hold.
    pub hold_id: RequestId,
    /// Recognises a retry.
    pub request_id: RequestId,
    /// Kept with the coupon.
    pub metadata: BTreeMap<String, String>,
}

impl<S: Store> Entry<'_, S> {
    /// Confirms a hold, if it is open.
    pub(crate) fn confirm_hold(
        &mut self,
        epoch: Epoch,
        command: ConfirmHold,
    ) -> Result<Outcome, S::Error> {
        let Self { fence, store, touched } = self;
        let ConfirmHold { campaign, hold_id, request_id, metadata } = command;
        let (touched, hold) = match find_hold(fence, *store, touched, epoch, &campaign, hold_id)? {
            Ok(found) => found,
            Err(refusal) => return Ok(refusal.into()),
        };
        let (now, number) = (fence.state.log_time, touched.campaign.spec.number);
        match hold.state {
            HoldState::Confirmed { request_id: by, sequence, .. } if by == request_id => {
                let coupon = store.coupon(number, sequence)?;
                if coupon.metadata != metadata {
                    return Ok(Refusal::RequestIdReused.into());
                }
                let state = state_of(*store, &touched.campaign, sequence)?;
                let issued = issued(&touched.campaign.spec, sequence, coupon, state);
                return Ok(Outcome::HoldConfirmed { issued, now, replayed: true });
            }
            HoldState::Open | HoldState::Confirmed { .. } | HoldState::Released { .. } => {}
        }
        if let Some(refusal) = refusal(&hold, hold_id, request_id, now)
            && !is_overlooked(&refusal)
        {
            return Ok(refusal.into());
        }
        let recipient = hold.recipient.clone();
        let added = add_coupon(fence, *store, touched, recipient, hold_id, metadata)?;
        let Some(issued) = added else { return Ok(Refusal::ShardFull.into()) };
        touched.campaign.counters.close_hold();
        fence.state.holds = fence.state.holds.saturating_sub(1);
        let end = hold.end();
        let state = HoldState::Confirmed { at: now, request_id, sequence: issued.sequence };
        store.put_hold(number, hold_id, &Hold { state, ..hold }, end)?;
        Ok(Outcome::HoldConfirmed { issued, now, replayed: false })
    }
}

fn is_overlooked(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::HoldExpired { .. }) && mutants::is(Mutant::HoldNotExpired)
}
