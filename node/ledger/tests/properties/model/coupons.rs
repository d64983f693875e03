//! What is done with coupons.

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
        };
        let CreateCampaign { code_key, code_scheme, .. } = listed.asked;
        let (sequence, code_shard, state) = (issued + 1, shard(), CouponState::Issued);
        let issued = IssuedCoupon { coupon, sequence, code_shard, code_key, code_scheme, state };
        listed.coupons.push(issued.clone());
        listed.note_sold_out(now);
        issued
    }

    pub(super) fn change_coupon(
        &mut self,
        epoch: Epoch,
        code: &CodeNumber,
        request_id: RequestId,
        asked: Asked,
    ) -> Result<Outcome, Refusal> {
        if epoch.0 != self.epoch {
            return Err(Refusal::StaleEpoch { epoch: Epoch(self.epoch) });
        }
        let is_it = |issued: &IssuedCoupon| is_code_of(code, issued);
        let mut campaigns = self.campaigns.iter().filter(|listed| listed.deleted_by.is_none());
        let found = campaigns.find_map(|listed| {
            Some((listed.asked.name.clone(), listed.coupons.iter().position(is_it)?))
        });
        let Some((name, place)) = found else {
            // Another shard's campaign with a block of ours is refused before its coupons are looked at.
            return Err(self.without_coupon(epoch, code));
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
        listed.coupon_changes.push(CouponChanged { place, request_id, asked, at: now, made });
        listed.note_sold_out(now.0);
        Ok(Outcome::CouponChanged { campaign: name, coupon, at: now, replayed: false })
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

/// Whether a code is that of a coupon.
pub(super) fn is_code_of(code: &CodeNumber, issued: &IssuedCoupon) -> bool {
    (issued.code_shard, issued.code_key, issued.coupon.counter)
        == (code.shard, code.key, code.counter)
        && code.tenant == TenantId::default()
        && code.scheme == issued.code_scheme.folded()
}
