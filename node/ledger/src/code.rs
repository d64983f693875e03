//! From what a code stands for to its coupon.

use coupon_cluster::ShardId;

use crate::{
    BLOCK_SIZE, Campaign, CampaignCode, CampaignSpec, CodeNumber, Coupon, CouponHistory,
    CouponState, IssuedCoupon, StateReader,
};

/// Where the coupon of a code is, if there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CouponPlace {
    /// The number of its campaign.
    pub(crate) campaign_number: u32,
    /// Its sequence number.
    pub(crate) sequence: u64,
}

/// Where the coupon of a code is in a shard, if there is one: by the block that the counter is of. Another shard's
/// codes lead nowhere.
pub(crate) fn place_of<S: StateReader>(
    store: &mut S,
    shard: ShardId,
    code: &CodeNumber,
) -> Result<Option<CouponPlace>, S::Error> {
    if code.shard != shard {
        return Ok(None);
    }
    let (block, offset) =
        (code.counter / u64::from(BLOCK_SIZE), code.counter % u64::from(BLOCK_SIZE));
    let found = store.block(block)?;
    Ok(found.map(|(campaign_number, first)| CouponPlace {
        campaign_number,
        sequence: first.saturating_add(offset),
    }))
}

/// The coupon at a place, if it is that of the code. It may be another one: the counter may not be used yet, or was
/// skipped, or the code is of another key, profile or prefix. A campaign whose codes are imported has no made ones.
pub(crate) fn coupon_at<S: StateReader>(
    store: &mut S,
    campaign: &Campaign,
    sequence: u64,
    code: &CodeNumber,
) -> Result<Option<Coupon>, S::Error> {
    let spec = &*campaign.spec;
    let is_issued = (1..=campaign.counters.issued).contains(&sequence);
    let is_made_so = !spec.has_imported_codes
        && spec.code_key == code.key
        && spec.code_scheme.folded() == code.scheme;
    if !is_issued || !is_made_so || !spec.name.belongs_to(&code.tenant) {
        return Ok(None);
    }
    let coupon = store.coupon(campaign.spec.number, sequence)?;
    Ok(Some(coupon).filter(|coupon| coupon.counter == code.counter))
}

/// The coupon of a campaign that has a code, with its sequence number, if there is one.
pub(crate) fn coupon_in<S: StateReader>(
    store: &mut S,
    shard: ShardId,
    campaign: &Campaign,
    code: &CampaignCode,
) -> Result<Option<(u64, Coupon)>, S::Error> {
    let number = campaign.spec.number;
    if campaign.spec.has_imported_codes {
        let imported = store.imported_code(number, &code.text)?;
        // The code of a coupon that is not issued yet says nothing to those who ask.
        let issued = imported.filter(|imported| imported.sequence <= campaign.counters.issued);
        let Some(imported) = issued else { return Ok(None) };
        return Ok(Some((imported.sequence, store.coupon(number, imported.sequence)?)));
    }
    let Some(code) = &code.number else { return Ok(None) };
    let place = place_of(store, shard, code)?;
    let Some(place) = place.filter(|place| place.campaign_number == number) else {
        return Ok(None);
    };
    let coupon = coupon_at(store, campaign, place.sequence, code)?;
    Ok(coupon.map(|coupon| (place.sequence, coupon)))
}

/// What a coupon is by now. Costs nothing in a campaign where every coupon is as it was issued.
pub(crate) fn state_of<S: StateReader>(
    store: &mut S,
    campaign: &Campaign,
    sequence: u64,
) -> Result<CouponState, S::Error> {
    if !campaign.counters.has_changed_coupons() {
        return Ok(CouponState::Issued);
    }
    let history = store.coupon_history(campaign.spec.number, sequence)?;
    Ok(history.as_ref().map_or(CouponState::Issued, CouponHistory::state))
}

/// A coupon with everything that names it.
pub(crate) fn issued(
    spec: &CampaignSpec,
    sequence: u64,
    coupon: Coupon,
    state: CouponState,
) -> IssuedCoupon {
    let CampaignSpec { code_shard, code_key, code_scheme, .. } = *spec;
    IssuedCoupon { coupon, sequence, code_shard, code_key, code_scheme, state }
}

/// The coupon of a code in the state of a shard, with its campaign. For readers, who see no entry half-way.
///
/// # Errors
///
/// A fault of the storage.
pub fn find_coupon<S: StateReader>(
    store: &mut S,
    shard: ShardId,
    code: &CodeNumber,
) -> Result<Option<(Campaign, IssuedCoupon)>, S::Error> {
    let Some(place) = place_of(store, shard, code)? else { return Ok(None) };
    let found = store.campaign_of_number(place.campaign_number)?;
    let Some(campaign) = found.filter(|campaign| !campaign.spec.is_deleted()) else {
        return Ok(None);
    };
    let sequence = place.sequence;
    let Some(coupon) = coupon_at(store, &campaign, sequence, code)? else { return Ok(None) };
    let state = state_of(store, &campaign, sequence)?;
    let found = issued(&campaign.spec, sequence, coupon, state);
    Ok(Some((campaign, found)))
}

/// The coupon of a campaign that has a code, in the state of a shard. For readers, who see no entry half-way.
///
/// # Errors
///
/// A fault of the storage.
pub fn find_coupon_in<S: StateReader>(
    store: &mut S,
    shard: ShardId,
    campaign: &Campaign,
    code: &CampaignCode,
) -> Result<Option<IssuedCoupon>, S::Error> {
    let Some((sequence, coupon)) = coupon_in(store, shard, campaign, code)? else {
        return Ok(None);
    };
    let state = state_of(store, campaign, sequence)?;
    Ok(Some(issued(&campaign.spec, sequence, coupon, state)))
}
