//! Issuing a coupon.

use std::collections::BTreeMap;

use coupon_cluster::{CampaignName, CampaignState, Epoch, RequestId};

use crate::block::take_counter;
use crate::code::{issued, state_of};
use crate::entry::{Entry, Found, Touched};
use crate::fence::Fence;
use crate::hold::HoldEnds;
use crate::mutants::{self, Mutant};
use crate::{
    Campaign, Coupon, CouponState, IssuedCoupon, LogTime, Outcome, Refusal, SEQUENCE_MAX,
    StateReader, Store,
};

/// Issues a coupon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// The campaign.
    pub campaign: CampaignName,
    /// The holder's external id; may be empty where the campaign has no limit per recipient.
    pub recipient: String,
    /// Recognises a retry: the same id with the same fields is answered with the same coupon.
    pub request_id: RequestId,
    /// Kept with the coupon.
    pub metadata: BTreeMap<String, String>,
}

/// How many of the coupons held a refusal names, so that an entry full of refusals stays cheap to
/// apply and to answer.
pub const HELD_SHOWN_MAX: usize = 10;

/// Maximum number of coupons that returned their quota that the check of a recipient's limit skips, with two look-ups
/// for each. A recipient who has more of them among the latest ones counts as being at the limit.
const RETURNED_SKIPPED_MAX: usize = 32;

impl<S: Store> Entry<'_, S> {
    /// Issues a coupon, if everything speaks for it.
    pub(crate) fn issue(&mut self, epoch: Epoch, command: Issue) -> Result<Outcome, S::Error> {
        let Self { fence, store, touched } = self;
        let touched = match touched.find(fence, *store, epoch, &command.campaign)? {
            Found::Campaign(touched) => touched,
            Found::Nothing => return Ok(Refusal::CampaignNotFound.into()),
            Found::Fenced(refusal) => return Ok(refusal.into()),
        };
        let now = fence.state.log_time;
        if let Some(outcome) = without_effect(*store, &touched.campaign, &command, now)? {
            return Ok(outcome);
        }
        let Issue { campaign: _, recipient, request_id, metadata } = command;
        let added = add_coupon(fence, *store, touched, recipient, request_id, metadata)?;
        Ok(match added {
            Some(issued) => Outcome::CouponIssued { issued, now, replayed: false },
            None => Refusal::ShardFull.into(),
        })
    }
}

/// Adds a coupon that the campaign's quota has room for. `None`: the shard has no number for it, and nothing was
/// changed.
pub(super) fn add_coupon<S: Store>(
    fence: &mut Fence,
    store: &mut S,
    touched: &mut Touched,
    recipient: String,
    request_id: RequestId,
    metadata: BTreeMap<String, String>,
) -> Result<Option<IssuedCoupon>, S::Error> {
    let (now, campaign) = (fence.state.log_time, &mut touched.campaign);
    let (spec, counters) = (&*campaign.spec, &mut campaign.counters);
    let sequence = counters.issued.saturating_add(1);
    if sequence > SEQUENCE_MAX {
        return Ok(None);
    }
    let Some(counter) = take_counter(&mut fence.state, store, spec, counters)? else {
        return Ok(None);
    };
    let imported_code = match spec.has_imported_codes {
        true => Some(store.take_code(spec.number, sequence)?),
        false => None,
    };
    let coupon = Coupon {
        counter,
        recipient,
        request_id,
        issued_at: now,
        expires_at: spec.coupon_ttl_micros.map(|ttl| now.after_micros(ttl)),
        metadata,
        imported_code,
    };
    store.insert_coupon(spec, sequence, &coupon)?;
    counters.issued = sequence;
    counters.revision = counters.revision.saturating_add(1);
    counters.opened.get_or_insert(now);
    touched.changed = true;
    let issued = issued(spec, sequence, coupon, CouponState::Issued);
    campaign.note_sold_out(now);
    Ok(Some(issued))
}

/// The outcome of a command that changes nothing; `None` if it issues a coupon.
///
/// The order of the checks is part of the contract. A retry is answered with its coupon before
/// anything could refuse it, for it was not refused the first time. Then a recipient who is at
/// the limit is told what they hold, even after the end and when all is sold out, for that is what
/// helps them. Only then the window and the quota are looked at.
pub(crate) fn without_effect<S: StateReader>(
    store: &mut S,
    campaign: &Campaign,
    command: &Issue,
    now: LogTime,
) -> Result<Option<Outcome>, S::Error> {
    let number = campaign.spec.number;
    // The id of a hold is that of the coupon that it becomes.
    if campaign.counters.has_holds && store.hold(number, command.request_id)?.is_some() {
        return Ok(Some(Refusal::RequestIdReused.into()));
    }
    if let Some(sequence) = store.sequence_of_request(number, command.request_id)?
        && !mutants::is(Mutant::RetryNotDeduplicated)
    {
        return replay(store, campaign, sequence, command, now).map(Some);
    }
    Ok(quota_refusal(store, campaign, &command.recipient, now)?.map(Outcome::from))
}

