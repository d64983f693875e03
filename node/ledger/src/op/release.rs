//! Releasing a hold.

use coupon_cluster::{CampaignName, Epoch, RequestId};

use super::change_hold::{find_hold, refusal};
use crate::entry::Entry;
use crate::event::record;
use crate::mutants::{self, Mutant};
use crate::{EventKind, Hold, HoldState, Outcome, Store};

/// Gives a hold up before its end, so that its quota can be claimed again at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseHold {
    /// The campaign.
    pub campaign: CampaignName,
    /// The hold.
    pub hold_id: RequestId,
    /// Recognises a retry.
    pub request_id: RequestId,
}

impl<S: Store> Entry<'_, S> {
    /// Releases a hold, if it is open.
    pub(crate) fn release_hold(
        &mut self,
        epoch: Epoch,
        command: &ReleaseHold,
    ) -> Result<Outcome, S::Error> {
        let Self { fence, store, touched } = self;
        let ReleaseHold { campaign, hold_id, request_id } = command;
        let (hold_id, request_id) = (*hold_id, *request_id);
        let (touched, hold) = match find_hold(fence, *store, touched, epoch, campaign, hold_id)? {
            Ok(found) => found,
            Err(refusal) => return Ok(refusal.into()),
        };
        let (now, number) = (fence.state.log_time, touched.campaign.spec.number);
        match hold.state {
            HoldState::Released { request_id: by, .. } if by == request_id => {
                return Ok(Outcome::HoldChanged { hold_id, hold, now, replayed: true });
            }
            HoldState::Open | HoldState::Confirmed { .. } | HoldState::Released { .. } => {}
        }
        if let Some(refusal) = refusal(&hold, hold_id, request_id, now) {
            return Ok(refusal.into());
        }
        let end = hold.end();
        let hold = Hold { state: HoldState::Released { at: now, request_id }, ..hold };
        store.put_hold(number, hold_id, &hold, end)?;
        let counters = &mut touched.campaign.counters;
        if !mutants::is(Mutant::ReleaseNotCounted) {
            counters.close_hold();
        }
        counters.revision = counters.revision.saturating_add(1);
        touched.changed = true;
        let event = EventKind::HoldChanged { hold_id, hold: hold.clone() };
        record(*store, &touched.campaign, now, request_id, event)?;
        Ok(Outcome::HoldChanged { hold_id, hold, now, replayed: false })
    }
}
