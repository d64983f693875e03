//! Stretches of one long history: each has campaigns, codes and times of its own.

use coupon_cluster::{CampaignName, TenantId};
use coupon_ledger::{Action, BLOCK_SIZE, CodeNumber, Command, CouponCode, LogTime};

/// Where the time of the first stretch begins: microseconds since 1970.
pub(super) const BEGIN: u64 = 1_700_000_000_000_000;

/// How much later each stretch begins than the one before. Its clocks jump back and forth by less.
const STRETCH_MICROS: u64 = 100;

/// A stretch of a history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    /// From 0.
    pub(super) number: u64,
    /// The first block of code counters that is its own.
    pub(super) first_block: u64,
    /// The number of the first campaign that is its own.
    pub(super) first_campaign: u32,
}

impl Stretch {
    /// A time that was drawn, in this stretch. The greatest one there is stays so.
    pub(super) fn time(&self, drawn: LogTime) -> LogTime {
        if drawn.0 == u64::MAX {
            return drawn;
        }
        LogTime(BEGIN + self.number * STRETCH_MICROS + drawn.0)
    }

    /// What the ids of its campaigns begin with. All ids of a stretch are greater than this, and those of earlier ones are
    /// less.
    pub(super) fn prefix(&self) -> String {
        format!("{:06}", self.number)
    }

    /// A command that was drawn, in this stretch.
    pub(super) fn command(&self, mut command: Command) -> Command {
        match &mut command.action {
            Action::CreateCampaign(create) => {
                self.rename(&mut create.name);
                create.start = create.start.map(|start| self.time(start));
                create.end = create.end.map(|end| self.time(end));
                create.coupon_ttl_micros = create.coupon_ttl_micros.map(|ttl| ttl.max(1));
            }
            Action::Issue(issue) => self.rename(&mut issue.campaign),
            Action::PauseCampaign(pause) => self.rename(&mut pause.campaign),
            Action::ResumeCampaign(resume) => self.rename(&mut resume.campaign),
            Action::UpdateCampaign(update) => {
                self.rename(&mut update.campaign);
                update.start = update.start.map(|start| start.map(|start| self.time(start)));
                update.end = update.end.map(|end| end.map(|end| self.time(end)));
                // 0 says "none" in a message.
                let ttl = &mut update.coupon_ttl_micros;
                *ttl = ttl.map(|ttl| ttl.map(|ttl| ttl.max(1)));
            }
            Action::EndCampaign(end) => self.rename(&mut end.campaign),
            Action::ArchiveCampaign(archive) => self.rename(&mut archive.campaign),
            Action::DeleteCampaign(delete) => self.rename(&mut delete.campaign),
            Action::RedeemCoupon(redeem) => self.move_code(&mut redeem.code),
            Action::ReverseRedemption(reverse) => self.move_code(&mut reverse.code),
            Action::VoidCoupon(void) => self.move_code(&mut void.code),
            Action::HoldCoupon(hold) => self.rename(&mut hold.campaign),
            Action::ConfirmHold(confirm) => self.rename(&mut confirm.campaign),
            Action::ReleaseHold(release) => self.rename(&mut release.campaign),
            Action::ImportCodes(import) => self.rename(&mut import.campaign),
            Action::AdoptRing { .. } | Action::SkipCounters | Action::Unreadable => {}
        }
        command
    }

    fn rename(&self, name: &mut CampaignName) {
        let id = format!("{}{}", self.prefix(), name.id());
        *name = CampaignName::new(&TenantId::default(), &id).unwrap();
    }

    fn move_code(&self, code: &mut CouponCode) {
        match code {
            CouponCode::Generated(number) => self.move_number(number),
            CouponCode::OfCampaign(code) => {
                self.rename(&mut code.campaign);
                if let Some(number) = &mut code.number {
                    self.move_number(number);
                }
            }
        }
    }

    fn move_number(&self, number: &mut CodeNumber) {
        number.counter += self.first_block * u64::from(BLOCK_SIZE);
    }
}
