//! What a ledger answers and holds, compared with what the model does.

use std::collections::BTreeMap;
use std::sync::Arc;

use coupon_ledger::{
    Action, Campaign, ChangeKind, CouponState, IssuedCoupon, MemoryStore, Outcome, Refusal,
    StateReader as _, find_coupon,
};

use crate::history::{Entry, shard};
use crate::model::Model;
use crate::settled;

/// Outcomes as the model has them: it compares updates field by field, and knows exactly when the first hold ends.
pub(crate) fn as_in_model(outcomes: &[Outcome], model: &[Outcome]) -> Vec<Outcome> {
    let mut outcomes = outcomes.to_vec();
    for (place, outcome) in outcomes.iter_mut().enumerate() {
        match outcome {
            Outcome::Refused(Refusal::QuotaHeld { until, now }) => {
                if let Some(Outcome::Refused(Refusal::QuotaHeld { until: first, .. })) =
                    model.get(place)
                {
                    assert!(*now < *until && *until <= *first);
                    *until = *first;
                }
            }
            Outcome::CampaignCreated { campaign, .. }
            | Outcome::CampaignChanged { campaign, .. } => *campaign = campaign_in_model(campaign),
            Outcome::CampaignDeleted { .. }
            | Outcome::CouponIssued { .. }
            | Outcome::CouponChanged { .. }
            | Outcome::HoldChanged { .. }
            | Outcome::HoldConfirmed { .. }
            | Outcome::RingAdopted { .. }
            | Outcome::CountersSkipped
            | Outcome::Refused(_) => {}
        }
    }
    outcomes
}

/// A campaign as the model has it.
fn campaign_in_model(campaign: &Campaign) -> Campaign {
    let mut campaign = campaign.clone();
    for change in &mut Arc::make_mut(&mut campaign.spec).changes {
        if let ChangeKind::Update { fingerprint } = &mut change.kind {
            *fingerprint = 0;
        }
    }
    let counters = &mut campaign.counters;
    assert_eq!(counters.hold_ends.is_some(), counters.held > 0);
    counters.hold_ends = None;
    campaign
}

/// Checks that what is read of a store is what the model says: all campaigns, all coupons, all holds, and what the codes
/// in the commands of an entry lead to.
pub(crate) fn reads_agree(store: &MemoryStore, model: &Model, entry: &Entry) {
    let mut store = settled(store);
    let state = store.shard_state().unwrap();
    assert_eq!((state.log_time, state.next_block), (model.now(), model.blocks_taken()));
    let found: Vec<_> =
        store.campaigns().filter(|found| !found.spec.is_deleted()).cloned().collect();
    for campaign in &found {
        let (number, name) = (campaign.spec.number, &campaign.spec.name);
        let histories: BTreeMap<_, _> = store.histories(number).collect();
        let state_of =
            |sequence| histories.get(&sequence).map_or(CouponState::Issued, |done| done.state());
        let coupons = store.coupons(number).map(|(sequence, coupon)| IssuedCoupon {
            coupon: coupon.clone(),
            sequence,
            code_shard: campaign.spec.code_shard,
            code_key: campaign.spec.code_key,
            code_scheme: campaign.spec.code_scheme,
            state: state_of(sequence),
        });
        assert_eq!(Some(coupons.collect()), model.coupons(name));
        let holds = store.holds(number).map(|(id, hold)| (id, hold.clone()));
        assert_eq!(holds.collect::<BTreeMap<_, _>>(), model.holds(name));
    }
    let found: Vec<_> = found.iter().map(campaign_in_model).collect();
    assert_eq!(found, model.campaigns(model.now().0));
    for command in &entry.commands {
        let code = match &command.action {
            Action::RedeemCoupon(redeem) => &redeem.code,
            Action::ReverseRedemption(reverse) => &reverse.code,
            Action::VoidCoupon(void) => &void.code,
            Action::CreateCampaign(_)
            | Action::Issue(_)
            | Action::PauseCampaign(_)
            | Action::ResumeCampaign(_)
            | Action::UpdateCampaign(_)
            | Action::EndCampaign(_)
            | Action::ArchiveCampaign(_)
            | Action::DeleteCampaign(_)
            | Action::HoldCoupon(_)
            | Action::ConfirmHold(_)
            | Action::ReleaseHold(_)
            | Action::AdoptRing { .. }
            | Action::SkipCounters
            | Action::Unreadable => continue,
        };
        let found = find_coupon(&mut store, shard(), code).unwrap();
        let found = found.map(|(campaign, coupon)| (campaign.spec.name.clone(), coupon));
        assert_eq!(found, model.find(code));
    }
}
