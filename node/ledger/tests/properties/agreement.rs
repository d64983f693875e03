//! What a ledger answers and holds, compared with what the model does.

use std::collections::BTreeMap;
use std::sync::Arc;

use coupon_cluster::CampaignName;
use coupon_ledger::{
    Action, Campaign, ChangeKind, CouponCode, CouponState, Event, IssuedCoupon, MemoryStore,
    Outcome, Refusal, StateReader as _, find_coupon, find_coupon_in,
};

use crate::history::{Entry, shard};
use crate::model::{Happened, Model};
use crate::settled;

/// Outcomes as the model has them: it compares updates field by field, and knows exactly when holds end.
pub(crate) fn as_in_model(outcomes: &[Outcome], model: &[Outcome]) -> Vec<Outcome> {
    let mut outcomes = outcomes.to_vec();
    for (outcome, said) in outcomes.iter_mut().zip(model) {
        if let (
            Outcome::Refused(Refusal::QuotaHeld { until, now }),
            Outcome::Refused(Refusal::QuotaHeld { until: first, .. }),
        ) = (&mut *outcome, said)
        {
            assert!(*now < *until && *until <= *first);
            *until = *first;
        }
        if let (
            Outcome::CampaignCreated { campaign, .. } | Outcome::CampaignChanged { campaign, .. },
            Outcome::CampaignCreated { campaign: said, .. }
            | Outcome::CampaignChanged { campaign: said, .. },
        ) = (outcome, said)
        {
            *campaign = campaign_in_model(campaign, said);
        }
    }
    outcomes
}

/// A campaign as the model has it.
fn campaign_in_model(campaign: &Campaign, said: &Campaign) -> Campaign {
    let mut campaign = campaign.clone();
    for change in &mut Arc::make_mut(&mut campaign.spec).changes {
        if let ChangeKind::Update { fingerprint } = &mut change.kind {
            *fingerprint = 0;
        }
    }
    if let (Some(ends), Some(exact)) = (&mut campaign.counters.hold_ends, said.counters.hold_ends) {
        assert!(ends.first <= exact.first && exact.last <= ends.last);
        *ends = exact;
    }
    campaign
}

/// Checks that what is read of a store is what the model says: all campaigns, all coupons, all holds, and what the codes
/// in the commands of an entry lead to.
pub(crate) fn reads_agree(store: &MemoryStore, model: &Model, entry: &Entry) {
    let mut store = settled(store);
    let state = store.shard_state().unwrap();
    assert_eq!((state.log_time, state.next_block), (model.now(), model.blocks_taken()));
    assert_eq!(state.next_campaign_number, model.campaigns_created());
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
        let events = store.events(number).map(|(revision, event)| (revision, event.clone()));
        assert_eq!(events.collect::<Vec<_>>(), events_of(model, name));
        assert_eq!(Some(campaign.state_at(model.now())), model.state(name, model.now().0));
        assert_eq!(Some(campaign.spec.etag()), model.etag(name));
    }
    let expected = model.campaigns(model.now().0);
    assert_eq!(found.len(), expected.len());
    let found = found.iter().zip(&expected).map(|(found, said)| campaign_in_model(found, said));
    assert_eq!(found.collect::<Vec<_>>(), expected);
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
            | Action::ImportCodes(_)
            | Action::AdoptRing { .. }
            | Action::SkipCounters
            | Action::Unreadable => continue,
        };
        match code {
            CouponCode::Generated(code) => {
                let found = find_coupon(&mut store, shard(), code).unwrap();
                let found = found.map(|(campaign, coupon)| (campaign.spec.name.clone(), coupon));
                assert_eq!(found, model.find(code));
            }
            CouponCode::OfCampaign(code) => {
                let campaign = store.campaign(&code.campaign).unwrap();
                let Some(campaign) = campaign.filter(|found| !found.spec.is_deleted()) else {
                    continue;
                };
                let found = find_coupon_in(&mut store, shard(), &campaign, code).unwrap();
                assert_eq!(found.ok_or(Refusal::CouponNotFound), model.find_in(code));
            }
        }
    }
}

/// What happened to a campaign by the model, but for the issue of coupons, with the revisions.
fn events_of(model: &Model, campaign: &CampaignName) -> Vec<(u64, Event)> {
    let happened = (1..).zip(model.events(campaign).unwrap());
    let events = happened.filter_map(|(revision, happened)| match happened {
        Happened::Event { event, coupon: _ } => Some((revision, event)),
        Happened::Issue { .. } => None,
    });
    events.collect()
}
