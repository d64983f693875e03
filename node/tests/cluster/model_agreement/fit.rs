//! Commands that mean something that is there.

use coupon_cluster::{CampaignName, TenantId};
use coupon_ledger::{Action, CampaignCode, CodeNumber, Command, CouponCode, IssuedCoupon};

use crate::model::Model;

/// Makes a command mean something in the campaigns with this number and greater ones: the entity tag, a hold or a coupon, by
/// its place among all. Where nothing is there, it stays as it is.
pub(super) fn fit(command: &mut Command, model: &Model, from: u32, place: usize) {
    match &mut command.action {
        Action::UpdateCampaign(update) if !update.etag.is_empty() => {
            update.etag = model.etag(&update.campaign).unwrap_or_default();
        }
        Action::ConfirmHold(confirm) => {
            let holds = model.holds(&confirm.campaign);
            if let Some(hold_id) = at(holds.keys().copied(), place) {
                confirm.hold_id = hold_id;
            }
        }
        Action::ReleaseHold(release) => {
            let holds = model.holds(&release.campaign);
            if let Some(hold_id) = at(holds.keys().copied(), place) {
                release.hold_id = hold_id;
            }
        }
        Action::RedeemCoupon(redeem) => fit_code(&mut redeem.code, model, from, place),
        Action::ReverseRedemption(reverse) => fit_code(&mut reverse.code, model, from, place),
        Action::VoidCoupon(void) => fit_code(&mut void.code, model, from, place),
        Action::UpdateCampaign(_)
        | Action::CreateCampaign(_)
        | Action::Issue(_)
        | Action::PauseCampaign(_)
        | Action::ResumeCampaign(_)
        | Action::EndCampaign(_)
        | Action::ArchiveCampaign(_)
        | Action::DeleteCampaign(_)
        | Action::HoldCoupon(_)
        | Action::ImportCodes(_)
        | Action::AdoptRing { .. }
        | Action::SkipCounters
        | Action::Unreadable => {}
    }
}

fn fit_code(code: &mut CouponCode, model: &Model, from: u32, place: usize) {
    let campaigns = model.campaigns(0).into_iter().filter(|one| one.spec.number >= from);
    let coupons = campaigns.flat_map(|campaign| {
        let name = campaign.spec.name.clone();
        let coupons = model.coupons(&name).unwrap_or_default();
        coupons.into_iter().map(move |coupon| (name.clone(), coupon))
    });
    if let Some((campaign, coupon)) = at(coupons, place) {
        *code = code_of(campaign, coupon);
    }
}

fn code_of(campaign: CampaignName, issued: IssuedCoupon) -> CouponCode {
    match issued.coupon.imported_code {
        Some(text) => CouponCode::OfCampaign(CampaignCode { campaign, text, number: None }),
        None => CouponCode::Generated(CodeNumber {
            tenant: TenantId::default(),
            shard: issued.code_shard,
            key: issued.code_key,
            counter: issued.coupon.counter,
            scheme: issued.code_scheme.folded(),
        }),
    }
}

/// The item at a place, as if all of them came again and again; `None`: there is none.
fn at<T>(items: impl Iterator<Item = T>, place: usize) -> Option<T> {
    let mut items: Vec<T> = items.collect();
    match items.len() {
        0 => None,
        number => Some(items.swap_remove(place % number)),
    }
}