/// Why a new request cannot claim quota of a campaign, for a coupon or a hold; `None`: it can.
pub(super) fn quota_refusal<S: StateReader>(
    store: &mut S,
    campaign: &Campaign,
    recipient: &str,
    now: LogTime,
) -> Result<Option<Refusal>, S::Error> {
    let spec = &*campaign.spec;
    if let Some(refusal) = recipient_refusal(store, campaign, recipient, now)?
        && !mutants::is(Mutant::LimitOutsideLog)
    {
        return Ok(Some(refusal));
    }
    let state = campaign.state_at(now);
    #[cfg(feature = "mutants")]
    let state = mutants::distorted(state, campaign, now);
    Ok(Some(match (state, spec.end) {
        (CampaignState::Scheduled, _) => Refusal::NotStarted { start: spec.start, now },
        (CampaignState::Ended | CampaignState::Archived, end) => {
            let end = end.expect("only a campaign with an end can have ended");
            Refusal::Ended { end, now }
        }
        (CampaignState::Paused, _) => Refusal::Paused,
        (CampaignState::Exhausted, _) => match campaign.counters.hold_ends {
            // As long as quota is held, it may come back.
            Some(HoldEnds { first, .. }) => Refusal::QuotaHeld { until: first, now },
            None => Refusal::SoldOut,
        },
        (CampaignState::Active, _) => return Ok(None),
    }))
}

/// The outcome of a command whose request id was used before in its campaign.
fn replay<S: StateReader>(
    store: &mut S,
    campaign: &Campaign,
    sequence: u64,
    command: &Issue,
    now: LogTime,
) -> Result<Outcome, S::Error> {
    let coupon = store.coupon(campaign.spec.number, sequence)?;
    if coupon.recipient != command.recipient || coupon.metadata != command.metadata {
        return Ok(Refusal::RequestIdReused.into());
    }
    let state = state_of(store, campaign, sequence)?;
    let issued = issued(&campaign.spec, sequence, coupon, state);
    Ok(Outcome::CouponIssued { issued, now, replayed: true })
}

/// Why the recipient of a new request cannot have a coupon, whatever the campaign's window and quota. Open holds count
/// like coupons.
fn recipient_refusal<S: StateReader>(
    store: &mut S,
    campaign: &Campaign,
    recipient: &str,
    now: LogTime,
) -> Result<Option<Refusal>, S::Error> {
    let spec = &*campaign.spec;
    if spec.per_recipient_limit == 0 {
        return Ok(None);
    }
    if recipient.is_empty() {
        return Ok(Some(Refusal::RecipientRequired));
    }
    // A limit that does not fit is greater than any number of coupons held in memory.
    let limit = usize::try_from(spec.per_recipient_limit).unwrap_or(usize::MAX);
    let mut hold_ids = match campaign.counters.held {
        0 => Vec::new(),
        _ => store.open_holds_of(spec.number, recipient, now, limit)?,
    };
    let Some(sequences) = coupons_at_limit(store, campaign, recipient, limit, hold_ids.len())?
    else {
        return Ok(None);
    };
    let mut held = Vec::new();
    for sequence in sequences.into_iter().take(HELD_SHOWN_MAX) {
        let coupon = store.coupon(spec.number, sequence)?;
        let state = state_of(store, campaign, sequence)?;
        // A refusal shows the code and state of each coupon held, not its metadata.
        let coupon = Coupon { metadata: BTreeMap::new(), ..coupon };
        held.push(issued(spec, sequence, coupon, state));
    }
    hold_ids.truncate(HELD_SHOWN_MAX);
    Ok(Some(Refusal::RecipientLimitReached { held, hold_ids, now }))
}

/// The coupons that count against the limit of a recipient with some open holds; `None` if all of these are fewer than
/// the limit.
fn coupons_at_limit<S: StateReader>(
    store: &mut S,
    campaign: &Campaign,
    recipient: &str,
    limit: usize,
    open_holds: usize,
) -> Result<Option<Vec<u64>>, S::Error> {
    let number = campaign.spec.number;
    let limit = limit.saturating_sub(open_holds);
    if limit == 0 {
        return Ok(Some(Vec::new()));
    }
    let skipped_max = if campaign.counters.returned > 0 { RETURNED_SKIPPED_MAX } else { 0 };
    store.sequences_at_limit(number, recipient, limit, skipped_max)
}
