//! What is done with an issued coupon: the part that all such operations share.

use coupon_cluster::{Epoch, RequestId};

use crate::code::{coupon_at, coupon_in, issued, place_of};
use crate::entry::{Entry, Found};
use crate::event::record;
use crate::mutants::{self, Mutant};
use crate::{
    CampaignCounters, Coupon, CouponChange, CouponChangeKind, CouponCode, CouponState, EventKind,
    LogTime, Outcome, Refusal, Store,
};

impl<S: Store> Entry<'_, S> {
    /// Makes a change of the coupon of a code, once, unless `refusal` has something against it.
    ///
    /// A retry is answered before anything could refuse it, with the coupon as its change left it, whatever
    /// happened to it since.
    pub(super) fn change_coupon(
        &mut self,
        epoch: Epoch,
        code: &CouponCode,
        request_id: RequestId,
        kind: CouponChangeKind,
        refusal: impl FnOnce(&Coupon, &CouponState, LogTime) -> Option<Refusal>,
    ) -> Result<Outcome, S::Error> {
        if epoch != self.fence.state.epoch {
            return Ok(Refusal::StaleEpoch { epoch: self.fence.state.epoch }.into());
        }
        let Self { fence, store, touched } = self;
        let (name, place, not_found) = match code {
            CouponCode::OfCampaign(code) => {
                (Some(code.campaign.clone()), None, Refusal::CampaignNotFound)
            }
            CouponCode::Generated(code) => {
                let place = place_of(*store, fence.shard, code)?;
                let name = match place {
                    Some(place) => touched.name_of(*store, place.campaign_number)?,
                    None => None,
                };
                (name, place, Refusal::CouponNotFound)
            }
        };
        let Some(name) = name else { return Ok(not_found.into()) };
        let touched = match touched.find(fence, *store, epoch, &name)? {
            Found::Campaign(touched) => touched,
            Found::Nothing => return Ok(not_found.into()),
            Found::Fenced(refusal) => return Ok(refusal.into()),
        };
        let campaign = &mut touched.campaign;
        let found = match (code, place) {
            (CouponCode::OfCampaign(code), _) => coupon_in(*store, fence.shard, campaign, code)?,
            (CouponCode::Generated(code), Some(place)) => {
                let coupon = coupon_at(*store, campaign, place.sequence, code)?;
                coupon.map(|coupon| (place.sequence, coupon))
            }
            (CouponCode::Generated(_), None) => None,
        };
        let Some((sequence, coupon)) = found else { return Ok(Refusal::CouponNotFound.into()) };
        let number = campaign.spec.number;
        let mut history = store.coupon_history(number, sequence)?.unwrap_or_default();
        if let Some(made) = history.change_of(request_id) {
            if made.kind != kind {
                return Ok(Refusal::RequestIdReused.into());
            }
            let coupon = issued(&campaign.spec, sequence, coupon, made.state());
            return Ok(Outcome::CouponChanged {
                campaign: name,
                coupon,
                at: made.at,
                replayed: true,
            });
        }
        let now = fence.state.log_time;
        let before = history.state();
        if let Some(refusal) = refusal(&coupon, &before, now) {
            return Ok(refusal.into());
        }
        let revision = campaign.counters.revision.saturating_add(1);
        let event = EventKind::CouponChanged { sequence, kind: kind.clone() };
        history.push(CouponChange { request_id, at: now, revision, kind });
        let after = history.state();
        store.put_coupon_history(&campaign.spec, sequence, &history)?;
        count(&mut campaign.counters, &before, &after);
        campaign.counters.revision = revision;
        campaign.note_sold_out(now);
        record(*store, campaign, now, request_id, event)?;
        touched.changed = true;
        let coupon = issued(&campaign.spec, sequence, coupon, after);
        Ok(Outcome::CouponChanged { campaign: name, coupon, at: now, replayed: false })
    }
}

/// Counts a change of a coupon.
fn count(counters: &mut CampaignCounters, before: &CouponState, after: &CouponState) {
    let is_redeemed =
        |state: &CouponState| u64::from(matches!(state, CouponState::Redeemed { .. }));
    let is_voided = |state: &CouponState| u64::from(matches!(state, CouponState::Voided { .. }));
    let is_returned = |state: &CouponState| u64::from(state.has_returned_quota());
    let change = |counter: &mut u64, of: &dyn Fn(&CouponState) -> u64| {
        *counter = counter.saturating_add(of(after)).saturating_sub(of(before));
    };
    change(&mut counters.redeemed, &is_redeemed);
    change(&mut counters.voided, &is_voided);
    change(&mut counters.returned, &is_returned);
    if mutants::is(Mutant::QuotaReturnedTwice) {
        counters.returned += is_returned(after);
    }
}
