//! What is done with coupons.

use coupon_ledger::{CampaignCode, CodeNumber};

use super::*;

impl Model {
    /// Adds a coupon to a campaign.
    pub(super) fn add_coupon(
        &mut self,
        campaign: &CampaignName,
        recipient: String,
        request_id: RequestId,
        metadata: BTreeMap<String, String>,
    ) -> IssuedCoupon {
        let now = self.now;
        let mut campaigns = self.campaigns.iter_mut();
        let listed = campaigns.find(|listed| listed.asked.name == *campaign).unwrap();
        let issued = listed.coupons.len() as u64;
        let counter = if issued.is_multiple_of(BLOCK) {
            self.blocks_taken += 1;
            (self.blocks_taken - 1) * BLOCK
        } else {
            listed.coupons.last().unwrap().coupon.counter + 1
        };
        let ttl = listed.asked.coupon_ttl_micros;
        let coupon = Coupon {
            counter,
            recipient,
            request_id,
            issued_at: LogTime(now),
            expires_at: ttl.map(|ttl| LogTime(now.saturating_add(ttl))),
            metadata,
            imported_code: listed.imports.codes.get(issued as usize).map(|one| one.code.clone()),
        };
        let CreateCampaign { code_key, code_scheme, .. } = listed.asked;
        let (sequence, code_shard, state) = (issued + 1, shard(), CouponState::Issued);
        let issued = IssuedCoupon { coupon, sequence, code_shard, code_key, code_scheme, state };
        listed.coupons.push(issued.clone());
        listed.events.push(None);
        listed.note_sold_out(now);
        issued
    }

    pub(super) fn change_coupon(
        &mut self,
        epoch: Epoch,
        code: &CouponCode,
        request_id: RequestId,
        asked: Asked,
    ) -> Result<Outcome, Refusal> {
        if epoch.0 != self.epoch {
            return Err(Refusal::StaleEpoch { epoch: Epoch(self.epoch) });
        }
        let (name, place) = match code {
            CouponCode::Generated(code) => self.with_code(epoch, code)?,
            CouponCode::OfCampaign(code) => {
                let listed = self.listed(epoch, &code.campaign)?;
                let place = listed.coupons.iter().position(|issued| is_named(issued, code));
                (code.campaign.clone(), place.ok_or(Refusal::CouponNotFound)?)
            }
        };
        self.fence(epoch, &name)?;
        let now = LogTime(self.now);
        let listed = self.campaigns.iter_mut().find(|listed| listed.asked.name == name).unwrap();
        let mut of_coupon = listed.coupon_changes.iter().filter(|made| made.place == place);
        if let Some(made) = of_coupon.find(|made| made.request_id == request_id) {
            if made.asked != asked {
                return Err(Refusal::RequestIdReused);
            }
            let coupon = IssuedCoupon { state: made.made.clone(), ..listed.coupons[place].clone() };
            return Ok(Outcome::CouponChanged {
                campaign: name,
                coupon,
                at: made.at,
                replayed: true,
            });
        }
        let coupon = &mut listed.coupons[place];
        match (&asked, &coupon.state) {
            (Asked::Reverse, CouponState::Redeemed { .. })
            | (Asked::Redeem(_) | Asked::Void(..), CouponState::Issued) => {}
            (Asked::Reverse, _) => return Err(Refusal::NotRedeemed),
            (_, CouponState::Redeemed { at, .. }) => {
                return Err(Refusal::AlreadyRedeemed { at: *at });
            }
            (_, CouponState::Voided { at, .. }) => return Err(Refusal::CouponVoided { at: *at }),
        }
        match (&asked, coupon.coupon.expires_at) {
            (Asked::Redeem(_), Some(end)) if now >= end => {
                return Err(Refusal::CouponExpired { end, now });
            }
            _ => {}
        }
        coupon.state = match asked.clone() {
            Asked::Redeem(order_ref) => CouponState::Redeemed { at: now, order_ref },
            Asked::Reverse => CouponState::Issued,
            Asked::Void(reason, quota_returned) => {
                CouponState::Voided { at: now, reason, quota_returned }
            }
        };
        let coupon = coupon.clone();
        let made = coupon.state.clone();
        let (sequence, kind) = (coupon.sequence, asked.in_event());
        listed.note(now, request_id, EventKind::CouponChanged { sequence, kind });
        listed.coupon_changes.push(CouponChanged { place, request_id, asked, at: now, made });
        listed.note_sold_out(now.0);
        Ok(Outcome::CouponChanged { campaign: name, coupon, at: now, replayed: false })
    }

    /// The campaign and the place of the coupon with a code that a campaign made.
    fn with_code(&self, epoch: Epoch, code: &CodeNumber) -> Result<(CampaignName, usize), Refusal> {
        let mut campaigns = self.campaigns.iter().filter(|listed| listed.deleted_by.is_none());
        let is_it =
            |issued: &IssuedCoupon| issued.coupon.imported_code.is_none() && has_code(issued, code);
        let found = campaigns.find_map(|listed| {
            Some((listed.asked.name.clone(), listed.coupons.iter().position(is_it)?))
        });
        // Another shard's campaign with a block of ours is refused before its coupons are looked at.
        found.ok_or_else(|| self.without_coupon(epoch, code))
    }

    /// The refusal of a code that no coupon has.
    fn without_coupon(&self, epoch: Epoch, code: &CodeNumber) -> Refusal {
        let owns_block = |listed: &&Listed| {
            let mut counters = listed.coupons.iter().map(|issued| issued.coupon.counter / BLOCK);
            counters.any(|block| block == code.counter / BLOCK)
        };
        let owner = self.campaigns.iter().find(owns_block).filter(|_| code.shard == shard());
        let fenced = owner.and_then(|listed| self.fence(epoch, &listed.asked.name).err());
        fenced.unwrap_or(Refusal::CouponNotFound)
    }
}

/// Whether a coupon of the campaign that a code names has this code.
pub(super) fn is_named(issued: &IssuedCoupon, code: &CampaignCode) -> bool {
    match &issued.coupon.imported_code {
        Some(imported) => *imported == code.text,
        None => code.number.as_ref().is_some_and(|number| has_code(issued, number)),
    }
}

/// Whether a code that a campaign makes is that of a coupon.
pub(super) fn has_code(issued: &IssuedCoupon, code: &CodeNumber) -> bool {
    (issued.code_shard, issued.code_key, issued.coupon.counter)
        == (code.shard, code.key, code.counter)
        && code.tenant == TenantId::default()
        && code.scheme == issued.code_scheme.folded()
}
