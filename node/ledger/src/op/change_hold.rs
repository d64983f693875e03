//! What becomes of a hold: the part that both such operations share.

use coupon_cluster::{CampaignName, Epoch, RequestId};

use crate::entry::{Found, Touched, TouchedCampaigns};
use crate::fence::Fence;
use crate::{Hold, HoldState, LogTime, Refusal, Store};

/// Finds the campaign and the hold that a command of `epoch` names, if the command passes the fence.
pub(super) fn find_hold<'a, S: Store>(
    fence: &Fence,
    store: &mut S,
    touched: &'a mut TouchedCampaigns,
    epoch: Epoch,
    campaign: &CampaignName,
    hold_id: RequestId,
) -> Result<Result<(&'a mut Touched, Hold), Refusal>, S::Error> {
    let touched = match touched.find(fence, store, epoch, campaign)? {
        Found::Campaign(touched) => touched,
        Found::Nothing => return Ok(Err(Refusal::CampaignNotFound)),
        Found::Fenced(refusal) => return Ok(Err(refusal)),
    };
    let hold = store.hold(touched.campaign.spec.number, hold_id)?;
    Ok(hold.map(|hold| (touched, hold)).ok_or(Refusal::HoldNotFound))
}

/// Why a request that did not close a hold cannot do so now; `None`: it can.
pub(super) fn refusal(
    hold: &Hold,
    hold_id: RequestId,
    request_id: RequestId,
    now: LogTime,
) -> Option<Refusal> {
    match hold.state {
        // The request that made it.
        _ if request_id == hold_id => Some(Refusal::RequestIdReused),
        // The request that closed it, in another way.
        HoldState::Confirmed { request_id: by, .. }
        | HoldState::Released { request_id: by, .. }
            if by == request_id =>
        {
            Some(Refusal::RequestIdReused)
        }
        HoldState::Confirmed { at, .. } => Some(Refusal::HoldConfirmed { at }),
        HoldState::Released { at, .. } => Some(Refusal::HoldReleased { at }),
        HoldState::Open if hold.expires_at <= now => {
            Some(Refusal::HoldExpired { end: hold.expires_at, now })
        }
        HoldState::Open => None,
    }
}
