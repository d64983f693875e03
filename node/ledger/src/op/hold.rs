//! Holding a coupon.

use coupon_cluster::{CampaignName, Epoch, RequestId};

use super::issue::quota_refusal;
use crate::entry::{Entry, Found};
use crate::event::record;
use crate::hold::{HoldEnds, settle};
use crate::{
    Campaign, EventKind, HOLDS_OPEN_MAX, Hold, HoldState, LogTime, Outcome, Refusal, StateReader,
    Store,
};

/// Maximum number of holds that a shard keeps, beside those that became coupons: open ones, and those that it
/// remembers.
pub const HOLDS_KEPT_MAX: u64 = 1_000_000;

/// For how long a hold that became no coupon is remembered after its end, in microseconds: a day, which is as long as
/// a hold can last. A shard that has to keep too many forgets them earlier.
pub const HOLD_REMEMBERED_MICROS: u64 = 24 * 60 * 60 * 1_000_000;

/// How many holds a new one makes the shard forget at most: more than one, so that a shard that had too many gets rid
/// of them.
const FORGOTTEN_AT_ONCE: usize = 4;

/// Claims quota of a campaign until it is confirmed or released, or until its time is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldCoupon {
    /// The campaign.
    pub campaign: CampaignName,
    /// Who is to get the coupon; may be empty where the campaign has no limit per recipient.
    pub recipient: String,
    /// Recognises a retry, and is the id of the hold.
    pub request_id: RequestId,
    /// How many microseconds it lasts; 0 is 1.
    pub ttl_micros: u64,
}

impl HoldCoupon {
    /// When a hold that is made at a moment expires: later.
    fn end_from(&self, held_at: LogTime) -> LogTime {
        held_at.after_micros(self.ttl_micros.max(1))
    }
}

impl<S: Store> Entry<'_, S> {
    /// Holds a coupon, if one could be issued.
    pub(crate) fn hold_coupon(
        &mut self,
        epoch: Epoch,
        command: HoldCoupon,
    ) -> Result<Outcome, S::Error> {
        let Self { fence, store, touched } = self;
        let touched = match touched.find(fence, *store, epoch, &command.campaign)? {
            Found::Campaign(touched) => touched,
            Found::Nothing => return Ok(Refusal::CampaignNotFound.into()),
            Found::Fenced(refusal) => return Ok(refusal.into()),
        };
        let now = fence.state.log_time;
        if let Some(outcome) = hold_without_effect(*store, &touched.campaign, &command, now)? {
            return Ok(outcome);
        }
        let counters = &mut touched.campaign.counters;
        if counters.held >= HOLDS_OPEN_MAX {
            let until = counters.hold_ends.map_or(now, |ends| ends.first);
            return Ok(Refusal::TooManyHolds { until, now }.into());
        }
        if fence.state.holds >= HOLDS_KEPT_MAX {
            self.forget_ended_holds()?;
            return Ok(Refusal::TooManyHolds { until: now, now }.into());
        }
        let expires_at = command.end_from(now);
        let HoldCoupon { recipient, request_id, .. } = command;
        let hold = Hold { recipient, held_at: now, expires_at, state: HoldState::Open };
        store.put_hold(touched.campaign.spec.number, request_id, &hold, None)?;
        fence.state.holds = fence.state.holds.saturating_add(1);
        counters.held = counters.held.saturating_add(1);
        counters.hold_ends = Some(HoldEnds::with(counters.hold_ends, expires_at));
        counters.has_holds = true;
        counters.revision = counters.revision.saturating_add(1);
        touched.changed = true;
        let event = EventKind::HoldChanged { hold_id: request_id, hold: hold.clone() };
        record(*store, &touched.campaign, now, request_id, event)?;
        self.forget_ended_holds()?;
        Ok(Outcome::HoldChanged { hold_id: request_id, hold, now, replayed: false })
    }

    /// Forgets some holds that ended long ago, or simply before now if the shard keeps as many as it may.
    fn forget_ended_holds(&mut self) -> Result<(), S::Error> {
        let now = self.fence.state.log_time;
        for _ in 0..FORGOTTEN_AT_ONCE {
            let state = &mut self.fence.state;
            let is_full = state.holds >= HOLDS_KEPT_MAX;
            let is_due = |end: LogTime| is_full || end.after_micros(HOLD_REMEMBERED_MICROS) <= now;
            if !is_due(state.holds_from) {
                return Ok(());
            }
            let Some(end) = self.store.first_hold_end(state.holds_from)? else {
                state.holds_from = now;
                return Ok(());
            };
            // A hold that is released ends now, and none ends earlier any more.
            state.holds_from = end.at.min(now);
            if now < end.at || !is_due(end.at) {
                return Ok(());
            }
            self.settle_holds_of(end.campaign_number)?;
            self.store.forget_hold(&end)?;
            let state = &mut self.fence.state;
            state.holds = state.holds.saturating_sub(1);
        }
        Ok(())
    }

    /// Takes the holds that have expired out of the counters of a campaign: once they are forgotten, they cannot be
    /// counted any more.
    fn settle_holds_of(&mut self, campaign_number: u32) -> Result<(), S::Error> {
        let Self { fence, store, touched } = self;
        let now = fence.state.log_time;
        let Some(name) = touched.name_of(*store, campaign_number)? else { return Ok(()) };
        if let Some(touched) = touched.touched(&name) {
            touched.changed |= settle(*store, &mut touched.campaign, now)?;
            return Ok(());
        }
        // It has not passed the fence, so no later command may find it among those that have.
        let Some(mut campaign) = store.campaign(&name)? else { return Ok(()) };
        if settle(*store, &mut campaign, now)? {
            store.put_counters(&campaign.spec, campaign.counters)?;
        }
        Ok(())
    }
}

/// The outcome of a command that changes nothing; `None` if it makes a hold, unless there are too many. The checks are
/// those of an issue, in the same order.
pub(crate) fn hold_without_effect<S: StateReader>(
    store: &mut S,
    campaign: &Campaign,
    command: &HoldCoupon,
    now: LogTime,
) -> Result<Option<Outcome>, S::Error> {
    let (number, hold_id) = (campaign.spec.number, command.request_id);
    if let Some(hold) = store.hold(number, hold_id)? {
        let end = command.end_from(hold.held_at);
        let is_same = hold.recipient == command.recipient && hold.expires_at == end;
        return Ok(Some(if is_same {
            Outcome::HoldChanged { hold_id, hold, now, replayed: true }
        } else {
            Refusal::RequestIdReused.into()
        }));
    }
    // The id of a coupon that was issued without a hold.
    if store.sequence_of_request(number, hold_id)?.is_some() {
        return Ok(Some(Refusal::RequestIdReused.into()));
    }
    Ok(quota_refusal(store, campaign, &command.recipient, now)?.map(Outcome::from))
}
