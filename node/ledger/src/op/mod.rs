//! The operations: of each its command, and what it does to the ledger.

mod archive;
mod change;
mod change_coupon;
mod change_hold;
mod confirm;
mod create;
mod delete;
mod end;
mod hold;
mod import;
mod issue;
mod pause;
mod redeem;
mod release;
mod resume;
mod reverse;
mod update;
mod void;

use crate::entry::Entry;
use crate::{Action, Command, Outcome, Refusal, Store};

pub use archive::ArchiveCampaign;
pub use confirm::ConfirmHold;
pub use create::CreateCampaign;
pub(crate) use create::created;
pub use delete::DeleteCampaign;
pub use end::EndCampaign;
pub(crate) use hold::hold_without_effect;
pub use hold::{HOLD_REMEMBERED_MICROS, HOLDS_KEPT_MAX, HoldCoupon};
pub use import::{CODES_MAX, IMPORTS_MAX, ImportCodes};
pub(crate) use issue::without_effect;
pub use issue::{HELD_SHOWN_MAX, Issue};
pub use pause::PauseCampaign;
pub use redeem::{RedeemCoupon, redemption_refusal};
pub use release::ReleaseHold;
pub use resume::ResumeCampaign;
pub use reverse::ReverseRedemption;
pub use update::UpdateCampaign;
pub use void::VoidCoupon;

/// Applies a command.
pub(crate) fn apply<S: Store>(
    entry: &mut Entry<'_, S>,
    command: Command,
) -> Result<Outcome, S::Error> {
    match command.action {
        Action::CreateCampaign(create) => entry.create_campaign(command.epoch, create),
        Action::Issue(issue) => entry.issue(command.epoch, issue),
        Action::PauseCampaign(pause) => entry.pause_campaign(command.epoch, &pause),
        Action::ResumeCampaign(resume) => entry.resume_campaign(command.epoch, &resume),
        Action::UpdateCampaign(update) => entry.update_campaign(command.epoch, &update),
        Action::EndCampaign(end) => entry.end_campaign(command.epoch, &end),
        Action::ArchiveCampaign(archive) => entry.archive_campaign(command.epoch, &archive),
        Action::DeleteCampaign(delete) => entry.delete_campaign(command.epoch, &delete),
        Action::RedeemCoupon(redeem) => entry.redeem_coupon(command.epoch, redeem),
        Action::ReverseRedemption(reverse) => entry.reverse_redemption(command.epoch, &reverse),
        Action::VoidCoupon(void) => entry.void_coupon(command.epoch, void),
        Action::HoldCoupon(hold) => entry.hold_coupon(command.epoch, hold),
        Action::ConfirmHold(confirm) => entry.confirm_hold(command.epoch, confirm),
        Action::ReleaseHold(release) => entry.release_hold(command.epoch, &release),
        Action::ImportCodes(import) => entry.import_codes(command.epoch, &import),
        Action::AdoptRing { epoch, ring_shards } => entry.adopt_ring(epoch, ring_shards),
        Action::SkipCounters => Ok(match entry.fence.state.clone().restored() {
            Ok(skipped) => {
                entry.fence.state = skipped;
                Outcome::CountersSkipped
            }
            Err(_) => Refusal::ShardFull.into(),
        }),
        Action::Unreadable => Ok(Refusal::Unreadable.into()),
    }
}
