//! Questions for the coupons of a campaign, and for those of a recipient.

use coupon_cluster::{CampaignName, TenantId};
use coupon_ledger::{Campaign, Refusal};
use coupon_proto::internal as pb;
use coupon_wire::Malformed;

use super::one_coupon::shown;
use super::reader::{Ended, Page, ReadError, Reader, SEARCHED_MAX, tenant_id};
use crate::storage::StorageError;
use crate::storage::view::{CouponPlace, LedgerView};

impl Reader<'_> {
    /// The coupons of a campaign, of a recipient, or both, in the order of their places.
    ///
    /// # Errors
    ///
    /// When the question makes no sense, or the disk fails.
    pub(super) fn list_coupons(
        &self,
        epoch: u64,
        query: &pb::ListCouponsQuery,
    ) -> Result<pb::ReadResponse, ReadError> {
        let tenant = tenant_id(&query.tenant)?;
        let malformed = |what| ReadError::Malformed(Malformed(what));
        if query.campaign_id.is_empty() && query.recipient.is_empty() {
            return Err(malformed("recipient"));
        }
        let name = match query.campaign_id.as_str() {
            "" => None,
            id => Some(CampaignName::new(&tenant, id).map_err(|_| malformed("campaign id"))?),
        };
        self.respond(epoch, |view, answer| {
            let campaign = match &name {
                Some(name) => Some(view.campaign(name)?.ok_or(Refusal::CampaignNotFound)?),
                None => None,
            };
            let mut page = Page::new(query.limit);
            let last = match &campaign {
                Some(campaign) if query.recipient.is_empty() => {
                    all_of(&view, campaign, answer.history_id, query, &mut page)?
                }
                only => {
                    let holder = Holder { recipient: &query.recipient, tenant: &tenant };
                    holder.coupons(&view, only.as_ref(), place_after(query), &mut page)?
                }
            };
            answer.last_place = last.map(|CouponPlace { campaign_number, sequence }| {
                pb::CouponPlace { campaign_number, sequence }
            });
            answer.more = page.more;
            answer.coupons = page.items;
            Ok(())
        })
    }
}

/// What coupons were at the revision asked for is not known any more.
fn gone() -> Ended {
    let reason = pb::RefusalReason::RevisionGone.into();
    Ended::Refused(Box::new(pb::Refusal { reason, ..pb::Refusal::default() }))
}

/// Takes the coupons of a campaign, at the revision asked for, in the history with this first block. Returns the place of
/// the last one.
fn all_of(
    view: &LedgerView<'_>,
    campaign: &Campaign,
    history_id: u64,
    query: &pb::ListCouponsQuery,
    page: &mut Page<pb::CampaignCoupon>,
) -> Result<Option<CouponPlace>, Ended> {
    let (after, issued) = (place_after(query).sequence, campaign.counters.issued);
    let revision = campaign.counters.revision;
    let latest = pb::CampaignRevision { revision, issued, history_id };
    let as_of = query.as_of.unwrap_or(latest);
    if as_of.history_id != history_id || as_of.revision > revision {
        return Err(gone());
    }
    let left = as_of.issued.min(issued).saturating_sub(after);
    let left = usize::try_from(left).unwrap_or(usize::MAX);
    let mut last = None;
    for coupon in view.coupons_at(campaign, as_of.revision, after).take(left) {
        let coupon = coupon?.ok_or_else(gone)?;
        let sequence = coupon.sequence;
        if !page.push(shown(campaign.spec.name.id(), coupon)) {
            break;
        }
        last = Some(CouponPlace { campaign_number: campaign.spec.number, sequence });
    }
    Ok(last)
}

/// The place after which a page begins.
fn place_after(query: &pb::ListCouponsQuery) -> CouponPlace {
    let pb::CouponPlace { campaign_number, sequence } = query.after.unwrap_or_default();
    CouponPlace { campaign_number, sequence }
}

/// Who holds coupons.
struct Holder<'a> {
    recipient: &'a str,
    tenant: &'a TenantId,
}

impl Holder<'_> {
    /// Takes the coupons that they hold after a place: of one campaign, or of all. Looks at some places, and returns the
    /// last one.
    fn coupons(
        &self,
        view: &LedgerView<'_>,
        only: Option<&Campaign>,
        after: CouponPlace,
        page: &mut Page<pb::CampaignCoupon>,
    ) -> Result<Option<CouponPlace>, StorageError> {
        let campaign_number = only.map_or(after.campaign_number, |only| only.spec.number);
        let after = CouponPlace { campaign_number, ..after };
        let places = view.claimed_by(self.recipient, after, SEARCHED_MAX)?;
        let mut campaign = only.cloned();
        let mut last = None;
        for &place in &places {
            let is_of = |campaign: &Campaign| campaign.spec.number == place.campaign_number;
            if only.is_some_and(|only| !is_of(only)) {
                return Ok(last);
            }
            if !campaign.as_ref().is_some_and(is_of) {
                // There is none where the campaign is deleted: the index may still have claims of it.
                let found = view.campaign_of_number(place.campaign_number)?;
                campaign = found.filter(|found| found.spec.name.belongs_to(self.tenant));
            }
            if let Some(campaign) = &campaign
                && let Some(held) = view.held(campaign, place.sequence, self.recipient)?
                && !page.push(shown(campaign.spec.name.id(), held))
            {
                return Ok(last);
            }
            last = Some(place);
        }
        page.more = places.len() == SEARCHED_MAX;
        Ok(last)
    }
}
